"""Progress on standard error: a bar on a terminal, a line every few seconds elsewhere, or NDJSON for programs.

A watcher is an Observe: the engine calls it about ten times a second, on its loop's thread. rich is imported for the bar
alone.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from wherry.observe import Note, Progress, Shown
from wherry.units import format_duration, format_size
from wherry_cli.render import Out, is_terminal, many, safe, to_json

if TYPE_CHECKING:
    from wherry_cli.invocation import ProgressMode
    from wherry_cli.render import Color

Clock = Callable[[], float]

LINE_EVERY_S: Final = 5.0
RATE_WINDOW_S: Final = 10.0  # long enough to be steady, short enough to show a source that was lost
LEFT_WINDOW_S: Final = 30.0  # small files come in bursts: by the shorter one it was 4 s, then 24 s, that were left
NOTES_KEPT: Final = 1000
_DOING: Final = {"scan": "scanning", "hash": "reading", "fetch": "fetching", "verify": "verifying", "finish": "finishing"}


class Rate:
    """Bytes a second over the last few seconds of one phase; while it fetches, of those that came from others and were right.

    What was here already is found at the speed of the disk, and says nothing of what is still to come. Nor does what is thrown
    away because it does not verify.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._phase = ""
        self._samples: deque[tuple[float, int, int]] = deque()  # when, what was done by then, and what had come

    def take(self, event: Progress) -> None:
        """Notes one more event."""
        now = self._clock()
        if event.phase != self._phase:
            self._phase = event.phase
            self._samples.clear()
        self._samples.append((now, event.bytes_done, event.wire_bytes if event.phase == "fetch" else event.bytes_done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= LEFT_WINDOW_S:
            self._samples.popleft()

    def bytes_a_second(self) -> float | None:
        """The rate; None while it is not known."""
        return self._over(RATE_WINDOW_S)

    def seconds_left(self, event: Progress) -> float | None:
        """How long the rest takes at the rate of a longer time; None while that is not known, and while nothing comes."""
        rate = self._over(LEFT_WINDOW_S)
        if event.bytes_total is None or not rate or not self.bytes_a_second():
            return None
        return max(0, event.bytes_total - event.bytes_done) / rate

    def _over(self, seconds: float) -> float | None:
        if not self._samples:
            return None
        end_s, *end = self._samples[-1]
        first = self._samples[0]  # that is, of those that are no younger, the last
        for sample in self._samples:
            if end_s - sample[0] < seconds:
                break
            first = sample
        start_s, *start = first
        grew = min(after - before for before, after in zip(start, end, strict=True))
        return max(0.0, grew / (end_s - start_s)) if end_s > start_s else None


class Watcher:
    """Takes events and shows nothing; the others build on it. Notes are shown by all but the quiet one."""

    def __init__(self, out: Out) -> None:
        self.out = out
        self._notes: set[str] = set()

    def __call__(self, event: Shown) -> None:
        """Takes one event."""
        if isinstance(event, Note):
            if len(self._notes) < NOTES_KEPT:
                self._notes.add(event.text)
            self.note(event)
        else:
            self.progress(event)

    def said(self, text: str) -> bool:
        """Tells whether a note with this text was shown already."""
        return text in self._notes

    def note(self, note: Note) -> None:
        """Shows a note."""
        if note.level == "warning":
            self.out.warning(safe(note.text))
        else:
            self.out.note(safe(note.text))

    def progress(self, event: Progress) -> None:
        """Shows how far the verb is."""

    def close(self) -> None:
        """Shows no more; called once, also when the verb failed."""


class LineWatcher(Watcher):
    """A line every few seconds, for logs and pipes. A verb that is done sooner writes none."""

    def __init__(self, out: Out, clock: Clock = time.monotonic) -> None:
        super().__init__(out)
        self._clock = clock
        self._rate = Rate(clock)
        self._next = clock() + LINE_EVERY_S

    def progress(self, event: Progress) -> None:
        """Shows how far the verb is."""
        self._rate.take(event)
        now = self._clock()
        if now >= self._next:
            self._next = now + LINE_EVERY_S
            self.out.note(f"{event.verb}: {describe(event, self._rate)}")


class JsonWatcher(Watcher):
    """One JSON object a line for each event (schema ``wherry/progress/1``)."""

    def __init__(self, out: Out, clock: Clock = time.monotonic) -> None:
        super().__init__(out)
        self._rate = Rate(clock)

    def note(self, note: Note) -> None:
        """Shows a note."""
        self._say(event="note", level=note.level, text=note.text)

    def progress(self, event: Progress) -> None:
        """Shows how far the verb is."""
        self._rate.take(event)
        self._say(
            event="progress",
            verb=event.verb,
            phase=event.phase,
            bytes_done=event.bytes_done,
            bytes_total=event.bytes_total,
            files_done=event.files_done,
            files_total=event.files_total,
            wire_bytes=event.wire_bytes,
            sources_alive=event.sources_alive,
            bytes_per_second=_rounded(self._rate.bytes_a_second()),
            seconds_left=_rounded(self._rate.seconds_left(event)),
        )

    def _say(self, **fields: object) -> None:
        self.out.say(to_json({"schema": "wherry/progress/1", **fields}))


class BarWatcher(Watcher):
    """A bar that stays on its line, on a terminal."""

    def __init__(self, out: Out, *, color: bool, clock: Clock = time.monotonic) -> None:
        super().__init__(out)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._rate = Rate(clock)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False),
            console=Console(file=sys.stderr, no_color=not color, highlight=False),
            refresh_per_second=5,
            transient=True,
        )
        self._task: Any = None  # rich's task number; a bar appears with the first event

    def note(self, note: Note) -> None:
        """Shows a note above the bar."""
        if not self.out.quiet:
            words = f"warning: {safe(note.text)}" if note.level == "warning" else safe(note.text)
            self._bars.console.print(words, markup=False, highlight=False, soft_wrap=True)

    def progress(self, event: Progress) -> None:
        """Shows how far the verb is."""
        self._rate.take(event)
        if self._task is None:
            self._bars.start()
            self._task = self._bars.add_task(event.verb, total=None, words="")
        total = event.bytes_total if event.bytes_total is not None else event.files_total
        done = event.bytes_done if event.bytes_total is not None else event.files_done
        self._bars.update(self._task, total=total, completed=done, words=describe(event, self._rate))

    def close(self) -> None:
        """Takes the bar away."""
        if self._task is not None:
            self._bars.stop()


def describe(event: Progress, rate: Rate) -> str:
    """Says in words how far a verb is: done, rate, time left, files, sources."""
    parts = [f"{_DOING[event.phase]} {_amount(event)}"]
    speed, left = rate.bytes_a_second(), rate.seconds_left(event)
    if speed:
        parts.append(f"{format_size(speed)}/s")
    if left:
        parts.append(f"{format_duration(left)} left")
    if event.files_total is not None and event.files_total > 1:
        parts.append(f"{event.files_done:,} of {event.files_total:,} files")
    elif event.files_total is None and event.files_done:
        parts.append(many(event.files_done, "file"))
    if event.phase == "fetch":
        parts.append(many(event.sources_alive, "source"))
    return ", ".join(parts)


def _amount(event: Progress) -> str:
    if event.bytes_total is None:
        return format_size(event.bytes_done)
    percent = 100 * event.bytes_done // event.bytes_total if event.bytes_total else 100
    return f"{format_size(event.bytes_done)} of {format_size(event.bytes_total)} ({min(percent, 100)}%)"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def make_watcher(mode: ProgressMode, out: Out, *, color: Color, environ: Mapping[str, str]) -> Watcher:
    """Makes the watcher for ``mode``; ``auto`` is the bar on a terminal that can move its cursor, else lines."""
    if mode == "none":
        return Watcher(out)
    if mode == "json":
        return JsonWatcher(out)
    if mode == "auto" and is_terminal(sys.stderr) and environ.get("TERM") not in (None, "dumb"):
        colored = color == "always" or (color == "auto" and not environ.get("NO_COLOR"))
        return BarWatcher(out, color=colored)
    return LineWatcher(out)
