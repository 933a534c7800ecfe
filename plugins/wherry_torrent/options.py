"""The options of the ``torrent`` transport, as written in configuration under ``[transport.torrent]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # the types of options are read when a configuration is

from wherry.plugin import Duration, option


@dataclass(frozen=True, slots=True, kw_only=True)
class TorrentOptions:
    """Options of the ``torrent`` transport."""

    python: Path | None = option(None, help="the interpreter that has libtorrent installed, if not this one")
    start_timeout: Duration = option(Duration(30.0), help="how long its process may take to start")
    idle_timeout: Duration = option(Duration(30.0), help="how long its process may say nothing")
    listen: str = option("0.0.0.0:0,[::]:0", help="where peers may call this node while it downloads; empty: nowhere")
    dht: bool = option(False, help="look for peers in the distributed hash table")
    lsd: bool = option(False, help="look for peers in the local network, by multicast")
    portmap: bool = option(False, help="ask the router to let peers in (UPnP, NAT-PMP)")
    pex: bool = option(True, help="let peers name other peers")
    trackers: bool = option(True, help="ask the trackers that a torrent names")
    webseeds: bool = option(True, help="download from the web seeds that a torrent names")
    utp: bool = option(False, help="use uTP beside TCP: gentler on a home's link, and slower")
    connections: int = option(100, minimum=2, maximum=2000, help="connections of peers at a time")
