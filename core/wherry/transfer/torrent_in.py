"""`get` of a torrent: checked, downloaded by the transport that can, compared, and given its name (specs/0036 §9)."""

from __future__ import annotations

import os
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal, NamedTuple

from wherry.abc.torrents import TorrentState, TorrentWanted
from wherry.errors import (
    DataError,
    DecodeError,
    IntegrityError,
    LimitExceeded,
    NoSource,
    NotFound,
    TargetExists,
    UnsafeName,
    local_error,
)
from wherry.hints import advising
from wherry.limits import FIRST_SOURCE_S, TORRENT_BYTES_MAX
from wherry.manifest import DIR, FILE
from wherry.names import shown
from wherry.observe import Note, Progress
from wherry.offload import in_thread, stoppable
from wherry.torrent.magnet import PREFIX, Magnet, parse_magnet
from wherry.torrent.read import Torrent, check_names, read_info, read_torrent
from wherry.transfer.replace import check_replace
from wherry.transfer.torrent_place import TorrentPlace, compare, placed, tidy
from wherry.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.abc.torrents import Approve, Placed, SupportsTorrents
    from wherry.observe import Observe

_TELL_STALL_S = 10.0
_ANEW = "is it a torrent, and whole? Get that file again, or use the magnet link"
_REFUSED = "it was made so, and is not taken: get the data from somebody else"


class Given(NamedTuple):
    """What the user named: a torrent, or a magnet link."""

    torrent: Torrent | None
    whole: bytes | None  # the bytes of the torrent
    magnet: Magnet | None
    path: str = ""  # of the torrent, for messages

    @property
    def ids(self) -> list[str]:
        """The infohashes in hexadecimal, that of version 2 first."""
        found = self.torrent or self.magnet
        return [each.hex() for each in (found.v2, found.v1) if each] if found is not None else []

    @property
    def name(self) -> str:
        """What the target is called if nobody says."""
        if self.torrent is not None:
            return self.torrent.name
        return (self.magnet.name if self.magnet is not None else None) or self.ids[0]


class Rules(NamedTuple):
    """What is taken."""

    portable: bool
    bytes_max: int | None
    force: bool
    sync: bool
    wait_s: float | None  # that the user said; None: `FIRST_SOURCE_S` at first, and `lost_s` once something came
    lost_s: float


class _Same(Exception):  # no error: there is nothing to download
    """The target is what the torrent names already."""


def given(what: str) -> Given:
    """Reads a magnet link, or the torrent at a path. Raises NotFound, LocalError, DecodeError, UnsafeName, LimitExceeded."""
    if what.lower().startswith(PREFIX):
        return Given(None, None, parse_magnet(what))
    path = os.path.expanduser(what)
    try:
        with open(path, "rb") as file:
            data = file.read(TORRENT_BYTES_MAX + 1)
    except OSError as problem:
        raise local_error(problem, "cannot read", path) from problem
    with advising(DataError, _REFUSED, about=repr(path)), advising(DecodeError, _ANEW):
        return Given(read_torrent(data), data, None, path)


class TorrentGet:
    """One get. ``run`` it on the loop; ``progress`` tells how far it is."""

    def __init__(self, asked: Given, target: str, transport: SupportsTorrents, rules: Rules, observe: Observe) -> None:
        self._asked, self._target, self._transport = asked, target, transport
        self._rules, self._observe = rules, observe
        self.torrent = asked.torrent
        self.wire_bytes = 0
        self._state = TorrentState("metadata")
        self._phase: Literal["fetch", "verify"] = "fetch"
        self._compared = 0
        self._stopped = False

    def progress(self) -> Progress:
        """How far it is."""
        torrent, state = self.torrent, self._state
        if self._phase == "verify" or state.phase == "check":
            done = self._compared if self._phase == "verify" else state.bytes_done
            return Progress(verb="get", phase="verify", bytes_done=done, bytes_total=torrent.size if torrent else None)
        return Progress(
            verb="get", phase="fetch", bytes_done=state.bytes_done, bytes_total=torrent.size if torrent else None,
            wire_bytes=self.wire_bytes, sources_alive=state.peers,
        )  # fmt: skip

    async def run(self, peers: Sequence[str], webseeds: Sequence[str], up: float | None, down: float | None) -> Torrent:
        """Brings the target; gives what the torrent says. Raises WherryError. What came is kept if it is ended."""
        if self.torrent is not None:
            given = self.torrent
            await in_thread(lambda: self._check(given))
            if await self._there(given):
                await in_thread(lambda: tidy(self._target, self._asked.ids))
                return given
        place = await in_thread(lambda: TorrentPlace(self._target, self._asked.ids), undo=TorrentPlace.close)
        try:
            if self.torrent is None and (known := await in_thread(place.known_info)) is not None:
                self.torrent = torrent = await in_thread(lambda: self._matching(known))
                await in_thread(lambda: self._check(torrent))
            # Asked again of a torrent that was given: opening the place puts back what a run that was killed had moved in.
            if self.torrent is not None and await self._there(self.torrent):
                await in_thread(place.discard)
                return self.torrent
            wanted = await self._wanted(place, peers, webseeds, up, down)
            try:
                await self._download(place, wanted)
            except _Same:
                await in_thread(place.discard)
                return self._known()
            await stoppable(lambda: place.finish(force=self._rules.force, sync=self._rules.sync), lambda: None)
            return self._known()
        finally:
            await in_thread(place.close)  # what is of no use to a later run goes with it

    def _known(self) -> Torrent:
        if self.torrent is None:
            raise NotFound("the transport ended without an info dictionary")
        return self.torrent

    def _check(self, torrent: Torrent) -> None:
        with advising(UnsafeName, _REFUSED, about=repr(self._asked.path) if self._asked.path else "the torrent"):
            check_names(torrent, portable=self._rules.portable)
        most = self._rules.bytes_max
        if most is not None and torrent.size > most:
            raise LimitExceeded(f"the torrent has {torrent.size:,} bytes, more than {most:,}", hint="raise --max-bytes")

    def _matching(self, info: bytes) -> Torrent:
        """Reads an info dictionary, and compares its hash with the link. Raises IntegrityError, and what reading does."""
        torrent, magnet = read_info(info), self._asked.magnet
        for said, found in ((magnet.v1, torrent.v1), (magnet.v2, torrent.v2)) if magnet is not None else ():
            if said is not None and said != found:
                raise IntegrityError("the info dictionary is not the one that the magnet link names")
        return torrent

    async def _there(self, torrent: Torrent) -> bool:
        """Tells whether the target is there and right already. Raises TargetExists if it is something else."""
        if not await in_thread(lambda: os.path.lexists(self._target)):
            return False
        if self._rules.force:
            await in_thread(lambda: check_replace(self._target, FILE if torrent.single else DIR))
            return False
        self._phase, self._compared = "verify", 0
        try:
            await self._stoppable(lambda: compare(self._target, torrent, self._read))
        except IntegrityError as problem:
            raise TargetExists(
                f"{self._target!r} is there already, and not what the torrent says: {problem.message}",
                hint="give --force to replace it, or choose another -o",
            ) from problem
        finally:
            self._phase, self._compared = "fetch", 0
        return True

    async def _wanted(
        self, place: TorrentPlace, peers: Sequence[str], webseeds: Sequence[str], up: float | None, down: float | None
    ) -> TorrentWanted:
        torrent, magnet = self.torrent, self._asked.magnet
        if torrent is not None:
            await in_thread(lambda: self._prepare(place, torrent))
        named = self._asked.torrent or magnet
        rules = self._rules
        return TorrentWanted(
            folder=place.folder, files=placed(torrent) if torrent is not None else None,
            magnet=magnet.text() if magnet is not None else "", trackers=named.trackers if named is not None else (),
            webseeds=list(dict.fromkeys([*webseeds, *(named.webseeds if named is not None else ())])),
            peers=peers, hints=magnet.peers if magnet is not None else (), up=up, down=down,
            wait_s=rules.wait_s if rules.wait_s is not None else rules.lost_s,
        )  # fmt: skip

    def _prepare(self, place: TorrentPlace, torrent: Torrent) -> None:
        place.check_space(torrent)
        place.keep(torrent, self._asked.whole)

    async def _download(self, place: TorrentPlace, wanted: TorrentWanted) -> None:
        """Downloads and compares; where a library trusted its notes too much, once more without them."""

        async def approve(info: bytes) -> Sequence[Placed]:
            self.torrent = torrent = await in_thread(lambda: self._matching(info))
            await in_thread(lambda: self._check(torrent))
            if await self._there(torrent):
                raise _Same
            await in_thread(lambda: self._prepare(place, torrent))
            return placed(torrent)

        for again in (False, True):
            await self._fetch(wanted, approve)
            torrent = self._known()
            self._phase, self._compared = "verify", 0
            try:
                await self._stoppable(lambda torrent=torrent: place.check(torrent, self._read))  # type: ignore[misc]  # mypy takes no default in a lambda
                return
            except IntegrityError as problem:
                if again:
                    raise
                self._observe(Note("warning", f"{problem.message}: looking at every byte again"))
                await in_thread(place.forget_progress)
            self._phase = "fetch"
            wanted = await self._wanted(place, wanted.peers, wanted.webseeds, wanted.up, wanted.down)

    async def _fetch(self, wanted: TorrentWanted, approve: Approve) -> None:
        before, stall = self.wire_bytes, _Stall(self._rules, self._observe)
        async with aclosing(self._transport.torrent(wanted, approve)) as told:
            async for one in told:
                if isinstance(one, Note):
                    self._observe(one)
                    continue
                self._state = one
                self.wire_bytes = before + one.wire_bytes
                stall.look(one)

    def _read(self, count: int) -> None:
        if self._stopped:
            raise _Stopped
        self._compared += count

    async def _stoppable(self, call: Callable[[], None]) -> None:
        def stop() -> None:
            self._stopped = True

        await stoppable(call, stop)


class _Stopped(Exception):  # no error: nobody waits for the comparison any more
    """Ends a comparison."""


class _Stall:
    """Tells of a download that stands still, and ends one that does so for too long."""

    def __init__(self, rules: Rules, observe: Observe) -> None:
        self._rules, self._observe = rules, observe
        self._last: tuple[str, int, int] = ("", 0, 0)
        self._moved = time.monotonic()
        self._came = self._told = False

    def look(self, state: TorrentState) -> None:
        """Takes one more state. Raises NoSource."""
        now, at = time.monotonic(), (state.phase, state.bytes_done, state.wire_bytes)
        if at != self._last:
            self._came = self._came or bool(state.wire_bytes)
            self._last, self._moved, self._told = at, now, False
            return
        waited, rules = now - self._moved, self._rules
        most = rules.wait_s if rules.wait_s is not None else (rules.lost_s if self._came else FIRST_SOURCE_S)
        if waited >= most:
            what = "metadata of the torrent" if state.phase == "metadata" else "torrent"
            raise NoSource(
                f"nobody gave anything of the {what} for {format_duration(waited)}; {_reasons(state)}",
                hint="name a peer or a web seed with --from, wait longer with --wait, "
                "or let it look for peers: [transport.torrent] dht = true",
            )
        if waited >= _TELL_STALL_S and not self._told:
            self._told = True
            self._observe(Note("warning", f"nothing came for {format_duration(waited)}; {_reasons(state)}"))


def _reasons(state: TorrentState) -> str:
    peers = f"{state.peers} peer{'' if state.peers == 1 else 's'} connected"
    return "; ".join([peers, *(f"{shown(who)}: {shown(why)}" for who, why in list(state.faults)[-5:])])
