"""Sealed blocks: leaves and manifest nodes under keys that their parents list (specs/0016 §3-5).

A block's key lies in the sealed node above it, so whoever has the key of a root can open all below it, and nothing else of
the same key domain. In the mode "domain" a key is a keyed hash of the plain bytes: equal bytes are sealed equally, and can be
sealed again at any time. In the mode "random" each file and each node has a fresh key, and nothing is ever equal.
"""

from __future__ import annotations

import hmac
import threading
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from wherry import dagcbor
from wherry.block import Block, named
from wherry.cid import DAG_CBOR
from wherry.errors import DecodeError, IntegrityError, UsageError
from wherry.limits import LEAF_BYTES_MAX, NODE_BYTES_MAX

if TYPE_CHECKING:
    from wherry.abc.cipher import Cipher
    from wherry.cid import Bytes
    from wherry.coding import Codings

LEAF_PLAIN_MAX: Final = LEAF_BYTES_MAX // 2  # with tag and padding a leaf must stay within LEAF_BYTES_MAX
_FORMAT: Final = b"wherry sealed/1 "
_LENGTH_BYTES: Final = 4  # before a node's bytes
_PLAIN, _CODED = b"\0", b"\1"  # before a leaf's bytes, where leaves are coded before they are sealed

Mode = Literal["domain", "random"]
Pad = Literal["none", "padme"]


class Scheme(NamedTuple):
    """How the blocks of one dataset are sealed. ``coding`` is "" unless leaves are compressed before they are sealed."""

    cipher: str
    mode: Mode = "domain"
    pad: Pad = "none"
    coding: str = ""

    @property
    def name(self) -> str:
        """Its text in records of this node: ``xchacha20poly1305/domain/none/``."""
        return "/".join(self)

    @classmethod
    def parse(cls, text: str) -> Scheme:
        """Reads `name`. Raises DecodeError."""
        parts = text.split("/")
        if len(parts) != 4 or parts[1] not in ("domain", "random") or parts[2] not in ("none", "padme"):
            raise DecodeError(f"{text[:80]!r} is no scheme of encryption")
        return cls(parts[0], cast("Mode", parts[1]), cast("Pad", parts[2]), parts[3])


def padded(size: int, pad: Pad) -> int:
    """Gives the length that ``size`` bytes are padded to: at most 12 % more, so that few lengths are told apart.

    Source: PADME, Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019, §4.
    """
    if pad == "none" or size < 2:
        return size
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """Derives up to 64 bytes from a uniformly random ``key``: HKDF-Expand with SHA-256 (RFC 5869 §2.3)."""
    first = hmac.digest(key, info + b"\1", "sha256")
    return first[:length] if length <= len(first) else (first + hmac.digest(key, first + info + b"\2", "sha256"))[:length]


class _Scratch(threading.local):
    """Memory of one thread, used again for each block."""

    def __init__(self) -> None:
        self._memory = [bytearray(), bytearray()]

    def take(self, which: int, size: int) -> memoryview:
        if len(self._memory[which]) < size:
            self._memory[which] = bytearray(max(size, 1 << 16))
        return memoryview(self._memory[which])[:size]


class Sealing:
    """Seals and opens blocks by one scheme. Thread-safe; what it gives is valid until the same thread's next call."""

    def __init__(self, scheme: Scheme, cipher: Cipher, codings: Codings | None = None) -> None:
        self.scheme = scheme
        self._cipher = cipher
        self._codings = codings
        self._scratch = _Scratch()

    # Leaves

    def wire_size(self, size: int, key: bytes = b"") -> int | None:
        """Tells how long the block of a leaf of ``size`` plain bytes is; None where coding makes that unknown."""
        del key
        return None if self.scheme.coding else padded(size, self.scheme.pad) + self._cipher.tag_bytes

    def prepared(self, plain: Bytes) -> Bytes:
        """Gives what of a leaf is sealed, but for padding: its plain bytes, or where leaves are coded a flag and the bytes."""
        if not self.scheme.coding:
            return plain
        coded = self._codings.encode(plain, name=self.scheme.coding) if self._codings is not None else None
        return _PLAIN + bytes(plain) if coded is None else _CODED + coded[1]

    def seal_leaf(self, plain: Bytes, key: bytes, offset: int, *, final: bool) -> memoryview:
        """Seals the leaf that lies at ``offset`` of its file; ``final``: it is the file's last."""
        return self.seal_prepared(self.prepared(plain), key, offset, final=final)

    def seal_prepared(self, plain: Bytes, key: bytes, offset: int, *, final: bool) -> memoryview:
        """Seals what `prepared` gave."""
        size = padded(len(plain), self.scheme.pad)
        if size != len(plain):
            room = self._scratch.take(1, size)
            room[: len(plain)] = plain
            room[len(plain) :] = bytes(size - len(plain))
            plain = room
        out = self._scratch.take(0, size + self._cipher.tag_bytes)
        aead_key, nonce = self._leaf_key(key, offset, final=final)
        self._cipher.seal_into(plain, out, key=aead_key, nonce=nonce, aad=_FORMAT + b"leaf")
        return out

    def open_leaf(self, sealed: Bytes, key: bytes, offset: int, size: int, *, final: bool) -> memoryview:
        """Opens a verified block as the leaf of ``size`` plain bytes at ``offset``. Raises IntegrityError."""
        length = len(sealed) - self._cipher.tag_bytes
        wire = self.wire_size(size)
        if length < 0 or (wire is not None and wire != len(sealed)):
            raise IntegrityError(f"a sealed leaf of {len(sealed)} bytes cannot hold the {size} that its manifest lists")
        out = self._scratch.take(0, length)
        aead_key, nonce = self._leaf_key(key, offset, final=final)
        self._cipher.open_into(sealed, out, key=aead_key, nonce=nonce, aad=_FORMAT + b"leaf")
        if self.scheme.coding:
            return self._decoded(out, size)
        if bytes(out[size:]).strip(b"\0"):
            raise IntegrityError("a sealed leaf is longer than its manifest lists")
        return out[:size]

    def _decoded(self, opened: memoryview, size: int) -> memoryview:
        flag, rest = bytes(opened[:1]), opened[1:]
        if flag == _PLAIN:
            if len(rest) < size or bytes(rest[size:]).strip(b"\0"):
                raise IntegrityError("a sealed leaf has another length than its manifest lists")
            return rest[:size]
        if flag != _CODED or self._codings is None or self.scheme.pad != "none":
            raise IntegrityError("a sealed leaf holds what no wherry seals")
        out = self._scratch.take(1, size)
        try:
            self._codings.decode_into(self.scheme.coding, rest, out)
        except DecodeError as problem:
            raise IntegrityError(f"a sealed leaf does not decode: {problem.message}") from problem
        return out

    def _leaf_key(self, key: bytes, offset: int, *, final: bool) -> tuple[bytes, bytes]:
        """Gives the cipher's key and nonce. In the mode "random" one key serves a whole file, and the nonce is the place."""
        length, info = self._cipher.nonce_bytes, self._info(b"leaf")
        if self.scheme.mode == "random":
            place = offset.to_bytes(8, "big") + bytes([0, final])
            return expand(key, info, self._cipher.key_bytes), place + bytes(length - len(place))
        both = expand(key, info, self._cipher.key_bytes + length)
        return both[: self._cipher.key_bytes], both[self._cipher.key_bytes :]

    def _info(self, kind: bytes) -> bytes:
        # All of the scheme: the same key must never meet the same nonce with bytes that were padded or coded otherwise.
        return _FORMAT + kind + b" " + self.scheme.name.encode()

    # Manifest nodes

    def seal_node(self, node: Block, key: bytes) -> Block:
        """Seals a manifest node: a DAG-CBOR block that is one byte string, so that every tool can take it for what it is."""
        length = _LENGTH_BYTES + len(node.data)
        plain = len(node.data).to_bytes(_LENGTH_BYTES, "big") + node.data + bytes(padded(length, self.scheme.pad) - length)
        out = self._scratch.take(0, len(plain) + self._cipher.tag_bytes)
        aead_key, nonce = self._node_key(key)
        self._cipher.seal_into(plain, out, key=aead_key, nonce=nonce, aad=_FORMAT + b"node")
        return named(DAG_CBOR, dagcbor.encode(bytes(out)))

    def open_node(self, block: Block, key: bytes) -> Block:
        """Opens a verified block; what is given is named by the sealed block's CID. Raises DecodeError, IntegrityError."""
        sealed = dagcbor.decode(block.data)
        if not isinstance(sealed, bytes) or len(sealed) < self._cipher.tag_bytes + _LENGTH_BYTES:
            raise DecodeError(f"block {block.cid} is no sealed manifest node")
        out = self._scratch.take(0, len(sealed) - self._cipher.tag_bytes)
        aead_key, nonce = self._node_key(key)
        self._cipher.open_into(sealed, out, key=aead_key, nonce=nonce, aad=_FORMAT + b"node")
        length = int.from_bytes(out[:_LENGTH_BYTES], "big")
        data = bytes(out[_LENGTH_BYTES : _LENGTH_BYTES + length])
        if length > NODE_BYTES_MAX or len(data) != length or bytes(out[_LENGTH_BYTES + length :]).strip(b"\0"):
            raise IntegrityError(f"sealed node {block.cid} has another length than it says")
        return Block(block.cid, data)

    def _node_key(self, key: bytes) -> tuple[bytes, bytes]:
        # Each node has a key of its own in both modes, so its nonce can come from the key.
        both = expand(key, self._info(b"node"), self._cipher.key_bytes + self._cipher.nonce_bytes)
        return both[: self._cipher.key_bytes], both[self._cipher.key_bytes :]


def check_leaf_bytes(leaf_bytes_max: int) -> None:
    """Raises UsageError for leaves that are too large to be sealed within the limit of a block."""
    if leaf_bytes_max > LEAF_PLAIN_MAX:
        raise UsageError(
            f"encrypted datasets have leaves of at most {LEAF_PLAIN_MAX >> 20} MiB", hint="choose --chunker fixed:1MiB"
        )
