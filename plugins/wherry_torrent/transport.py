"""The ``torrent`` transport: it brings whole torrents, and is no source of blocks (specs/0036 §10)."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from wherry.abc.torrents import TorrentState
from wherry.abc.transport import Transport
from wherry.errors import LocalError, PeerError, PeerUnreachable, PluginError, UsageError, local_error
from wherry.observe import Note
from wherry.offload import in_thread
from wherry.units import MiB
from wherry_torrent.process import Process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.torrents import Approve, Told, TorrentWanted
    from wherry.abc.transport import Channel
    from wherry.env import Env
    from wherry_torrent.options import TorrentOptions

_METADATA: Final = "metadata"


class TorrentTransport(Transport):
    """Downloads torrents. Each download is a process of its own, which ends with it."""

    schemes = frozenset({"magnet"})

    def __init__(self, options: TorrentOptions, env: Env) -> None:
        self._options, self._env = options, env

    def connect(self, address: str) -> AbstractAsyncContextManager[Channel]:
        """Refuses: a torrent names no blocks. Raises UsageError."""
        raise UsageError(
            f"{address[:60]!a} is a torrent, which is no source of blocks", hint="`wherry get` it by itself: it is added then"
        )

    async def torrent(self, wanted: TorrentWanted, approve: Approve) -> AsyncGenerator[Told, None]:
        """See `SupportsTorrents.torrent`."""
        peers = [await self._resolved(peer) for peer in wanted.peers]
        hints: list[tuple[str, int]] = []
        for hint in wanted.hints:
            try:
                hints.append(await self._resolved(hint))
            except PeerError as problem:
                yield Note("warning", f"a peer that the link names is left out: {problem.message}")
        process = await Process.start(self._options)
        try:
            await process.say(**self._start(wanted, peers, hints))
            async with aclosing(process.events()) as events:
                async for event in events:
                    kind = event.get("event")
                    if kind == "state":
                        yield _state(event)
                    elif kind == "note":
                        yield Note("warning", ascii(str(event.get("text")))[1:-1])
                    elif kind == "metadata":
                        files = await approve(await in_thread(lambda: _read(f"{wanted.folder}/{_METADATA}")))
                        await process.say(files=files)
                    elif kind == "fail":
                        raise _failure(event, wanted.folder)
        finally:
            await process.stop()

    def _start(self, wanted: TorrentWanted, peers: list[tuple[str, int]], hints: list[tuple[str, int]]) -> dict[str, Any]:
        return {
            "folder": wanted.folder,
            "files": wanted.files,
            "magnet": wanted.magnet,
            "peers": peers,
            "hints": hints,
            "trackers": list(wanted.trackers) if self._options.trackers else [],
            "webseeds": list(wanted.webseeds) if self._options.webseeds else [],
            "pex": self._options.pex,
            "up": int(wanted.up or 0),
            "down": int(wanted.down or 0),
            "wait": wanted.wait_s,
            "settings": settings(self._options),
        }

    async def _resolved(self, peer: str) -> tuple[str, int]:
        """Gives IP address and port of a peer. Raises PeerDenied, PeerUnreachable."""
        host, _, port = peer.rpartition(":")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except (OSError, ValueError) as problem:
            raise PeerUnreachable(f"{peer}: {problem}", peer=peer) from problem
        ip = str(found[0][4][0])
        self._env.dial.check(ip, peer)
        return ip, int(port)


def settings(options: TorrentOptions) -> dict[str, Any]:
    """Gives libtorrent's settings: little memory, which sockets' buffers decide more than its cache, and no maps."""
    return {
        "user_agent": "wherry",
        "listen_interfaces": options.listen,
        "enable_dht": options.dht,
        "enable_lsd": options.lsd,
        "enable_upnp": options.portmap,
        "enable_natpmp": options.portmap,
        "enable_outgoing_utp": options.utp,
        "enable_incoming_utp": options.utp,
        "allow_multiple_connections_per_ip": True,
        "connections_limit": options.connections,
        "ssrf_mitigation": True,
        "max_metadata_size": 16 * MiB,
        "max_queued_disk_bytes": MiB,
        "max_out_request_queue": 250,
        "max_peer_recv_buffer_size": 200_000,
        "recv_socket_buffer_size": 1048576,
        "urlseed_max_request_bytes": 4 * MiB,
        "urlseed_wait_retry": 5,
        "mmap_file_size_cutoff": (1 << 31) - 1,
        "aio_threads": 4,
        "hashing_threads": 2,
        "file_pool_size": 40,
        "alert_queue_size": 2000,
        "min_reconnect_time": 2,
    }


def _state(event: dict[str, Any]) -> TorrentState:
    try:
        faults = [(str(who), str(why)) for who, why in event["faults"]]
        done, total, wire, peers = (int(event[name]) for name in ("done", "total", "wire", "peers"))
        return TorrentState(event["phase"], done, total, wire, peers, faults)
    except (KeyError, TypeError, ValueError) as problem:
        raise PluginError("torrent: its process says what is no state") from problem


def _failure(event: dict[str, Any], folder: str) -> Exception:
    text, number = ascii(str(event.get("text"))[:300])[1:-1], event.get("errno")
    if isinstance(number, int) and number > 0:
        return local_error(OSError(number, text), "writing", folder)
    return LocalError(f"torrent: {text}")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as problem:
        raise local_error(problem, "reading", path) from problem
