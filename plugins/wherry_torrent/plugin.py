"""Registers the ``torrent`` transport. Light: libtorrent is imported in a process of its own alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_torrent.options import TorrentOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


def build_torrent(options: TorrentOptions, env: Env) -> Transport:
    """Makes the transport. Its process starts with the first download."""
    from wherry_torrent.transport import TorrentTransport

    return TorrentTransport(options, env)


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``torrent``, which downloads torrents and is no source of blocks."""
    return [provider("torrent", options=TorrentOptions, build=build_torrent, summary="torrents and magnet links, for get")]
