"""Torrents (specs/0036 §10): what a transport that speaks BitTorrent may also do.

A torrent names a whole tree by hashes of its own, so nothing of it is a block until all of it is here. Such a transport
downloads into a folder that core gives it. It decides neither what a file is called nor whether it is right: core says where
each file goes, before any is made, and compares all of them with the torrent afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from wherry.limits import FIRST_SOURCE_S
from wherry.observe import Note

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

TORRENT_FILE = "torrent"  # in the folder: the torrent as it was given, if there is one
INFO_FILE = "info"  # the info dictionary, once it is known and approved


class Placed(NamedTuple):
    """Where a file of a torrent goes. Padding has no place, and is not in such lists."""

    path: str  # below the folder, "/"-separated, checked
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TorrentWanted:
    """What is to be downloaded, and whither."""

    folder: str  # absolute, there, and nobody else's. What an earlier call left there is gone on from
    files: Sequence[Placed] | None  # in the torrent's order; None: only the magnet link is known, see `Approve`
    magnet: str = ""  # where there is no torrent: the link, written by core
    trackers: Sequence[str] = ()
    webseeds: Sequence[str] = ()
    peers: Sequence[str] = ()  # HOST:PORT, that the user named
    hints: Sequence[str] = ()  # HOST:PORT, that the link names: a stranger's words, of no weight if they lead nowhere
    up: float | None = None  # most that is sent, in bytes a second
    down: float | None = None
    wait_s: float = FIRST_SOURCE_S  # how long nothing may come once something had; then core gives up


class TorrentState(NamedTuple):
    """How far it is. Told several times a second, whether or not anything moved."""

    phase: Literal["metadata", "check", "fetch"]  # looking for the info dictionary; looking at what is here; downloading
    bytes_done: int = 0  # of the files, verified by the library
    bytes_total: int = 0
    wire_bytes: int = 0  # payload received
    peers: int = 0  # connected
    faults: Sequence[tuple[str, str]] = ()  # who failed, and why: the last ones, strangers' words


Approve: TypeAlias = "Callable[[bytes], Awaitable[Sequence[Placed]]]"
Told: TypeAlias = TorrentState | Note


@runtime_checkable
class SupportsTorrents(Protocol):
    """A transport that downloads torrents. Optional."""

    def torrent(self, wanted: TorrentWanted, approve: Approve) -> AsyncGenerator[Told, None]:
        """Downloads all of it; ends when every byte is on its way to disk, with every file closed.

        Where only a magnet link is known, ``approve`` is given the info dictionary, whose hash matches it, and says where the
        files go; until it has, nothing is made but files of the transport's own. What it raises ends the download.

        It writes in the folder alone: the files where core says, and files of its own beside them, so that a later call for
        the same torrent goes on there, also after this process was killed. Raises PeerDenied, PeerUnreachable for a named
        peer whose address is none, LocalError, PluginError. It waits for peers as long as it is let: whether that is too long
        is core's to say. Closed or cancelled, it leaves nothing running.
        """
