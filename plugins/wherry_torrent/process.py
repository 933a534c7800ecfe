"""The process that runs libtorrent, seen from wherry: started, listened to, ended (specs/0036 §11). For one event loop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wherry.errors import PluginError
from wherry.offload import settled
from wherry_torrent.client import VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wherry_torrent.options import TorrentOptions

_RUN: Final = (  # our own code and nothing else of this environment, whatever is installed in the other's
    "import sys, types; package = types.ModuleType('wherry_torrent'); package.__path__ = [sys.argv[1]]; "
    "sys.modules[package.__name__] = package; from wherry_torrent.client import main; main()"
)
_PACKAGE: Final = str(Path(__file__).resolve().parent)
_LEAN: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "1048576"}  # or its threads hold what they gave back
_END_S: Final = 8.0  # to save what it has
_LINE_BYTES_MAX: Final = 1 << 20
_WORDS_BYTES_MAX: Final = 4096


class Process:
    """A running process. Made by `start`; `stop` it."""

    def __init__(self, child: asyncio.subprocess.Process, options: TorrentOptions) -> None:
        self._child, self._options = child, options

    @classmethod
    async def start(cls, options: TorrentOptions) -> Process:
        """Starts it, and waits until it has libtorrent. Raises PluginError."""
        python = str(options.python or sys.executable)
        try:
            child = await asyncio.create_subprocess_exec(
                python, "-I", "-W", "ignore", "-c", _RUN, _PACKAGE,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES_MAX, start_new_session=True,  # what a terminal sends is for wherry, which ends it
                env={**os.environ, **_LEAN},
            )  # fmt: skip
        except OSError as problem:
            hint = "set [transport.torrent] python"
            raise PluginError(f"torrent: {python!a} cannot be run: {problem.strerror}", hint=hint) from problem
        process = cls(child, options)
        try:
            first = await process._next(options.start_timeout)
            if first.get("event") == "absent":
                raise PluginError(
                    f"libtorrent is not installed ({_shown(first.get('text'))})",
                    hint='pip install "wherry[torrent]", or set [transport.torrent] python to an interpreter that has it',
                )
            if first.get("event") != "ready" or first.get("version") != VERSION:
                raise PluginError(f"torrent: its process is of another version: {_shown(first)}")
        except BaseException:
            await process.stop(softly=False)
            raise
        return process

    async def say(self, **words: object) -> None:
        """Says a line. One that nobody reads any more is no error here: `events` says so."""
        pipe = self._child.stdin
        if pipe is not None:
            with suppress(OSError):
                pipe.write(json.dumps(words).encode() + b"\n")
                await pipe.drain()

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Gives what it says, until it is done. Raises PluginError if it ends before, or says nothing for too long."""
        while True:
            event = await self._next(self._options.idle_timeout)
            yield event
            if event.get("event") == "done":
                return

    async def _next(self, seconds: float) -> dict[str, Any]:
        pipe = self._child.stdout
        try:
            async with asyncio.timeout(seconds):
                line = await pipe.readline() if pipe is not None else b""
            event = json.loads(line) if line else None
        except TimeoutError as problem:
            raise PluginError(f"torrent: its process said nothing for {seconds:.0f} s") from problem
        except ValueError as problem:
            raise PluginError("torrent: its process says what is no line of JSON") from problem
        if not isinstance(event, dict):
            raise PluginError(f"torrent: its process ended: {await self._words()}")
        return event

    async def _words(self) -> str:
        """Gives the last words of a process that ended, escaped."""
        pipe, words = self._child.stderr, b""
        if pipe is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    words = await pipe.read(_WORDS_BYTES_MAX)
        return _shown(words.decode(errors="replace").strip()[-300:]) or "it says not why"

    async def stop(self, *, softly: bool = True) -> None:
        """Ends it, ``softly`` at first, so that it saves what it has. Waits for it, cancelled or not."""
        await settled([asyncio.ensure_future(self._stop(_END_S if softly else 0.0))])

    async def _stop(self, patience_s: float) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        draining = asyncio.ensure_future(self._drain())  # what it still says must not hold it up
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._child.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)  # whatever it started, too
        await self._child.wait()
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        if (transport := getattr(self._child, "_transport", None)) is not None:
            transport.close()

    async def _drain(self) -> None:
        while self._child.stdout is not None and await self._child.stdout.read(1 << 16):
            pass


def _shown(value: object) -> str:
    return ascii(str(value)[:300])[1:-1]
