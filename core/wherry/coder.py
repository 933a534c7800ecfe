"""Codes answers for clients that decode, where that brings more plain bytes a second (specs/0008 §4.1, specs/0015 §3).

What is coded is held in memory until it is sent, so the bytes held are bounded, and beyond the bound answers go plain. The
work is done by threads of its own, as many as there are processors: those that send are not held up by it.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import SupportsCoded
from wherry.coding import CODED_BYTES_MIN
from wherry.coding_choice import CodingMode, LevelChooser
from wherry.errors import WherryError
from wherry.offload import in_thread
from wherry.units import MiB
from wherry.wire.frames import coded_of, missing, run_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wherry.abc.transport import Held
    from wherry.coding import Codings
    from wherry.wire.frames import Frame

_HELD_BYTES_MAX: Final = 24 * MiB  # of coded answers that are made or sent: six whole ones, or more that shrank
_QUEUED_MAX: Final = 2  # answers a thread that may wait to be coded; beyond, the processor is the narrow place
_AS_IT_LIES_MAX: Final = 400e6  # bytes a second: on a faster link, decoding is what the client would wait for
_LOOPBACK_MAX: Final = 32e6  # a peer on this machine shares its processors: only a tunnel to a slow link is coded for


class _Plan(NamedTuple):
    """How one answer is to be coded."""

    name: str | None  # by which coding; None: only what lies here coded is sent so
    level: int | None  # None: as configured
    chooser: LevelChooser | None


class _Made(NamedTuple):
    frames: list[Frame]
    coded: int  # bytes of coded blocks in them
    tried: int  # plain bytes of those that were to be coded
    became: int
    seconds: float
    cpu_seconds: float


class Coder:
    """Codes answers of one server. Made and used on one event loop."""

    def __init__(self, codings: Callable[[], Codings], mode: CodingMode) -> None:
        """Raises ConfigError and PluginError for a configured compressor that cannot be built: now, not in an answer."""
        if mode != "never":
            _ = codings().names
        self._codings = codings
        self._mode = mode
        self._choosers: dict[str, LevelChooser] = {}
        self._workers = max(1, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(self._workers, "wherry-code")
        self._mine = threading.local()
        self._under_way = 0
        self._held = 0

    def close(self) -> None:
        """Ends the threads; answers are over by then."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def may_code(self, offered: Sequence[str], link: float | None, *, loopback: bool) -> bool:
        """Tells whether `coded` may give anything over such a link: where it does not, who is in a hurry need not ask it."""
        return (
            self._mode != "never" and bool(offered) and (self._mode == "always" or not self._is_fast(link, loopback=loopback))
        )

    @asynccontextmanager
    async def coded(
        self, frames: list[Frame], offered: Sequence[str], link: float | None, *, loopback: bool
    ) -> AsyncIterator[list[Frame] | None]:
        """Gives what to send instead of ``frames``, to who decodes ``offered``; None: they are sent as they are.

        ``link`` is the rate of the connection in bytes a second, None if that is not known. Leave the context when all is
        sent: till then the coded bytes count as held.
        """
        size = sum([frame.size for frame in frames])
        plan = await self._plan(frames, offered, link, loopback=loopback) if size >= CODED_BYTES_MIN else None
        if plan is None or self._held + size > _HELD_BYTES_MAX:
            yield None
            return
        held = size
        self._held += held
        try:
            self._under_way += 1
            try:
                made = await in_thread(partial(self._make, frames, offered, plan), self._threads)
            finally:
                self._under_way -= 1
            if plan.chooser is not None and plan.level is not None and made.tried:
                plan.chooser.measured(plan.level, made.tried, made.became, made.seconds, made.cpu_seconds)
            self._held += made.coded - held
            held = made.coded
            yield made.frames if made.coded else None
        finally:
            self._held -= held

    async def _plan(self, frames: list[Frame], offered: Sequence[str], link: float | None, *, loopback: bool) -> _Plan | None:
        """Decides whether, and how. None for nothing to be done, which on a fast link is found at once."""
        if self._mode == "never" or not offered or (self._mode == "auto" and self._is_fast(link, loopback=loopback)):
            return None
        lie_coded = any(isinstance(block, SupportsCoded) for frame in frames for block in frame.blocks[:1])
        name = self._codings().common(offered)
        chooser, level = None, None
        if self._mode == "auto" and name is not None:
            chooser = await self._chooser(name)
            level = chooser.choose(link) if self._under_way < _QUEUED_MAX * self._workers else None
            if level is None:
                name = None
        return _Plan(name, level, chooser) if name is not None or lie_coded else None

    def _is_fast(self, link: float | None, *, loopback: bool) -> bool:
        return link is None or link > (_LOOPBACK_MAX if loopback else _AS_IT_LIES_MAX)

    async def _chooser(self, name: str) -> LevelChooser:
        found = self._choosers.get(name)
        if found is None:  # in a thread, for it may import a library
            levels = await in_thread(lambda: self._codings().levels(name), self._threads)
            found = self._choosers.setdefault(name, LevelChooser(levels))
        return found

    # In a thread

    def _make(self, frames: list[Frame], offered: Sequence[str], plan: _Plan) -> _Made:
        row = _Row()
        tried = became = 0
        began, cpu_began, reading = time.perf_counter(), time.thread_time(), 0.0
        for frame in frames:
            if not frame.blocks:
                row.other(frame)
            for want, block in enumerate(frame.blocks, frame.first):
                try:
                    found = block.coded(offered) if isinstance(block, SupportsCoded) else None
                    if found is None and plan.name is not None and block.size >= CODED_BYTES_MIN:
                        before = time.perf_counter()
                        view = self._scratch(block.size)
                        block.read_into(view)
                        reading += time.perf_counter() - before
                        found = self._codings().encode(view, name=plan.name, level=plan.level)
                        tried += block.size
                        became += block.size if found is None else len(found[1])
                except WherryError:
                    row.gone(want)
                    continue
                if found is None or found[0] not in offered or not 0 < len(found[1]) < block.size:
                    row.plain(want, block)
                else:
                    row.coded(want, block.size, offered.index(found[0]) + 1, found[1])
        row.close()
        seconds = max(time.perf_counter() - began - reading, 1e-6)
        return _Made(row.frames, row.coded_bytes, tried, became, seconds, time.thread_time() - cpu_began)

    def _scratch(self, size: int) -> memoryview:
        """Gives memory of this thread's own, which the next call uses again."""
        scratch: bytearray = self._mine.__dict__.setdefault("scratch", bytearray())
        if len(scratch) < size:
            scratch = self._mine.scratch = bytearray(size)
        return memoryview(scratch)[:size]


class _Row:
    """Lays an answer out anew, want by want: what stays plain and follows stays one run, what is coded alike is one frame."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.coded_bytes = 0
        self._first = 0
        self._run: list[Held] = []
        self._coding = 0
        self._coded: list[tuple[int, bytes]] = []

    def plain(self, want: int, block: Held) -> None:
        if self._coded or (self._run and not block.follows(self._run[-1])):
            self.close()
        if not self._run:
            self._first = want
        self._run.append(block)

    def coded(self, want: int, size: int, coding: int, data: bytes) -> None:
        if self._run or (self._coded and coding != self._coding):
            self.close()
        if not self._coded:
            self._first, self._coding = want, coding
        self._coded.append((size, data))
        self.coded_bytes += len(data)

    def gone(self, want: int) -> None:
        self.other(missing(want, 1))

    def other(self, frame: Frame) -> None:
        self.close()
        self.frames.append(frame)

    def close(self) -> None:
        """Ends the frame in work."""
        if self._run:
            self.frames.append(run_of(self._run, self._first))
        if self._coded:
            self.frames += coded_of(self._coding, self._coded, self._first)
        self._run, self._coded = [], []
