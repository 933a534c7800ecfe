"""A fence around the configured cache: what is not as its contract says is a miss, told once with the name of who is to blame.

A cache may be anybody's. Its bytes are hashed in any case (`wherry.store.cached`); but an answer of the wrong shape, or an
exception of a library, would end reads that can do without a cache. From the first such fault on it is left alone: a cache
that is confused about one block may be about all. One that does not come back is said (`wherry.watching`), and at the end it is
not waited for.
"""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from wherry.abc.cache import Cache, CacheUsage, Kept, SupportsPrefetch
from wherry.cid import CID
from wherry.errors import PluginBroken, WherryError
from wherry.limits import CACHE_CLOSE_S
from wherry.plugin.bounded import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.watching import Calling

T = TypeVar("T")

_NOTHING = CacheUsage(0, 0, 0, 0, 0, 0)


class FencedCache(Cache):
    """A cache of anybody's. Errors of wherry's kinds pass; everything else that is wrong puts it out of use."""

    def __init__(self, inner: Cache, name: str, calling: Calling | None = None, *, close_s: float = CACHE_CLOSE_S) -> None:
        """``name`` is what the configuration calls it; ``calling`` is entered around each call (`wherry.watching`).

        `close` waits for at most ``close_s``.
        """
        self._inner = inner
        self._name = name
        self._calling: Calling = calling or nullcontext
        self._close_s = close_s
        self._lock = threading.Lock()
        self.out = False  # of use
        self._left = False  # behind: it did not come back from `close`

    def __repr__(self) -> str:
        return repr(self._inner)

    def _ask(self, method: str, call: Callable[[], T], fault: Callable[[T], str], otherwise: T) -> T:
        """Gives what ``call`` gives, unless ``fault`` finds something wrong with it, or it raises what it must not.

        ``method``: what ``call`` calls, for who watches it.
        """
        if self.out:
            return otherwise
        try:
            with self._calling(method):
                answer = call()
            wrong = fault(answer)
        except WherryError:
            raise
        except Exception as problem:  # noqa: BLE001 - whatever a stranger's cache raises, reads go on without it
            wrong = f"it raised {type(problem).__name__}: {problem}"
        else:
            if not wrong:
                return answer
        with self._lock:
            first, self.out = not self.out, True
        if first:
            logging.getLogger(__name__).warning(
                "%s breaks its contract and is not used any more: %s", self._whose(), wrong[:200]
            )
        return otherwise

    def get_many(self, cids: Sequence[CID]) -> list[Kept | None]:
        """See `Cache.get_many`."""
        return self._ask(
            "get_many", lambda: self._inner.get_many(cids), lambda found: _kept_fault(found, len(cids)), [None] * len(cids)
        )

    def put_many(self, blocks: Sequence[Kept]) -> None:
        """See `Cache.put_many`."""
        self._ask("put_many", lambda: self._inner.put_many(blocks), _fine, None)

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """See `Cache.sizes`."""
        return self._ask(
            "sizes", lambda: self._inner.sizes(cids), lambda found: _sizes_fault(found, len(cids)), [None] * len(cids)
        )

    def delete_many(self, cids: Sequence[CID]) -> None:
        """See `Cache.delete_many`."""
        self._ask("delete_many", lambda: self._inner.delete_many(cids), _fine, None)

    def cids(self) -> Iterator[CID]:
        """See `Cache.cids`. What lists itself without end is the caller's to bound."""
        nothing: Iterator[CID] = iter(())
        listing = self._ask("cids", lambda: iter(self._inner.cids()), _fine, nothing)

        def following() -> CID | None:
            return next(listing, None)

        while (cid := self._ask("cids", following, _cid_fault, None)) is not None:
            yield cid

    def usage(self) -> CacheUsage:
        """See `Cache.usage`."""
        return self._ask("usage", self._inner.usage, _usage_fault, _NOTHING)

    def prefetch(self, cids: Sequence[CID]) -> None:
        """See `SupportsPrefetch`; nothing where the cache cannot."""
        inner = self._inner
        if isinstance(inner, SupportsPrefetch):
            self._ask("prefetch", lambda: inner.prefetch(cids), _fine, None)

    def close(self) -> None:
        """See `Cache.close`. A cache that hangs is left behind: all bytes are out by then, and the process must end."""
        if self._left:
            return
        out, self.out = self.out, False  # it is closed also if it is not used any more
        try:
            self._ask("close", lambda: bounded(self._inner.close, self._close_s, self._whose()), _fine, None)
        except PluginBroken as problem:
            self._left = True
            logging.getLogger(__name__).warning("%s from close; it is left behind", problem.message)
        self.out = self.out or out

    def _whose(self) -> str:
        return f"the cache {self._name} ({type(self._inner).__module__}.{type(self._inner).__qualname__})"


def _fine(answer: object) -> str:
    del answer
    return ""


def _kept_fault(found: object, count: int) -> str:
    if not isinstance(found, list) or len(found) != count:
        return f"asked for {count} blocks, it answers {str(found)[:60]}"
    for one in found:
        whole = isinstance(one, Kept) and type(one.data) is bytes and type(one.size) is int and type(one.coding) is str
        if one is not None and not whole:
            return f"it gives {str(one)[:60]} for a block"
    return ""


def _sizes_fault(found: object, count: int) -> str:
    if not isinstance(found, list) or len(found) != count:
        return f"asked for {count} sizes, it answers {str(found)[:60]}"
    wrong = [one for one in found if one is not None and type(one) is not int]
    return f"it gives {str(wrong[0])[:60]} for a size" if wrong else ""


def _cid_fault(cid: object) -> str:
    return "" if cid is None or type(cid) is CID else f"it lists {str(cid)[:60]}"


def _usage_fault(usage: object) -> str:
    fine = isinstance(usage, CacheUsage) and all(type(figure) is int for figure in usage)
    return "" if fine else f"it gives {str(usage)[:60]} for its usage"
