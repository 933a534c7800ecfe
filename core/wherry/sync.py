"""The plain face of the public API: the same session and verbs, blocking (specs/0011 §3).

    with Session.open() as session:
        print(session.add("dataset").cid)

One event loop runs in a thread of its own for the session's life; every call waits for its verb there. A session may be
used by several threads. KeyboardInterrupt cancels the verb and waits until it has ended cleanly. Leaving the session ends
what other threads still do in it, with UsageError. An observer is called on the loop's thread, so it calls no verb.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from wherry.session import Session as AsyncSession
from wherry.syncloop import Loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from wherry.car_results import ExportResult, ImportResult, TorrentFetched, TorrentResult
    from wherry.cid import CID
    from wherry.dag_results import DagLink, DagNode, DagPut, DagStat
    from wherry.peer_results import PeerReport, RuleReport
    from wherry.results import (
        AddResult,
        CacheCleared,
        CacheStat,
        CacheWarmed,
        Check,
        EqualFiles,
        FindResult,
        FollowResult,
        GetPlan,
        GetResult,
        GrantResult,
        KeyReport,
        LsEntry,
        NameEventReport,
        NameReport,
        RepairResult,
        RewrapResult,
        SharedBytes,
        Stat,
        StoreStat,
        VerifyResult,
    )
    from wherry.store.state import RootRow

T = TypeVar("T")


class Session:
    """An open home, for plain code. Make one with `Session.open`; the verbs are those of `wherry.session.Session`."""

    def __init__(self, loop: Loop, session: AsyncSession) -> None:
        self._loop = loop
        self._session = session

    @classmethod
    @contextmanager
    def open(
        cls,
        *,
        home: str | Path | None = None,
        config: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        verb: str = "python",
        overrides: Mapping[str, str] | None = None,
        profile: str | None = None,
    ) -> Iterator[Session]:
        """See `wherry.session.Session.open`."""
        loop = Loop()
        try:
            opening = AsyncSession.open(
                home=home, config=config, environ=environ, verb=verb, overrides=overrides, profile=profile
            )
            with _entered(loop, opening, own=True) as session:
                try:
                    yield cls(loop, session)
                finally:
                    loop.end_all()
        finally:
            loop.close()

    def add(self, path: str, **options: Any) -> AddResult:  # handed on: the async method says what they are
        """See `wherry.session.Session.add`."""
        return self._loop.wait(self._session.add(path, **options))

    def grant(self, what: str | CID, to: Sequence[str], **options: Any) -> GrantResult:  # as above
        """See `wherry.session.Session.grant`."""
        return self._loop.wait(self._session.grant(what, to, **options))

    def rewrap(self, name: str) -> RewrapResult:
        """See `wherry.session.Session.rewrap`."""
        return self._loop.wait(self._session.rewrap(name))

    def get(self, what: str | CID, **options: Any) -> GetResult | GetPlan:  # as above
        """See `wherry.session.Session.get`."""
        return self._loop.wait(self._session.get(what, **options))

    def get_torrent(self, what: str, **options: Any) -> TorrentFetched:  # as above
        """See `wherry.session.Session.get_torrent`."""
        return self._loop.wait(self._session.get_torrent(what, **options))

    @contextmanager
    def serve(self, *args: Any, **options: Any) -> Iterator[list[str]]:  # as above
        """Serves while the context lasts; gives the addresses. See `wherry.session.Session.serve`."""
        with _entered(self._loop, self._session.serve(*args, **options)) as serving:
            yield serving.listen

    def cat(self, what: str | CID, **options: Any) -> Iterator[bytes]:  # as above
        """See `wherry.session.Session.cat`."""
        return self._each(self._session.cat(what, **options))

    def ls(self, what: str | CID, **options: Any) -> Iterator[LsEntry]:  # as above
        """See `wherry.session.Session.ls`."""
        return self._each(self._session.ls(what, **options))

    def find(self, what: str | CID, **options: Any) -> FindResult:  # as above
        """See `wherry.session.Session.find`."""
        return self._loop.wait(self._session.find(what, **options))

    def stat(self, what: str | CID, **options: Any) -> Stat:  # as above
        """See `wherry.session.Session.stat`."""
        return self._loop.wait(self._session.stat(what, **options))

    def verify(self, what: str | CID, path: str, **options: Any) -> VerifyResult:  # as above
        """See `wherry.session.Session.verify`."""
        return self._loop.wait(self._session.verify(what, path, **options))

    def roots(self, cid: str | CID | None = None) -> list[RootRow]:
        """See `wherry.session.Session.roots`."""
        return self._loop.wait(self._session.roots(cid))

    def doctor(self) -> list[Check]:
        """See `wherry.session.Session.doctor`."""
        return self._loop.wait(self._session.doctor())

    def repair(self, **options: Any) -> RepairResult:  # as above
        """See `wherry.session.Session.repair`."""
        return self._loop.wait(self._session.repair(**options))

    def import_car(self, path: str, **options: Any) -> ImportResult:  # as above
        """See `wherry.session.Session.import_car`."""
        return self._loop.wait(self._session.import_car(path, **options))

    def export_car(self, what: str | CID, path: str, **options: Any) -> ExportResult:  # as above
        """See `wherry.session.Session.export_car`."""
        return self._loop.wait(self._session.export_car(what, path, **options))

    def export_torrent(self, what: str | CID, path: str, **options: Any) -> TorrentResult:  # as above
        """See `wherry.session.Session.export_torrent`."""
        return self._loop.wait(self._session.export_torrent(what, path, **options))

    def cache_stat(self) -> CacheStat:
        """See `wherry.session.Session.cache_stat`."""
        return self._loop.wait(self._session.cache_stat())

    def cache_warm(self, what: str | CID, **options: Any) -> CacheWarmed:  # as above
        """See `wherry.session.Session.cache_warm`."""
        return self._loop.wait(self._session.cache_warm(what, **options))

    def cache_clear(self) -> CacheCleared:
        """See `wherry.session.Session.cache_clear`."""
        return self._loop.wait(self._session.cache_clear())

    def store_stat(self) -> StoreStat:
        """See `wherry.session.Session.store_stat`."""
        return self._loop.wait(self._session.store_stat())

    def duplicates(self, *, min_bytes: int = 1) -> Iterator[EqualFiles | SharedBytes]:
        """See `wherry.session.Session.duplicates`."""
        return self._each(self._session.duplicates(min_bytes=min_bytes))

    def keys(self) -> list[KeyReport]:
        """See `wherry.session.Session.keys`."""
        return self._loop.wait(self._session.keys())

    def key(self, name: str) -> KeyReport:
        """See `wherry.session.Session.key`."""
        return self._loop.wait(self._session.key(name))

    def new_key(self, name: str, **options: Any) -> KeyReport:  # as above
        """See `wherry.session.Session.new_key`."""
        return self._loop.wait(self._session.new_key(name, **options))

    def export_key(self, name: str, **options: Any) -> bytes:  # as above
        """See `wherry.session.Session.export_key`."""
        return self._loop.wait(self._session.export_key(name, **options))

    def import_key(self, name: str, data: bytes, **options: Any) -> KeyReport:  # as above
        """See `wherry.session.Session.import_key`."""
        return self._loop.wait(self._session.import_key(name, data, **options))

    def rotate_key(self, name: str, **options: Any) -> KeyReport:  # as above
        """See `wherry.session.Session.rotate_key`."""
        return self._loop.wait(self._session.rotate_key(name, **options))

    def delete_key(self, name: str) -> None:
        """See `wherry.session.Session.delete_key`."""
        self._loop.wait(self._session.delete_key(name))

    def publish_name(self, what: str | CID, **options: Any) -> NameReport:  # as above
        """See `wherry.session.Session.publish_name`."""
        return self._loop.wait(self._session.publish_name(what, **options))

    def resolve_name(self, name: str, **options: Any) -> NameReport:  # as above
        """See `wherry.session.Session.resolve_name`."""
        return self._loop.wait(self._session.resolve_name(name, **options))

    def import_record(self, name: str, record: bytes) -> NameReport:
        """See `wherry.session.Session.import_record`."""
        return self._loop.wait(self._session.import_record(name, record))

    def names(self) -> list[NameReport]:
        """See `wherry.session.Session.names`."""
        return self._loop.wait(self._session.names())

    def name_log(self, name: str) -> list[NameEventReport]:
        """See `wherry.session.Session.name_log`."""
        return self._loop.wait(self._session.name_log(name))

    def follow_name(self, name: str, **options: Any) -> Iterator[FollowResult]:  # as above
        """See `wherry.session.Session.follow_name`."""
        return self._each(self._session.follow_name(name, **options))

    def peers(self) -> list[PeerReport]:
        """See `wherry.session.Session.peers`."""
        return self._loop.wait(self._session.peers())

    def peer(self, name: str) -> PeerReport:
        """See `wherry.session.Session.peer`."""
        return self._loop.wait(self._session.peer(name))

    def rules(self) -> list[RuleReport]:
        """See `wherry.session.Session.rules`."""
        return self._loop.wait(self._session.rules())

    def dag_get(self, what: str | CID, **options: Any) -> DagNode:  # as above
        """See `wherry.session.Session.dag_get`."""
        return self._loop.wait(self._session.dag_get(what, **options))

    def dag_put(self, data: bytes, **options: Any) -> DagPut:  # as above
        """See `wherry.session.Session.dag_put`."""
        return self._loop.wait(self._session.dag_put(data, **options))

    def dag_ls(self, what: str | CID, **options: Any) -> list[DagLink]:  # as above
        """See `wherry.session.Session.dag_ls`."""
        return self._loop.wait(self._session.dag_ls(what, **options))

    def dag_stat(self, what: str | CID, **options: Any) -> DagStat:  # as above
        """See `wherry.session.Session.dag_stat`."""
        return self._loop.wait(self._session.dag_stat(what, **options))

    def ban(self, what: str, **options: Any) -> None:  # as above
        """See `wherry.session.Session.ban`."""
        self._loop.wait(self._session.ban(what, **options))

    def allow(self, what: str, **options: Any) -> None:  # as above
        """See `wherry.session.Session.allow`."""
        self._loop.wait(self._session.allow(what, **options))

    def unban(self, what: str) -> None:
        """See `wherry.session.Session.unban`."""
        self._loop.wait(self._session.unban(what))

    def forget_peers(self, names: list[str] | None = None) -> int:
        """See `wherry.session.Session.forget_peers`."""
        return self._loop.wait(self._session.forget_peers(names))

    def _each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """Iterates on the loop. The whole iteration is one task there, for what it opens must be closed where it was opened."""
        queue: asyncio.Queue[tuple[bool, Any]] = asyncio.Queue(1)

        async def run() -> None:
            try:
                async with aclosing(items):
                    async for item in items:
                        await queue.put((True, item))
            except Exception as problem:  # noqa: BLE001  # raised again in the caller's thread
                await queue.put((False, problem))
            else:
                await queue.put((False, None))

        running = self._loop.spawn(run())
        try:
            while True:
                more, item = self._loop.wait(queue.get())
                if more:
                    yield item
                elif item is None:
                    return
                else:
                    raise item
        finally:
            if not self._loop.inherited:
                running.cancel()
                if not self._loop.is_here:  # the garbage collector may close an iterator on any thread
                    running.settle()


@contextmanager
def _entered(loop: Loop, context: AbstractAsyncContextManager[T], *, own: bool = False) -> Iterator[T]:
    """Enters and leaves an async context in one task of the loop: task groups and time-outs in it need that."""
    entered: Future[T] = Future()
    leave = asyncio.Event()

    async def live() -> None:
        try:
            async with context as value:
                entered.set_result(value)
                await leave.wait()
        except Exception as problem:
            if entered.done():
                raise
            entered.set_exception(problem)

    running = loop.spawn(live(), own=own)
    running.done.add_done_callback(lambda _: entered.cancel())  # no-op once entered; else the task was cancelled
    value = running.result(entered)
    try:
        yield value
    finally:
        if not loop.inherited:
            if not running.done.done():
                loop.call(leave)
            running.result()
