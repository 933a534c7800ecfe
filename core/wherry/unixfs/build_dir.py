"""Builds UnixFS directories from entries in any order (specs/0031 §5): one block, or beyond 256 KiB of links a HAMT.

A HAMT spreads entries over 256 buckets by the first byte of a hash of their names; a bucket of several entries is a shard of
its own, by the next byte. Entries of a large directory come in the order of names and are needed in the order of hashes, so
they are kept by the first byte, packed where they are many, and written to a file without a name once they take more than
8 MiB: a directory of a million entries takes no more memory than that and one bucket.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.cid import DAG_PB, PREFIX
from wherry.dagpb import Linked, encode_links, encode_links_of, join
from wherry.errors import LimitExceeded, NoSpace
from wherry.units import KiB, MiB
from wherry.unixfs.build import NO_ATTRIBUTES, V1_2025, Attributes, Child, Profile, made
from wherry.unixfs.data import DIRECTORY, HAMT_SHARD, Data, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import IO

    from wherry.dagpb import HasBlocks
    from wherry.unixfs.build import Emit

SPLIT_BYTES: Final = 256 * KiB  # a directory of more is a HAMT; of exactly so many it is one block
FANOUT: Final = 256
MURMUR3: Final = 0x22  # murmur3-x64-64: the first half of the hash of 128 bits
_HASH_BYTES: Final = 8
_FLAT_MAX: Final = SPLIT_BYTES // 44 + 1  # entries: a link takes so many bytes at the least
_MEMORY_MAX: Final = 8 * MiB  # of packed entries
_PACKED: Final = Struct(">8sQHB")  # hash, tsize, lengths of the name and of the CID
_NAME_BYTES_MAX: Final = 0xFFFF
_LOOSE_MAX: Final = 8192  # entries that are not packed: some 2 MB
_DIGITS: Final = [b"%02X" % bucket for bucket in range(FANOUT)]
_BITS: Final = [1 << bucket for bucket in range(FANOUT)]
_HEAD: Final = PREFIX[DAG_PB]
_PLAIN: Final = join((), encode(Data(DIRECTORY)))  # a directory without attributes, behind its links


_Hashed: TypeAlias = tuple[bytes, bytes, bytes, int]  # hash, name, CID, tsize


class DirBuilder:
    """Takes the entries of one directory, each name once; gives the link to it."""

    def __init__(self, emit: Emit, profile: Profile = V1_2025, attributes: Attributes = NO_ATTRIBUTES) -> None:
        self._emit = emit
        self._profile = profile
        self._attributes = attributes
        self._held: list[tuple[bytes, bytes, int]] = []  # name, CID, tsize
        self._large: _Spread | None = None

    def add(self, name: bytes, child: Child) -> None:
        """Takes one entry. Raises NoSpace; LimitExceeded for a name of more than 64 KiB in a huge directory."""
        self.put(name, child.cid, child.tsize)

    def put(self, name: bytes, cid: bytes, tsize: int) -> None:
        """As `add`: what a link holds, and nothing else."""
        held = self._held
        held.append((name, cid, tsize))
        if len(held) > _FLAT_MAX:
            self._spread()

    def put_many(self, entries: Iterable[tuple[bytes, bytes, int]]) -> None:
        """As `put`, for many entries at a time."""
        held = self._held
        held += entries
        if len(held) > _FLAT_MAX:
            self._spread()

    def _spread(self) -> None:
        """Gives on what would not fit into one block."""
        if self._large is None:
            self._large = _Spread()
        self._large.add(self._held)
        self._held.clear()

    def finish(self) -> Child:
        """Gives the link to the directory. Raises LimitExceeded where the hashes of two names are the same."""
        if self._large is None:
            flat = self._flat()
            if flat is not None:
                return flat
            self._large = _Spread()
        self._large.add(self._held)
        self._held = []
        try:
            return self._root(self._large)
        finally:
            self._large.close()

    def _flat(self) -> Child | None:
        """Gives the directory as one block, if it is small enough for that."""
        held = self._held
        held.sort()
        links, below = encode_links(held), sum([tsize for _, _, tsize in held])
        mode, mtime = self._attributes
        data = join(links, encode(Data(DIRECTORY, mode=mode, mtime=mtime)))
        measured = len(data) if self._profile.whole_block else sum([len(name) + len(cid) for name, cid, _ in held])
        if measured > SPLIT_BYTES:
            return None
        return made(self._profile, data, below, self._emit)

    def _root(self, spread: _Spread) -> Child:
        links: list[tuple[bytes, bytes, int]] = []
        below = bits = 0
        for bucket in range(FANOUT):
            entries = spread.bucket(bucket)
            if entries:
                links.append(self._bucket(bucket, entries, 1))
                below += links[-1][2]
                bits |= _BITS[bucket]
        return self._node(links, below, bits, self._attributes)

    def _bucket(self, bucket: int, entries: list[_Hashed], level: int) -> tuple[bytes, bytes, int]:
        """Gives the link to what fell into one bucket: an entry, or a shard of several."""
        if len(entries) == 1:
            _, name, cid, tsize = entries[0]
            return _DIGITS[bucket] + name, cid, tsize
        shard = self._shard(entries, level)
        return _DIGITS[bucket], shard.cid, shard.tsize

    def _shard(self, entries: list[_Hashed], level: int) -> Child:
        """Makes a shard of entries that are sorted by their hashes, and agree in its first ``level`` bytes."""
        if level == _HASH_BYTES:
            names = ", ".join(repr(entry[1]) for entry in entries[:2])
            raise LimitExceeded(f"a sharded directory cannot hold {names} side by side: their hashes are the same")
        buckets = [entry[0][level] for entry in entries]
        links: list[tuple[bytes, bytes, int]] = []
        below = bits = start = 0
        count = len(entries)
        while start < count:
            bucket = buckets[start]
            end = start + 1
            if end < count and buckets[end] == bucket:
                end = bisect_right(buckets, bucket, end)
                links.append(self._bucket(bucket, entries[start:end], level + 1))
            else:  # as `_bucket` does it, for the many
                _, name, cid, tsize = entries[start]
                links.append((_DIGITS[bucket] + name, cid, tsize))
            below += links[-1][2]
            bits |= _BITS[bucket]
            start = end
        return self._node(links, below, bits, NO_ATTRIBUTES)

    def _node(self, links: list[tuple[bytes, bytes, int]], below: int, bits: int, attributes: Attributes) -> Child:
        # As running code writes it: a number, its highest byte first, without zeros before it.
        field = bits.to_bytes((bits.bit_length() + 7) // 8, "big")
        mode, mtime = attributes
        inner = encode(Data(HAMT_SHARD, field, hash_type=MURMUR3, fanout=FANOUT, mode=mode, mtime=mtime))
        return made(self._profile, join(encode_links(links), inner), below, self._emit)


def one_block(
    names: list[bytes], linked: Sequence[HasBlocks], below: int, emit: Callable[[bytes, bytes], None]
) -> Linked | None:
    """Makes a directory of the profile unixfs-v1-2025, whose entries are sorted by name and have ``below`` bytes of blocks.

    ``emit`` takes its binary CID and its bytes. Gives None, and emits nothing, where it is too large for one block or has a
    long name: then `DirBuilder` is needed. Trees of small files cost mostly this, so it makes no object that is not needed.
    """
    links = encode_links_of(names, linked)
    if links is None:
        return None
    links.append(_PLAIN)
    data = b"".join(links)
    if len(data) > SPLIT_BYTES:
        return None
    cid = _HEAD + sha256(data).digest()
    emit(cid, data)
    return Linked(cid, len(data) + below)


class _Spread:
    """Entries of a large directory by the first byte of their hashes; where they are many, packed, and in a file."""

    def __init__(self) -> None:
        self._hash = _hasher()
        self._loose: list[list[_Hashed]] = [[] for _ in range(FANOUT)]
        self._loosely = 0  # entries there
        self._packed = [bytearray() for _ in range(FANOUT)]
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._at = 0
        self._spans: list[list[tuple[int, int]]] = [[] for _ in range(FANOUT)]  # where what lies in the file

    def add(self, entries: list[tuple[bytes, bytes, int]]) -> None:
        hashed, loose = self._hash, self._loose
        for name, cid, tsize in entries:
            digest = hashed(name)
            loose[digest[0]].append((digest, name, cid, tsize))
        self._loosely += len(entries)
        if self._loosely > _LOOSE_MAX:
            self._pack()

    def _pack(self) -> None:
        """Puts what is loose into a quarter of its memory, and that into the file once it is too much."""
        for into, loose in zip(self._packed, self._loose, strict=True):
            for digest, name, cid, tsize in loose:
                if len(name) > _NAME_BYTES_MAX:
                    raise LimitExceeded(f"a name of {len(name)} bytes")
                packed = _PACKED.pack(digest, tsize, len(name), len(cid))
                into += packed
                into += name
                into += cid
                self._bytes += len(packed) + len(name) + len(cid)
            loose.clear()
        self._loosely = 0
        if self._bytes > _MEMORY_MAX:
            self._spill()

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="wherry-directory-")  # noqa: SIM115 - closed by `close`
            for bucket, packed in enumerate(self._packed):
                if packed:
                    self._file.write(packed)
                    self._spans[bucket].append((self._at, len(packed)))
                    self._at += len(packed)
                    packed.clear()
        except OSError as problem:
            hint = "free some space there, or set TMPDIR to a place that has it"
            raise NoSpace(
                f"a large directory does not fit into {tempfile.gettempdir()!r}: {problem.strerror}", hint=hint
            ) from problem
        self._bytes = 0

    def bucket(self, number: int) -> list[_Hashed]:
        """Gives what fell into one bucket, sorted by hash."""
        found = self._loose[number]
        self._loose[number] = []
        packed = b"".join([*self._read(number), bytes(self._packed[number])])
        at = 0
        while at < len(packed):
            digest, tsize, name_bytes, cid_bytes = _PACKED.unpack_from(packed, at)
            at += _PACKED.size
            found.append((digest, packed[at : at + name_bytes], packed[at + name_bytes : at + name_bytes + cid_bytes], tsize))
            at += name_bytes + cid_bytes
        found.sort()
        return found

    def _read(self, number: int) -> Iterator[bytes]:
        if self._file is not None:
            for start, length in self._spans[number]:
                self._file.seek(start)
                yield self._file.read(length)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _hasher() -> Callable[[bytes], bytes]:
    import mmh3  # few directories are so large

    digest = mmh3.mmh3_x64_128_digest

    def hashed(name: bytes) -> bytes:
        return digest(name, 0)[7::-1]  # the first of two numbers, which lie with their lowest byte first

    return hashed
