"""Addresses in torrents and magnet links: of trackers, web seeds and peers (specs/0036 §6). Pure; all are strangers' words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wherry.limits import ADDRESS_CHARS_MAX, TORRENT_TRACKERS_MAX, TORRENT_WEBSEEDS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

_PEER: Final = re.compile(r"(?P<host>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[1-9][0-9]{0,4})", re.ASCII)


def peer_of(text: str) -> str | None:
    """Gives HOST:PORT, or [IPV6]:PORT, as it is; None if it is no such address."""
    match = _PEER.fullmatch(text)
    return text if match is not None and int(match["port"]) < 65_536 else None


def trackers_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Gives those that are addresses of trackers, each once, and no more than can be asked."""
    return _urls(texts, {"http", "https", "udp"}, TORRENT_TRACKERS_MAX)


def webseeds_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Gives those that are addresses of web seeds, each once, and no more than are used."""
    return _urls(texts, {"http", "https"}, TORRENT_WEBSEEDS_MAX)


def seeds_at(webseed: str) -> tuple[str, ...]:
    """Gives where files may lie at a web seed: of one without a path, as `wherry serve` has them, or at its root."""
    parts = urlsplit(webseed)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return (webseed,)
    root = webseed.rstrip("/")
    return f"{root}/ipfs/", f"{root}/"


def _urls(texts: Iterable[str], schemes: set[str], most: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in texts:
        if len(found) < most and _is_url(text, schemes):
            found[text] = None
    return tuple(found)


def _is_url(text: str, schemes: set[str]) -> bool:
    if len(text) > ADDRESS_CHARS_MAX or not (text.isascii() and text.isprintable()) or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
