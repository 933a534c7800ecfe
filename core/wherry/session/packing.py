"""The verbs that take blocks in and give them out as one file: CARs (specs/0032) and torrents (specs/0036)."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Final

from wherry.car_results import ExportResult, ImportResult, RootImported, TorrentResult
from wherry.errors import BlockNotFound, LocalError, NoSource, NotFound, UsageError, local_error
from wherry.hints import advising
from wherry.observe import Note, Progress
from wherry.offload import in_thread, stoppable
from wherry.session.parts import Parts
from wherry.session.telling import told
from wherry.torrent.metainfo import PIECE_BYTES, Metainfo
from wherry.transfer.outfile import check_free, whole, writing
from wherry.transfer.pace import paced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wherry.cid import CID
    from wherry.observe import Observe, Phase

STREAM: Final = "-"  # standard input, or output
_LOOK_S: Final = 0.2  # after so long without bytes it is looked whether anybody still waits for them
_BUFFER_BYTES: Final = 1 << 16


class Packing(Parts):
    """Import and export."""

    @told
    async def import_car(self, path: str, *, observe: Observe | None = None) -> ImportResult:
        """Keeps the blocks of a CAR (``-``: of standard input) in the home, verified; acknowledges its roots.

        A root below which something is missing is not acknowledged; its blocks stay. Raises DecodeError, IntegrityError,
        LimitExceeded, NotFound, LocalError, StoreError. Cancelling keeps what was read.
        """
        self._home.must_be_writable()
        from wherry.transfer.car_in import CarImport

        began = time.monotonic()
        stop = threading.Event()
        source, total = _opened(path, stop)
        try:
            origin = "standard input" if path == STREAM else repr(path)
            run = CarImport(self._store, _reading(source, path), origin=origin, where=str(self.home / "nodes.db"))

            def end() -> None:
                run.cancel()
                stop.set()

            def progress() -> Progress:
                if run.checking:  # how much lies below its roots is not known: blocks may be there twice, or belong to none
                    return Progress(verb="import", phase="verify", bytes_done=run.bytes_checked)
                return Progress(verb="import", phase="hash", bytes_done=run.bytes_read, bytes_total=total)

            async with paced(observe, progress):
                roots = await stoppable(run.run, end)
        finally:
            source.close()
        found = [
            RootImported(
                cid=str(root.cid), complete=not root.missing, missing=root.missing or None, malformed=root.malformed,
                unsupported=root.unsupported,
            )
            for root in roots
        ]  # fmt: skip
        return ImportResult(
            roots=found, blocks=run.blocks, new_blocks=run.new_blocks, bytes=run.bytes_read, stored_bytes=run.new_bytes,
            skipped=run.skipped, more_skipped=run.more_skipped, seconds=time.monotonic() - began,
        )  # fmt: skip

    @told
    async def export_car(
        self,
        what: str | CID,
        path: str,
        *,
        scope: str = "all",
        sources: Sequence[str] = (),
        force: bool = False,
        observe: Observe | None = None,
    ) -> ExportResult:
        """Writes a CAR of CID[/PATH] (``-``: to standard output); the file appears when it is whole.

        ``scope``: all below it, the entity (a file, or the listing of a directory), or its block alone. What this home does not
        hold is fetched from ``sources`` while it is written; without any, nobody is asked. Raises BlockNotFound, NotFound,
        TargetExists, LocalError, CIDError, and what fetching does.
        """
        from wherry.transfer.car_out import CarExport

        began = time.monotonic()
        async with _advised(sources), self._blocks(what, sources, observe, local=True) as (blocks, root, parts):
            run = CarExport(blocks, root, parts, scope=scope)

            def end() -> None:
                run.cancel()
                blocks.cancel()

            def progress() -> Progress:
                phase: Phase = "fetch" if sources else "hash"
                return Progress(verb="export", phase=phase, bytes_done=run.bytes, wire_bytes=blocks.wire_bytes)

            async with paced(observe, progress):
                if path == STREAM:
                    await stoppable(lambda: run.run(writing(sys.stdout.buffer)), end)
                else:
                    await stoppable(lambda: whole(run.run, path, force=force), end)
        return ExportResult(
            cid=str(run.root), path=path, blocks=run.blocks, bytes=run.bytes, large=run.large, seconds=time.monotonic() - began
        )

    @told
    async def export_torrent(
        self,
        what: str | CID,
        path: str,
        *,
        webseeds: Sequence[str] = (),
        trackers: Sequence[str] = (),
        hybrid: bool = True,
        v1_only: bool = False,
        piece_bytes: int = PIECE_BYTES,
        force: bool = False,
        observe: Observe | None = None,
    ) -> TorrentResult:
        """Writes a torrent of a dataset that this home holds; every byte is read once, and verified.

        It is named by its CID, or by the last part of its path. ``webseeds`` are addresses of `serve` (``http://HOST:PORT``),
        from which ordinary clients then fetch it (BEP 19). ``v1_only``: without version 2 and padding. Links are left out, and
        counted. ``path`` may be ``-``: standard output. Raises what `cat` and `ls` raise, TargetExists, UsageError, LocalError.
        """
        from wherry.transfer.torrent_out import check_trackers, made, odd_names, seed_of

        began = time.monotonic()
        cid, inside = self._public(await self._unnamed(what, (), observe))
        seeds = [seed_of(seed, cid, inside) for seed in webseeds]
        check_trackers(trackers)
        if path != STREAM:
            await in_thread(lambda: check_free(path, force=force))
        what = f"{cid}/{inside}" if inside else cid
        run = Metainfo(inside.rpartition("/")[2] or cid, piece_bytes=piece_bytes, hybrid=hybrid, v1_only=v1_only)
        done = 0

        def read(count: int) -> None:
            nonlocal done
            done += count

        def progress() -> Progress:
            return Progress(verb="export", phase="hash", bytes_done=done, files_done=run.files)

        async with paced(observe, progress):
            try:
                skipped = await made(self, what, run, read)  # type: ignore[arg-type]  # a session is all families of verbs
            except NoSource as problem:  # which says to name one, and a torrent takes none
                problem.hint = f"`wherry get {cid}` first: a torrent is made of what is here"
                raise
        if observe is not None and (odd := await in_thread(lambda: odd_names(run.paths))) is not None:
            observe(Note("warning", odd))
        data = await in_thread(lambda: run.finish(trackers=trackers, webseeds=seeds))
        if path == STREAM:
            await stoppable(lambda: writing(sys.stdout.buffer)(data), lambda: None)
        else:
            await stoppable(lambda: whole(lambda write: [write(data)], path, force=force), lambda: None)
        return TorrentResult(
            cid=what, path=path, files=run.files, bytes=done, skipped=skipped, seconds=time.monotonic() - began
        )

    def _public(self, what: str) -> tuple[str, str]:
        """Gives the CID of ``CID[/PATH]`` or of a ticket as a gateway takes it, and the path. Raises CIDError, DataError."""
        from wherry.publiccid import parse_path
        from wherry.ticket import PREFIX

        if what.startswith(PREFIX):
            return str(self._parse(what).cid), ""
        public, path = parse_path(what)
        return str(public), "/".join(part for part in path.split("/") if part)


@asynccontextmanager
async def _advised(sources: Sequence[str]) -> AsyncIterator[None]:
    """Says what to do next where something is not found."""
    with advising(NotFound, "`wherry ls` shows what there is"):
        if sources:
            yield
            return
        with advising(BlockNotFound, "name who has it with --from ADDRESS: without, only what is here is exported"):
            yield


class _Stream(io.RawIOBase):
    """Standard input, of which a read can be ended: whoever writes into a pipe may never write again."""

    def __init__(self, fd: int, stop: threading.Event) -> None:
        self._fd, self._stop = fd, stop

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer is meant
        """Waits for bytes. Raises InterruptedError when it is to stop."""
        while not select.select([self._fd], [], [], _LOOK_S)[0]:
            if self._stop.is_set():
                raise InterruptedError("stopped")
        return os.readv(self._fd, [buffer])


def _opened(path: str, stop: threading.Event) -> tuple[IO[bytes], int | None]:
    if path == STREAM:
        if sys.stdin is None:  # the shell's `<&-`
            raise UsageError("standard input is closed", hint="name a file, or write into a pipe")
        return io.BufferedReader(_Stream(sys.stdin.fileno(), stop), _BUFFER_BYTES), None
    try:
        file = open(os.path.expanduser(path), "rb")  # noqa: SIM115 - the verb closes it
    except IsADirectoryError as problem:
        hint = "name a file; `wherry add` takes directories"
        raise LocalError(f"{path!r} is a directory, and no CAR", hint=hint) from problem
    except OSError as problem:
        raise local_error(problem, "opening", path) from problem
    return file, os.fstat(file.fileno()).st_size


def _reading(source: IO[bytes], path: str) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        try:
            return source.read(count)
        except OSError as problem:
            raise local_error(problem, "reading", path) from problem

    return read
