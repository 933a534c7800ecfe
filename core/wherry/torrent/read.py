"""Reads torrents, which strangers wrote: strict and bounded (specs/0036 §6). Pure.

Nothing here believes a torrent: what cannot be written safely, or does not agree with itself, is refused before anything is
fetched by it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wherry.errors import DecodeError, LimitExceeded, UnsafeName
from wherry.limits import TORRENT_BYTES_MAX, TORRENT_FILES_MAX, TREE_BYTES_MAX, TREE_DEPTH_MAX
from wherry.names import Collisions, check_name, check_path, check_portable, shown
from wherry.torrent.addresses import trackers_of, webseeds_of
from wherry.torrent.bencode import decode, encode
from wherry.torrent.metainfo import LEAF_BYTES, PIECE_BYTES_MAX, root_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAD: Final = -1  # the file of a stretch of padding
_V2: Final = 2


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """One file."""

    parts: tuple[str, ...]  # of its path below the folder; () where the torrent is one file
    size: int
    root: bytes | None = None  # of version 2; None: it is empty, or there is no version 2


@dataclass(frozen=True, slots=True)
class Torrent:
    """What a torrent says, checked. Padding files are none of its files."""

    name: str
    piece_bytes: int
    files: tuple[TorrentFile, ...]
    spans: tuple[tuple[int, int], ...]  # of version 1, in order: which file (-1: padding), and how many bytes
    pieces: bytes  # of version 1: SHA-1 of each
    info: bytes  # the info dictionary, as it is hashed
    v1: bytes | None  # infohashes
    v2: bytes | None
    layers: dict[bytes, bytes] | None = None  # the piece layers; None: the info dictionary came alone
    trackers: tuple[str, ...] = ()
    webseeds: tuple[str, ...] = ()

    @property
    def single(self) -> bool:
        """Whether it is one file and no folder."""
        return len(self.files) == 1 and not self.files[0].parts

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def id(self) -> str:
        """The infohash in hexadecimal: of version 2 if there is one."""
        return (self.v2 or self.v1 or b"").hex()


def read_torrent(data: bytes) -> Torrent:
    """Reads the bytes of a ``.torrent``. Raises DecodeError, UnsafeName, LimitExceeded."""
    if len(data) > TORRENT_BYTES_MAX:
        raise LimitExceeded(f"a torrent of more than {TORRENT_BYTES_MAX:,} bytes")
    whole = decode(data)
    if not isinstance(whole, dict) or not isinstance(info := whole.get(b"info"), dict):
        raise DecodeError("this is no torrent: it has no info dictionary")
    found = _read(info)
    layers = _layers(found, whole.get(b"piece layers")) if found.v2 is not None else None
    announced = whole.get(b"announce-list")
    tiers: list[Any] = [tier for tier in announced if isinstance(tier, list)] if isinstance(announced, list) else []
    seeds = whole.get(b"url-list")
    return Torrent(
        found.name, found.piece_bytes, found.files, found.spans, found.pieces, found.info, found.v1, found.v2, layers,
        trackers_of(_texts([whole.get(b"announce"), *(tracker for tier in tiers for tracker in tier)])),
        webseeds_of(_texts(seeds if isinstance(seeds, list) else [seeds])),
    )  # fmt: skip


def read_info(data: bytes) -> Torrent:
    """Reads an info dictionary, as peers give it for a magnet link. Raises DecodeError, UnsafeName, LimitExceeded."""
    if len(data) > TORRENT_BYTES_MAX:
        raise LimitExceeded(f"an info dictionary of more than {TORRENT_BYTES_MAX:,} bytes")
    info = decode(data)
    if not isinstance(info, dict):
        raise DecodeError("this is no info dictionary of a torrent")
    return _read(info)


def check_names(torrent: Torrent, *, portable: bool) -> None:
    """Applies the rules for names (specs/0003 §6): the hard rule, and the portable one if ``portable``. Raises UnsafeName.

    Two files of one path, and a file where another has its folder, are refused in any case.
    """
    check_name(torrent.name)
    if portable:
        check_portable(torrent.name, torrent.name)
    folders: dict[tuple[str, ...], set[str]] = {(): set()}
    files: set[tuple[str, ...]] = set()
    for file in torrent.files:
        for depth, part in enumerate(file.parts):
            check_name(part)
            folder, whole = file.parts[:depth], file.parts[: depth + 1]
            if whole in files:
                raise UnsafeName(f"{shown('/'.join(whole))} is there twice, or is a file and a folder")
            folders.setdefault(folder, set()).add(part)
        path = "/".join(file.parts)
        check_path(path)
        if file.parts in folders and file.parts:
            raise UnsafeName(f"{shown(path)} is a file and a folder")
        if file.parts:
            files.add(file.parts)
    if portable:
        for folder, names in folders.items():
            collisions = Collisions("/".join(folder))
            for name in sorted(names):
                check_portable(name, "/".join((*folder, name)))
                collisions.add(name)
            collisions.finish()


def _texts(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, bytes):
            yield value.decode("ascii", "replace")


def _read(info: dict[Any, Any]) -> Torrent:
    encoded = encode(info)
    version = info.get(b"meta version", 1)
    if version not in (1, _V2):
        raise DecodeError(f"a torrent of version {shown(version)}, which is not known")
    name = _text(info.get(b"name"), "the name")
    check_name(name)
    piece = _number(info.get(b"piece length"), "the piece length", PIECE_BYTES_MAX)
    second = _tree(info.get(b"file tree"), name) if version == _V2 else None
    if not piece or (second is not None and (piece < LEAF_BYTES or piece & (piece - 1))):
        raise DecodeError(f"pieces of {piece} bytes")
    first = spans = None
    if version == 1 or b"pieces" in info:
        first, spans = _listed(info)
        if second is not None:
            _check_hybrid(first, spans, second, piece)
    files = second if second is not None else first or ()
    total = sum(file.size for file in files)
    if total > TREE_BYTES_MAX:
        raise LimitExceeded(f"a torrent of {total:,} bytes")
    if not total:
        raise DecodeError("the torrent has no bytes in it: no client can fetch it")
    pieces = info.get(b"pieces", b"") if spans is not None else b""
    if spans is not None:
        _check_pieces(pieces, sum(size for _, size in spans), piece)
    return Torrent(
        name, piece, files, spans or (), pieces, encoded,
        hashlib.sha1(encoded, usedforsecurity=False).digest() if spans is not None else None,
        hashlib.sha256(encoded).digest() if second is not None else None,
    )  # fmt: skip


def _check_pieces(pieces: object, total: int, piece: int) -> None:
    if not isinstance(pieces, bytes) or len(pieces) != 20 * -(-total // piece):
        raise DecodeError("the hashes of version 1 are not one for each piece")


def _listed(info: dict[Any, Any]) -> tuple[tuple[TorrentFile, ...], tuple[tuple[int, int], ...]]:
    """Reads the files of version 1 (BEP 3, with the padding of BEP 47)."""
    listed = info.get(b"files")
    if (b"length" in info) == (listed is not None):
        raise DecodeError("a torrent has one length, or files")
    if listed is None:
        _check_attributes(info)
        size = _number(info[b"length"], "a length", TREE_BYTES_MAX)
        return (TorrentFile((), size),), ((0, size),)
    if not isinstance(listed, list) or not listed:
        raise DecodeError("the files of a torrent are no list")
    files: list[TorrentFile] = []
    spans: list[tuple[int, int]] = []
    for entry in listed:
        if not isinstance(entry, dict):
            raise DecodeError("a file of a torrent is no dictionary")
        size = _number(entry.get(b"length"), "a length", TREE_BYTES_MAX)
        if _check_attributes(entry):
            if size > PIECE_BYTES_MAX:
                raise LimitExceeded(f"padding of {size:,} bytes in a torrent")
            spans.append((_PAD, size))
            continue
        path = entry.get(b"path")
        if not isinstance(path, list) or not path:
            raise DecodeError("a file of a torrent has no path")
        spans.append((len(files), size))
        files.append(TorrentFile(_parts(path), size))
        if len(files) > TORRENT_FILES_MAX:
            raise LimitExceeded(f"a torrent of more than {TORRENT_FILES_MAX:,} files")
    if not files:
        raise DecodeError("the torrent has no file in it")
    return tuple(files), tuple(spans)


def _parts(path: list[Any]) -> tuple[str, ...]:
    if len(path) > TREE_DEPTH_MAX:
        raise LimitExceeded(f"a path of more than {TREE_DEPTH_MAX} parts")
    parts = tuple(_text(part, "a name") for part in path)
    for part in parts:
        check_name(part)
    return parts


def _tree(tree: object, name: str) -> tuple[TorrentFile, ...]:
    """Reads the file tree of version 2 (BEP 52)."""
    if not isinstance(tree, dict) or not tree:
        raise DecodeError("the file tree of version 2 is not there, or empty")
    files: list[TorrentFile] = []
    stack: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while stack:
        parts, node = stack.pop()
        if not isinstance(node, dict) or not node:
            raise DecodeError("a folder of the file tree is none, or has nothing in it")
        if b"" in node:
            if len(node) != 1 or not parts:
                raise UnsafeName(f"{shown('/'.join(parts))} is a file and a folder")
            files.append(_leaf(parts, node[b""]))
            if len(files) > TORRENT_FILES_MAX:
                raise LimitExceeded(f"a torrent of more than {TORRENT_FILES_MAX:,} files")
            continue
        if len(parts) >= TREE_DEPTH_MAX:
            raise LimitExceeded(f"a path of more than {TREE_DEPTH_MAX} parts")
        below = [(_parts([key]), value) for key, value in node.items()]
        stack += [((*parts, *part), value) for part, value in reversed(below)]
    if len(files) == 1 and files[0].parts == (name,):
        return (TorrentFile((), files[0].size, files[0].root),)
    return tuple(files)


def _leaf(parts: tuple[str, ...], entry: object) -> TorrentFile:
    if not isinstance(entry, dict):
        raise DecodeError("a file of the file tree is no dictionary")
    if _check_attributes(entry):
        raise DecodeError("padding in the file tree of version 2")
    size, root = _number(entry.get(b"length"), "a length", TREE_BYTES_MAX), entry.get(b"pieces root")
    if (size > 0) != (root is not None) or not (root is None or (isinstance(root, bytes) and len(root) == 32)):
        raise DecodeError(f"{shown('/'.join(parts))} has no root of its pieces, or is empty and has one")
    return TorrentFile(parts, size, root if isinstance(root, bytes) else None)


def _check_hybrid(
    first: tuple[TorrentFile, ...], spans: tuple[tuple[int, int], ...], second: tuple[TorrentFile, ...], piece: int
) -> None:
    """Both versions must have the same files, each beginning with a piece. Raises DecodeError."""
    if [(file.parts, file.size) for file in first] != [(file.parts, file.size) for file in second]:
        raise DecodeError("versions 1 and 2 of the torrent do not have the same files")
    at = 0
    for index, size in spans:
        if index != _PAD and size and at % piece:
            raise DecodeError("a file of version 1 does not begin with a piece, as it does in version 2")
        at += size


def _layers(torrent: Torrent, layers: object) -> dict[bytes, bytes]:
    """Reads the piece layers: those of every file of more than one piece, and no others. Raises DecodeError."""
    if not isinstance(layers, dict):
        raise DecodeError("the torrent has no piece layers")
    pad = bytes(32)
    for _ in range((torrent.piece_bytes // LEAF_BYTES - 1).bit_length()):
        pad = hashlib.sha256(pad + pad).digest()
    needed = {file.root: file.size for file in torrent.files if file.root is not None and file.size > torrent.piece_bytes}
    if set(layers) != set(needed):
        raise DecodeError("the piece layers are not those of the files")
    for root, size in needed.items():
        layer = layers[root]
        if not isinstance(layer, bytes) or len(layer) != 32 * -(-size // torrent.piece_bytes):
            raise DecodeError("a piece layer is not one hash for each piece")
        if root_of([layer[at : at + 32] for at in range(0, len(layer), 32)], pad) != root:
            raise DecodeError("a piece layer does not lead to the root of its file")
    return layers


def _check_attributes(entry: dict[Any, Any]) -> bool:
    """Tells whether it is padding. Raises UnsafeName for a symbolic link, DecodeError."""
    attributes = entry.get(b"attr", b"")
    if not isinstance(attributes, bytes):
        raise DecodeError("the attributes of a file are no text")
    if b"l" in attributes or b"symlink path" in entry:
        raise UnsafeName("the torrent has a symbolic link in it; none is made for a torrent")
    return b"p" in attributes


def _text(value: object, what: str) -> str:
    if not isinstance(value, bytes):
        raise DecodeError(f"{what} in a torrent is no text")
    try:
        return value.decode()
    except UnicodeDecodeError as problem:
        raise UnsafeName(f"{what} {shown(value)} in a torrent is not UTF-8") from problem


def _number(value: object, what: str, most: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise DecodeError(f"{what} in a torrent is no number of bytes")
    if value > most:
        raise LimitExceeded(f"{what} in a torrent is {value:,} bytes")
    return value
