"""Magnet links of torrents (BEP 9, BEP 53; specs/0036 §7). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote

from wherry.errors import DecodeError, LimitExceeded, UnsafeName
from wherry.limits import MAGNET_CHARS_MAX, TORRENT_PEERS_MAX
from wherry.names import check_name, shown
from wherry.torrent.addresses import peer_of, trackers_of, webseeds_of

PREFIX: Final = "magnet:"
_HEX: Final = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_FIELDS_MAX: Final = 200
_SHA2_256: Final = "1220"  # of a multihash: its code and its length


@dataclass(frozen=True, slots=True)
class Magnet:
    """What a magnet link says. At least one infohash is there."""

    v1: bytes | None  # 20 bytes
    v2: bytes | None  # 32 bytes
    name: str | None = None  # a hint of who wrote the link
    trackers: tuple[str, ...] = ()
    webseeds: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()  # HOST:PORT

    @property
    def id(self) -> str:
        """The infohash in hexadecimal: of version 2 if there is one."""
        return (self.v2 or self.v1 or b"").hex()

    def text(self) -> str:
        """Writes the link again: what was understood of it, and nothing else. Peers are left out."""
        parts = [f"xt=urn:btih:{self.v1.hex()}"] if self.v1 else []
        parts += [f"xt=urn:btmh:{_SHA2_256}{self.v2.hex()}"] if self.v2 else []
        parts += [f"tr={quote(one, safe='')}" for one in self.trackers] + [f"ws={quote(one, safe='')}" for one in self.webseeds]
        return f"{PREFIX}?{'&'.join(parts)}"


def parse_magnet(text: str) -> Magnet:
    """Reads a link. Trackers, web seeds and peers that are no addresses are left out, and so are fields of other meanings.

    Raises DecodeError for one that names no torrent, or two, and for a malformed infohash; LimitExceeded.
    """
    if len(text) > MAGNET_CHARS_MAX:
        raise LimitExceeded(f"a magnet link of more than {MAGNET_CHARS_MAX} characters")
    if not text.lower().startswith(f"{PREFIX}?"):
        raise DecodeError(
            f"{shown(text)} is no magnet link", hint="it begins with magnet:?xt=urn:btih: or magnet:?xt=urn:btmh:"
        )
    try:
        fields = parse_qsl(text[len(PREFIX) + 1 :], max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError as problem:
        raise DecodeError("the magnet link has more fields than any has, or text that is not UTF-8") from problem
    found: dict[str, list[str]] = {}
    for key, value in fields:
        found.setdefault(re.sub(r"\.[0-9]+\Z", "", key.lower()), []).append(value)
    hashes: dict[int, bytes] = {}
    for topic in found.get("xt", []):
        one = _infohash(topic)
        if one is None:
            continue
        if hashes.setdefault(len(one), one) != one:
            raise DecodeError("the magnet link names two torrents")
    if not hashes:
        raise DecodeError("the magnet link names no torrent", hint="it has xt=urn:btih:... or xt=urn:btmh:... in it")
    name = next(iter(found.get("dn", [])), None)
    peers = [peer for peer in map(peer_of, found.get("x.pe", [])) if peer is not None][:TORRENT_PEERS_MAX]
    return Magnet(
        hashes.get(20), hashes.get(32), _named(name), trackers_of(found.get("tr", [])), webseeds_of(found.get("ws", [])),
        tuple(peers),
    )  # fmt: skip


def _infohash(topic: str) -> bytes | None:
    """Gives the infohash that a topic names; None: it is of something else. Raises DecodeError."""
    kind, _, value = topic.rpartition(":")
    if kind.lower() == "urn:btih":
        if len(value) == 40 and _HEX.fullmatch(value):
            return bytes.fromhex(value)
        if len(value) == 32 and value.isascii():  # of a few other letters the upper case is ASCII
            try:
                return base64.b32decode(value.upper())
            except binascii.Error:
                pass
    elif kind.lower() == "urn:btmh":
        if len(value) == 68 and value.startswith(_SHA2_256) and _HEX.fullmatch(value):
            return bytes.fromhex(value[4:])
    else:
        return None
    raise DecodeError(
        f"{shown(topic)} is no infohash", hint="40 digits in hexadecimal (or 32 in base32), or 1220 and 64 digits"
    )


def _named(name: str | None) -> str | None:
    """Gives the name if a file may be called so."""
    try:
        if name is not None:
            check_name(name)
    except UnsafeName:
        return None
    return name
