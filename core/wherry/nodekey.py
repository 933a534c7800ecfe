"""The key of a node, and the peer id that is its name among peers (specs/0004 §6).

A peer id is the text that libp2p uses: the public half of an Ed25519 key as a protobuf message, in an identity multihash, in
base58btc. It always has 52 characters and begins with 12D3Koo.
https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

from wherry.errors import DataError, StoreError, local_error

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
PEER_ID_CHARS: Final = 52

_HEAD: Final = bytes((0x00, 0x24, 0x08, 0x01, 0x12, 0x20))  # identity multihash of 36 bytes: key type 1, 32 bytes of key
_DIGITS: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_FILE: Final = "node.key"


class NodeKey:
    """An Ed25519 key. Safe for threads. Its secret half leaves it as ``seed`` alone, for a certificate to be made of it."""

    __slots__ = ("_signing", "peer_id", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        """Takes the 32 bytes that the key is made of."""
        from nacl.signing import SigningKey  # costs a start 15 ms that needs no key

        self._signing = SigningKey(seed)
        self.seed = seed
        self.public = bytes(self._signing.verify_key)
        self.peer_id = peer_id_of(self.public)

    @classmethod
    def load(cls, home: Path) -> NodeKey:
        """Gives the key of the node whose home this is; makes it if there is none. Raises StoreError, LocalError.

        A file that others may read is refused: whoever read it can pass for this node.
        """
        path = home / _FILE
        try:
            fd = _made(path)
            try:
                found = os.fstat(fd)
                seed = os.read(fd, KEY_BYTES + 1)
            finally:
                os.close(fd)
        except OSError as problem:
            raise local_error(problem, "cannot read the key of this node", str(path)) from problem
        if found.st_mode & 0o077:
            raise StoreError(f"others may read {path}, the key of this node", hint=f"chmod 600 {path}")
        if len(seed) != KEY_BYTES:
            raise StoreError(
                f"{path} is no key of a node", hint="remove it: a new one is made, and peers then know this node anew"
            )
        return cls(seed)

    def sign(self, data: bytes) -> bytes:
        """Gives the signature of ``data``, 64 bytes."""
        return bytes(self._signing.sign(data).signature)

    def __repr__(self) -> str:
        return f"NodeKey({self.peer_id})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled: it would leave its file")


def _made(path: Path) -> int:
    """Opens the key file; makes it first if there is none, whole or not at all, whoever else does the same just now."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    aside = path.with_name(f".{_FILE}.{secrets.token_hex(8)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secrets.token_bytes(KEY_BYTES))
        os.fsync(fd)
        os.link(aside, path)
    except FileExistsError:
        pass  # another process was first: its key is the node's
    finally:
        os.close(fd)
        os.unlink(aside)
    return os.open(path, flags)


def verify(peer_id: str, data: bytes, signature: bytes) -> bool:
    """Tells whether ``signature`` of ``data`` was made by the node ``peer_id``. False for what is no peer id, too."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(public_of(peer_id)).verify(data, signature)
    except (BadSignatureError, DataError):
        return False
    return True


def peer_id_of(public: bytes) -> str:
    """Gives the peer id of a public key (32 bytes)."""
    value = int.from_bytes(_HEAD + public, "big")
    digits = []
    while value:
        value, digit = divmod(value, 58)
        digits.append(_DIGITS[digit])
    return "1" + "".join(reversed(digits))  # the leading zero byte is a digit of its own


def public_of(peer_id: str) -> bytes:
    """Gives the public key (32 bytes) that a peer id names. Raises DataError for anything but what `peer_id_of` writes."""
    if len(peer_id) != PEER_ID_CHARS or peer_id[0] != "1":
        raise DataError(f"{peer_id[: PEER_ID_CHARS + 1]!a} is no peer id", hint="it looks like 12D3Koo..., 52 characters")
    value = 0
    for digit in peer_id[1:]:
        place = _DIGITS.find(digit)
        if place < 0:
            raise DataError(f"peer id {peer_id!a}: {digit!a} is no base58 digit", hint="copy it again, in full")
        value = value * 58 + place
    size = len(_HEAD) + KEY_BYTES
    data = value.to_bytes(size, "big") if value < 1 << 8 * size else b""
    if data[: len(_HEAD)] != _HEAD:
        raise DataError(f"{peer_id!a} is not the id of an Ed25519 key", hint="other kinds of key are not taken")
    return data[len(_HEAD) :]
