"""What a key file says: the keys of a domain, an identity, or somebody's public half (specs/0021 §3).

One form serves the file in the home and the export that travels: a canonical DAG-CBOR map with a checksum, as armored text.
Secrets stand in it plain, or locked by a passphrase. What is public stands in it plain either way, so that a locked key can
be listed and its recipient text given without its passphrase.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, NoReturn, TypeAlias, TypeGuard, cast

from wherry import dagcbor
from wherry.errors import DecodeError, KeyProblem, LimitExceeded, UsageError
from wherry.limits import KEY_FILE_BYTES_MAX, KEY_GENERATIONS_MAX
from wherry.sealing.identity import RECIPIENT_BYTES, Identity, Recipient
from wherry.sealing.passphrase import MODERATE, Cost, Locked, lock, unlock, wrong

if TYPE_CHECKING:
    from typing import Self

    from wherry.dagcbor import Value

KEY_BYTES: Final = 32
ID_BYTES: Final = 8

_BEGIN: Final = "-----BEGIN WHERRY KEY-----"
_END: Final = "-----END WHERRY KEY-----"
_LINE_CHARS: Final = 64
_CHECK_BYTES: Final = 8
_FORMAT: Final = "key/1"
_TIME_MAX: Final = 1 << 53  # what every JSON reader keeps whole
_COPY_HINT: Final = "export the key again, and copy all of it"

Kind = Literal["domain", "identity", "recipient"]


@dataclass(frozen=True, slots=True)
class WrapKey:
    """One generation of a domain's wrapping keys. ``made``: seconds since 1970."""

    id: bytes
    key: bytes = field(repr=False)
    made: int

    @classmethod
    def of(cls, key: bytes, made: int) -> Self:
        """Makes the generation of ``key``. Its id is a hash of the key, so it cannot name another one."""
        return cls(hashlib.sha256(b"wherry wrap id/1" + key).digest()[:ID_BYTES], key, made)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled: it would leave its key file")


@dataclass(frozen=True, slots=True)
class DomainKey:
    """The keys of one domain. ``content`` (32 bytes) derives the keys of chunks, and stays when ``wraps`` are rotated."""

    name: str
    content: bytes = field(repr=False)
    wraps: tuple[WrapKey, ...]  # the newest first; headers are wrapped with that one

    @classmethod
    def make(cls, name: str, now: int) -> Self:
        """Makes a fresh one, of one generation."""
        return cls(name, secrets.token_bytes(KEY_BYTES), (WrapKey.of(secrets.token_bytes(KEY_BYTES), now),))

    def rotated(self, now: int) -> Self:
        """Gives the same domain with a new generation before the others. Raises UsageError if it has all it may have."""
        if len(self.wraps) >= KEY_GENERATIONS_MAX:
            raise UsageError(
                f"key {self.name!r} has {len(self.wraps)} generations, the most that are kept",
                hint="make another key with `wherry keys new`, and add the datasets again with that",
            )
        return replace(self, wraps=(WrapKey.of(secrets.token_bytes(KEY_BYTES), now), *self.wraps))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled: it would leave its key file")


Key: TypeAlias = DomainKey | Identity | Recipient


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One key file. ``secret`` and ``locked``: exactly one is there, but for a recipient, which has neither."""

    kind: Kind
    made: int  # seconds since 1970
    recipient: Recipient | None  # of an identity or a recipient
    generations: tuple[tuple[bytes, int], ...]  # of a domain: id and time of each, the newest first
    secret: bytes | None = field(default=None, repr=False)
    locked: Locked | None = field(default=None, repr=False)

    @classmethod
    def of(cls, key: Key, made: int) -> KeyFile:
        """Describes a key, unlocked."""
        if isinstance(key, DomainKey):
            generations = tuple((wrap.id, wrap.made) for wrap in key.wraps)
            return cls("domain", made, None, generations, key.content + b"".join(wrap.key for wrap in key.wraps))
        if isinstance(key, Identity):
            return cls("identity", made, key.recipient, (), key.secret_bytes())
        return cls("recipient", made, key, ())

    def lock(self, passphrase: bytes, cost: Cost = MODERATE) -> KeyFile:
        """Gives the same, locked. What is public is bound to it. A recipient has nothing to lock."""
        if self.secret is None:
            return self
        return replace(self, secret=None, locked=lock(self._digest() + self.secret, passphrase, cost))

    def unlock(self, passphrase: bytes) -> KeyFile:
        """Gives the same, unlocked. Raises KeyProblem, in the same words for a passphrase and for a lock that are wrong."""
        if self.locked is None:
            return self
        opened = unlock(self.locked, passphrase)
        if not hmac.compare_digest(opened[: hashlib.sha256().digest_size], self._digest()):
            raise wrong()
        return replace(self, secret=opened[hashlib.sha256().digest_size :], locked=None)

    def key(self, name: str) -> Key:
        """Gives the key, under ``name``. Raises KeyProblem if it is locked, DecodeError if its parts do not belong together."""
        if self.kind == "recipient" and self.recipient is not None:
            return self.recipient
        if self.secret is None:
            raise KeyProblem(f"key {name!r} is locked", hint="give its passphrase")
        if self.kind == "identity":
            identity = Identity(self.secret)
            if identity.recipient != self.recipient:
                raise DecodeError("key file: its secret and its public half are not a pair")
            return identity
        keys = [self.secret[at : at + KEY_BYTES] for at in range(0, len(self.secret), KEY_BYTES)]
        if len(self.secret) != KEY_BYTES * (1 + len(self.generations)):
            raise DecodeError("key file: it has another number of keys than it says")
        wraps = tuple(WrapKey.of(key, made) for key, (_, made) in zip(keys[1:], self.generations, strict=True))
        if [wrap.id for wrap in wraps] != [ident for ident, _ in self.generations]:
            raise DecodeError("key file: its keys are not those that it names")
        return DomainKey(name, keys[0], wraps)

    # Its form

    def encode(self) -> bytes:
        """Writes it as armored text."""
        value = self._public()
        if self.secret is not None:
            value["secret"] = self.secret
        if self.locked is not None:
            value["locked"] = self.locked.value()
        return _armored(dagcbor.encode(value))

    @classmethod
    def decode(cls, data: bytes) -> KeyFile:
        """Reads it, from anywhere. Raises DecodeError for anything but what `encode` writes, LimitExceeded."""
        value = dagcbor.decode(_unarmored(data))
        if not isinstance(value, dict) or value.get("wherry") != _FORMAT:
            raise DecodeError("key file: not of the form that this wherry reads", hint="a newer wherry may read it")
        kind, made, public = value.get("kind"), value.get("made"), value.get("public")
        if kind not in ("domain", "identity", "recipient") or not _is_time(made):
            raise DecodeError("key file: malformed", hint=_COPY_HINT)
        secret = value.get("secret")
        locked = Locked.read(value["locked"]) if "locked" in value else None
        holds = {"wherry", "kind", "made", "public"} | (value.keys() & {"secret", "locked"})
        if value.keys() != holds or len(holds) != (4 if kind == "recipient" else 5):
            raise DecodeError("key file: must hold a secret, plain or locked, and nothing else", hint=_COPY_HINT)
        if "secret" in value and not isinstance(secret, bytes):
            raise DecodeError("key file: malformed", hint=_COPY_HINT)
        generations = _generations(public) if kind == "domain" else ()
        recipient = _recipient(public) if kind != "domain" else None
        file = cls(cast("Kind", kind), made, recipient, generations, secret if isinstance(secret, bytes) else None, locked)
        if locked is None:
            file.key("")  # what is malformed is said now, not when it is used
        return file

    def _public(self) -> dict[str, object]:
        public = [list(each) for each in self.generations] if self.recipient is None else bytes(self.recipient)
        return {"wherry": _FORMAT, "kind": self.kind, "made": self.made, "public": public}

    def _digest(self) -> bytes:
        return hashlib.sha256(dagcbor.encode(self._public())).digest()


def _is_time(value: Value) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _TIME_MAX


def _generations(value: Value) -> tuple[tuple[bytes, int], ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= KEY_GENERATIONS_MAX:
        raise DecodeError("key file: its generations are malformed")
    found = []
    for each in value:
        match each:
            case [bytes(ident), int(made)] if len(ident) == ID_BYTES and _is_time(made):
                found.append((ident, made))
            case _:
                raise DecodeError("key file: its generations are malformed")
    return tuple(found)


def _recipient(value: Value) -> Recipient:
    if type(value) is not bytes or len(value) != RECIPIENT_BYTES:
        raise DecodeError("key file: its public half is malformed")
    return Recipient.from_bytes(value)


def unwrapped(text: bytes) -> bytes:
    """Takes away what mail and editors put around and into armored text: blank lines about it, and other line ends."""
    return text.replace(b"\r\n", b"\n").strip() + b"\n"


def _armored(data: bytes) -> bytes:
    digits = base64.b64encode(data + _checksum(data)).decode("ascii")
    lines = [digits[at : at + _LINE_CHARS] for at in range(0, len(digits), _LINE_CHARS)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def _unarmored(text: bytes) -> bytes:
    if len(text) > KEY_FILE_BYTES_MAX:
        raise LimitExceeded(f"key file: {len(text)} bytes, at most {KEY_FILE_BYTES_MAX} are read")
    lines = text.decode("ascii", "replace").split("\n")
    if len(lines) < 4 or lines[0] != _BEGIN or lines[-2:] != [_END, ""]:
        raise DecodeError(f"key file: must begin with {_BEGIN} and end with {_END}", hint=_COPY_HINT)
    try:
        data = base64.b64decode("".join(lines[1:-2]), validate=True)
    except (binascii.Error, ValueError):  # the second for characters beyond ASCII
        raise DecodeError("key file: not base64", hint=_COPY_HINT) from None
    data, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if not hmac.compare_digest(_checksum(data), check) or _armored(data) != text:
        raise DecodeError("key file: its checksum or its layout is wrong", hint=_COPY_HINT)
    return data


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(b"wherry key/1" + data).digest()[:_CHECK_BYTES]
