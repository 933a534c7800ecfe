"""Makes the metainfo of a torrent from files that come in order, byte for byte (specs/0036). Pure; a piece is held, no more.

Version 2 (BEP 52): a Merkle tree of SHA-256 over 16 KiB for each file. Hybrid: version 1 beside it (BEP 3), whose files
are made to begin with a piece by files of padding (BEP 47), so that both versions have the same pieces. Version 1 alone has
no padding: old clients take it for files.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from wherry.errors import LimitExceeded, UsageError
from wherry.limits import TORRENT_BYTES_MAX
from wherry.torrent.bencode import encode
from wherry.units import KiB, MiB, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAF_BYTES: Final = 16 * KiB  # BEP 52
PIECE_BYTES: Final = 1 * MiB  # as wherry's leaves
PIECE_BYTES_MAX: Final = 256 * MiB  # libtorrent refuses 512 MiB
PIECES_MAX: Final = 4_000_000  # of all files: 128 MB of hashes, clients give up long before
_ZERO: Final = bytes(32)


def root_of(hashes: Sequence[bytes], pad: bytes = _ZERO) -> bytes:
    """Gives the root of a Merkle tree of SHA-256 over ``hashes``, filled up with ``pad`` to a power of two (BEP 52)."""
    level = list(hashes)
    while len(level) > 1:
        if len(level) % 2:
            level.append(pad)
        level = [hashlib.sha256(level[at] + level[at + 1]).digest() for at in range(0, len(level), 2)]
        pad = hashlib.sha256(pad + pad).digest()
    return level[0]


class FileHash:
    """The hash of one file of version 2: its leaves become pieces, and its pieces a root."""

    def __init__(self, parts: tuple[str, ...], piece_bytes: int) -> None:
        self.parts = parts
        self.size = 0
        self._per_piece = piece_bytes // LEAF_BYTES
        self._leaves: list[bytes] = []  # of the piece that has begun
        self.layer: list[bytes] = []  # roots of whole pieces
        self._held = bytearray()

    def update(self, data: bytes | memoryview) -> None:
        """Takes the next bytes."""
        self.size += len(data)
        self._held += data
        whole = len(self._held) // LEAF_BYTES * LEAF_BYTES
        with memoryview(self._held) as view:
            for start in range(0, whole, LEAF_BYTES):
                self._leaf(view[start : start + LEAF_BYTES])
        del self._held[:whole]

    def _leaf(self, data: bytes | memoryview | bytearray) -> None:
        self._leaves.append(hashlib.sha256(data).digest())
        if len(self._leaves) == self._per_piece:
            self.layer.append(root_of(self._leaves))
            self._leaves = []

    def root(self) -> bytes:
        """Gives the root, when all of the file has come."""
        if self._held:
            self._leaf(bytes(self._held))
            self._held.clear()
        if not self.layer or (len(self.layer) == 1 and not self._leaves):  # one piece: no more of the tree than there is
            return self.layer[0] if self.layer else root_of(self._leaves)
        if self._leaves:
            self.layer.append(root_of([*self._leaves, *[_ZERO] * (self._per_piece - len(self._leaves))]))
            self._leaves = []
        pad = _ZERO
        for _ in range((self._per_piece - 1).bit_length()):
            pad = hashlib.sha256(pad + pad).digest()
        return root_of(self.layer, pad)


class Metainfo:
    """Takes files in the order of their paths' bytes; gives the torrent."""

    def __init__(self, name: str, *, piece_bytes: int = PIECE_BYTES, hybrid: bool = True, v1_only: bool = False) -> None:
        """``name`` is what clients call the file or folder: one part of a path. ``v1_only`` goes before ``hybrid``.

        Raises UsageError for a length that no piece has, and for a name that clients would change.
        """
        if not LEAF_BYTES <= piece_bytes <= PIECE_BYTES_MAX or piece_bytes & (piece_bytes - 1):
            raise UsageError(f"pieces of {piece_bytes} bytes", hint="a power of two, from 16 KiB to 256 MiB")
        if not name or "/" in name or name in {".", ".."}:
            raise UsageError(f"{name!r} is no name of a torrent", hint="one part of a path")
        self._name, self._piece_bytes = name, piece_bytes
        self._v1_wanted, self._v2_wanted = hybrid or v1_only, not v1_only
        self._tree: dict[str, Any] = {}
        self._layers: dict[bytes, bytes] = {}
        self._files: list[FileHash] = []
        self._kept = 0  # pieces of files that have ended
        self._v1 = hashlib.sha1(usedforsecurity=False)
        self._v1_held = 0  # bytes in it
        self._v1_pieces: list[bytes] = []

    @property
    def files(self) -> int:
        """Files so far."""
        return len(self._files)

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """Of each file so far, the parts of its path, that of the torrent first."""
        return [(self._name, *file.parts) for file in self._files]

    def expect(self, size: int) -> None:
        """Hears how many bytes will come, about. Raises LimitExceeded for so many that no client would read the torrent."""
        each = 32 * self._v2_wanted + 20 * self._v1_wanted
        if -(-size // self._piece_bytes) * each <= TORRENT_BYTES_MAX:
            return
        piece = self._piece_bytes
        while -(-size // piece) * each > TORRENT_BYTES_MAX:
            piece *= 2
        fits = piece <= PIECE_BYTES_MAX
        raise LimitExceeded(
            f"with pieces of {format_size(self._piece_bytes)} the torrent would have more than "
            f"{format_size(TORRENT_BYTES_MAX)} of hashes, which clients do not read",
            hint=f"take longer pieces: --piece {piece // MiB or 1}MiB" if fits else "make a torrent of each part: CID/PATH",
        )

    def begin(self, parts: tuple[str, ...]) -> None:
        """Begins a file; ``parts`` of its path, () where the whole is one file."""
        if self._v1_wanted and self._v2_wanted and self._files:
            self._pad()
        self._files.append(FileHash(parts, self._piece_bytes))

    def update(self, data: bytes | memoryview) -> None:
        """Takes the next bytes of the file. Raises LimitExceeded."""
        file = self._files[-1]
        if self._v2_wanted:
            file.update(data)
        else:
            file.size += len(data)
        if self._v1_wanted:
            self._hash_v1(data)
        if max(self._kept + len(file.layer), len(self._v1_pieces)) > PIECES_MAX:
            raise LimitExceeded("a torrent of so many pieces is of no use", hint="take longer pieces: --piece")

    def end(self) -> None:
        """Ends the file."""
        file = self._files[-1]
        if not self._v2_wanted:
            return
        entry: dict[str, Any] = {"length": file.size}
        if file.size:
            root = file.root()
            entry["pieces root"] = root
            if file.size > self._piece_bytes:
                self._layers[root] = b"".join(file.layer)
        place = self._tree
        for part in file.parts[:-1]:
            place = place.setdefault(part, {})
        place[file.parts[-1] if file.parts else self._name] = {"": entry}
        self._kept += len(file.layer)
        file.layer = []

    def finish(self, *, trackers: Sequence[str] = (), webseeds: Sequence[str] = ()) -> bytes:
        """Gives the torrent. Raises UsageError if there was no file, or no byte in any: no client takes such a torrent."""
        if not any(file.size for file in self._files):
            what = "byte" if self._files else "file"
            raise UsageError(f"there is no {what} in it, so there is no torrent of it")
        info: dict[str, Any] = {"name": self._name, "piece length": self._piece_bytes}
        whole: dict[str, Any] = {"info": info, "created by": "wherry"}
        if self._v2_wanted:
            info |= {"file tree": self._tree, "meta version": 2}
            whole["piece layers"] = self._layers
        if self._v1_wanted:
            info |= self._version_1()
        if trackers:
            whole |= {"announce": trackers[0], "announce-list": [[tracker] for tracker in trackers]}
        if webseeds:
            whole["url-list"] = list(webseeds)
        return encode(whole)

    def _version_1(self) -> dict[str, Any]:
        if self._files[0].parts and self._v2_wanted:
            self._pad()  # the last one too, as libtorrent does
        pieces = [*self._v1_pieces, *([self._v1.digest()] if self._v1_held else [])]
        found: dict[str, Any] = {"pieces": b"".join(pieces)}
        if not self._files[0].parts:
            return {**found, "length": self._files[0].size}
        listed: list[dict[str, Any]] = []
        for file in self._files:
            listed.append({"length": file.size, "path": list(file.parts)})
            gap = -file.size % self._piece_bytes
            if gap and self._v2_wanted:
                listed.append({"attr": "p", "length": gap, "path": [".pad", str(gap)]})
        return {**found, "files": listed}

    def _pad(self) -> None:
        while self._v1_held:
            self._hash_v1(bytes(min(MiB, self._piece_bytes - self._v1_held)))

    def _hash_v1(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            some = view[: self._piece_bytes - self._v1_held]
            self._v1.update(some)
            self._v1_held += len(some)
            view = view[len(some) :]
            if self._v1_held == self._piece_bytes:
                self._v1_pieces.append(self._v1.digest())
                self._v1, self._v1_held = hashlib.sha1(usedforsecurity=False), 0
