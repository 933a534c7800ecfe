"""What one source has been worth: rate, latency, and the score that policies see (specs/0017 §3). Pure: times come in.

Three counts of jobs (of use, failed, wrong) fade with a half-life, so that what a source did a while ago is forgiven and
what it gave is no licence for ever. What earlier runs knew of it (specs/0029 §2) counts besides, as a few jobs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from wherry.acquaintance import News
from wherry.units import KiB, MiB

HALF_LIFE_S: Final = 60.0
SMALL_BYTES: Final = 64 * KiB  # an answer whose time is latency; that of a larger one is mostly its bytes
_NEW: Final = 0.3  # weight of the newest figure in a moving average
_FULL_BYTES: Final = 1 * MiB  # a job of fewer bytes says less of the rate, in proportion
_DOUBT: Final = 4.0  # good jobs that a source which gave one wrong is taken to have given: one is no proof of ten per cent
_CORRUPT: Final = 10.0  # a tenth of jobs wrong is as bad as all of them
_SLOW_S: Final = 0.5  # latency that halves its part of the score
_RELIABILITY, _GOODPUT, _LATENCY = 6, 3, 1  # weights; whole numbers, so that a newcomer's score is 0.5 to the last bit
_PAST_JOBS: Final = 20.0  # as many jobs as all that earlier runs saw may count for: the present soon says more
KNOWN_JOBS: Final = 4  # jobs of use after which a source is a newcomer no more (specs/0029 §5)


class Past(NamedTuple):
    """What earlier runs saw of a source: jobs, faded to now."""

    useful: float = 0.0
    failed: float = 0.0
    wrong: float = 0.0

    def weighed(self) -> Past:
        """Gives the same in proportion, as few jobs as the past may count for."""
        count = self.useful + self.failed + self.wrong
        share = min(1.0, _PAST_JOBS / count) if count else 1.0
        return Past(self.useful * share, self.failed * share, self.wrong * share)


class Terms(NamedTuple):
    """What a score is made of, each from 0.0 to 1.0, and the jobs that it rests on, faded."""

    score: float
    reliability: float
    goodput: float
    latency: float
    integrity: float
    useful: float
    failed: float
    wrong: float


@dataclass(slots=True, eq=False, weakref_slot=True)
class Standing:
    """Figures of one source. For one thread; `score` and `terms` for any."""

    rate: float = 0.0  # bytes a second that one job got lately; 0.0: not known
    latency_s: float = 0.0  # to the first bytes of small answers, lately; 0.0: not known
    rejected: int = 0  # blocks that did not verify, ever
    jobs: int = 0  # of use, in this run
    past: Past = Past()  # noqa: RUF009 - a tuple, which nobody can change
    _news: News = News()  # noqa: RUF009 - the same
    _at: float = 0.0  # when the counts were right
    _useful: float = 0.0
    _failed: float = 0.0
    _wrong: float = 0.0

    def answered(self, now: float, count: int, seconds: float, first_s: float) -> None:
        """A job gave ``count`` bytes in ``seconds``, the first of them after ``first_s``."""
        self._fade(now)
        self._useful += 1
        self.jobs += 1
        if count <= SMALL_BYTES:
            self.latency_s = _moved(self.latency_s, max(first_s, 1e-6), _NEW)
        self.rate = _moved(self.rate, count / max(seconds, 1e-6), _NEW * min(1.0, count / _FULL_BYTES))
        self._news = self._news.plus(News(useful=1, down=count, rate=self.rate, latency_s=self.latency_s))

    def failed(self, now: float) -> None:
        """A connection or a request failed."""
        self._fade(now)
        self._failed += 1
        self._news = self._news.plus(News(failed=1))

    def wrong(self, now: float, rejected: int) -> None:
        """A job brought blocks that did not verify, or nothing that was asked for."""
        self._fade(now)
        self._wrong += 1
        self.rejected += rejected
        self._news = self._news.plus(News(wrong=1, rejected=rejected))

    def blamed(self, now: float, failed: float, wrong: float) -> None:
        """Takes over what is held against the source and fades as what this run sees (specs/0029 §3)."""
        self._fade(now)
        self._failed += failed
        self._wrong += wrong

    def news(self) -> News:
        """Gives what the source did since this was asked last, for who remembers it."""
        news, self._news = self._news, News()
        return news

    @property
    def known(self) -> bool:
        """Whether it has been of use, now or earlier, and more often than not: it is no newcomer (specs/0029 §5)."""
        useful = self.past.useful + self.jobs
        return useful >= KNOWN_JOBS and useful > self.past.failed + self.past.wrong

    def score(self, now: float, best_rate: float) -> float:
        """Gives the reputation, 0.0 to 1.0; ``best_rate`` is that of the fastest source that there is."""
        return self.terms(now, best_rate).score

    def terms(self, now: float, best_rate: float) -> Terms:
        """Gives the reputation and what it is made of."""
        faded = math.exp2((self._at - now) / HALF_LIFE_S)
        past = self.past
        useful, failed, wrong = self._useful * faded, self._failed * faded, self._wrong * faded
        useful, failed, wrong = useful + past.useful, failed + past.failed, wrong + past.wrong
        reliability = (useful + 1) / (useful + failed + 2)  # Laplace's rule of succession
        goodput = min(1.0, self.rate / best_rate) if self.rate and best_rate else 0.5
        latency = _SLOW_S / (_SLOW_S + self.latency_s) if self.latency_s else 0.5
        integrity = max(0.0, 1 - _CORRUPT * wrong / (useful + wrong + _DOUBT))
        weighted = _RELIABILITY * reliability + _GOODPUT * goodput + _LATENCY * latency
        score = integrity * weighted / (_RELIABILITY + _GOODPUT + _LATENCY)
        return Terms(score, reliability, goodput, latency, integrity, useful, failed, wrong)

    def _fade(self, now: float) -> None:
        faded = math.exp2((self._at - now) / HALF_LIFE_S)
        self._useful *= faded
        self._failed *= faded
        self._wrong *= faded
        self._at = now


def _moved(old: float, new: float, weight: float) -> float:
    """Moves an average towards ``new``; the first figure is the average."""
    return new if not old else old + weight * (new - old)
