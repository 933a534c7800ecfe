"""Who may open and who has signed: a pair of X25519 keys and a pair of Ed25519 keys, under one name (specs/0021 §2).

An `Identity` holds the secrets and stays at home; a `Recipient` is the public half, which travels as one word of text.
The work is libsodium's (PyNaCl). It is core's own and no plugin's: who may open is nothing that an option chooses. It is
imported in the functions, since most runs encrypt nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final, NoReturn

from wherry.errors import DecodeError

if TYPE_CHECKING:
    from typing import Self

PREFIX: Final = "wherry-to1"  # "1": the version of what follows
KEY_BYTES: Final = 32
RECIPIENT_BYTES: Final = 2 * KEY_BYTES
SECRET_BYTES: Final = 2 * KEY_BYTES
SIGNATURE_BYTES: Final = 64

_CHECK_BYTES: Final = 6  # with 64 bytes of keys: 560 bits, 112 digits of base32 and no bit to spare
TEXT_CHARS: Final = len(PREFIX) + 112
_DIGITS: Final = re.compile(r"[a-z2-7]{112}", re.ASCII)
_FIELD_PRIME: Final = 2**255 - 19  # RFC 7748 §4.1
_COPY_HINT: Final = "copy it again, in full; `wherry keys show NAME` prints it"


class Recipient:
    """The public half: whom to seal for, and whose signatures to check. Immutable; equal and hashed by its bytes."""

    __slots__ = ("_keys",)

    _keys: bytes

    def __init__(self, keys: bytes) -> None:
        """Takes 32 bytes of X25519 and 32 of Ed25519, from anywhere. Raises DecodeError for a key that protects nothing."""
        if len(keys) != RECIPIENT_BYTES:
            raise DecodeError(f"recipient: {len(keys)} bytes of keys, must be {RECIPIENT_BYTES}")
        _check_box(keys[:KEY_BYTES])
        _check_sign(keys[KEY_BYTES:])
        object.__setattr__(self, "_keys", bytes(keys))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a recipient's {name} does not change")

    @classmethod
    def from_bytes(cls, keys: bytes) -> Self:
        """Reads what ``bytes(recipient)`` gave. Raises DecodeError."""
        return cls(keys)

    def __bytes__(self) -> bytes:
        return self._keys

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the text form. Raises DecodeError for anything but exactly that."""
        if not text.startswith(PREFIX):
            hint = "a newer wherry may read it" if text.startswith("wherry-to") else _COPY_HINT
            raise DecodeError(f"recipient: does not begin with {PREFIX!r}", hint=hint)
        if len(text) != TEXT_CHARS:
            raise DecodeError(f"recipient: {len(text)} characters, must be {TEXT_CHARS}", hint=_COPY_HINT)
        digits = text[len(PREFIX) :]
        if not _DIGITS.fullmatch(digits):
            raise DecodeError("recipient: not lower-case base32", hint=_COPY_HINT)
        data = base64.b32decode(digits.upper())
        if not hmac.compare_digest(_checksum(data[:RECIPIENT_BYTES]), data[RECIPIENT_BYTES:]):
            raise DecodeError("recipient: its checksum does not match", hint=_COPY_HINT)
        return cls(data[:RECIPIENT_BYTES])

    def __str__(self) -> str:
        return PREFIX + base64.b32encode(self._keys + _checksum(self._keys)).decode("ascii").lower()

    @property
    def fingerprint(self) -> str:
        """80 bits of hash in four groups, for people to compare: ``abcd-efgh-ijkl-mnop``."""
        digits = base64.b32encode(hashlib.sha256(b"wherry recipient fingerprint/1" + self._keys).digest()[:10]).decode("ascii")
        return "-".join(digits[at : at + 4] for at in range(0, 16, 4)).lower()

    def seal(self, payload: bytes) -> bytes:
        """Seals ``payload`` so that this recipient alone opens it, and nothing tells who sealed it, or for whom.

        48 bytes longer. An anonymous sealed box: an ephemeral X25519 key and XSalsa20-Poly1305 (libsodium's crypto_box_seal).
        """
        from nacl import bindings

        return bindings.crypto_box_seal(payload, self._keys[:KEY_BYTES])

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tells whether ``signature`` is this one's for ``message`` (Ed25519, RFC 8032 §5.1)."""
        from nacl import bindings
        from nacl.exceptions import BadSignatureError

        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            bindings.crypto_sign_open(bytes(signature) + message, self._keys[KEY_BYTES:])
        except BadSignatureError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipient) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    def __repr__(self) -> str:
        return f"Recipient({self.fingerprint})"


class Identity:
    """The secret half. It shows its fingerprint and nothing else, and is neither pickled nor compared."""

    __slots__ = ("_secret", "recipient")

    recipient: Recipient

    def __init__(self, secret: bytes) -> None:
        """Takes 32 bytes of X25519 and the 32 bytes that Ed25519's pair is made from. Raises DecodeError for other lengths."""
        from nacl import bindings

        if len(secret) != SECRET_BYTES:
            raise DecodeError(f"identity: {len(secret)} bytes of secrets, must be {SECRET_BYTES}")
        self._secret = bytes(secret)
        box = bindings.crypto_scalarmult_base(self._secret[:KEY_BYTES])
        sign, _ = bindings.crypto_sign_seed_keypair(self._secret[KEY_BYTES:])
        self.recipient = Recipient(box + sign)

    @classmethod
    def make(cls) -> Self:
        """Makes a fresh one."""
        import secrets

        return cls(secrets.token_bytes(SECRET_BYTES))

    @property
    def fingerprint(self) -> str:
        """The recipient's."""
        return self.recipient.fingerprint

    def secret_bytes(self) -> bytes:
        """Gives the 64 secret bytes, for the key file alone."""
        return self._secret

    def open(self, box: bytes) -> bytes | None:
        """Opens what was sealed for this identity; None if it was not, or is damaged."""
        from nacl import bindings
        from nacl.exceptions import CryptoError

        if len(box) < bindings.crypto_box_SEALBYTES:
            return None
        try:
            return bindings.crypto_box_seal_open(bytes(box), bytes(self.recipient)[:KEY_BYTES], self._secret[:KEY_BYTES])
        except CryptoError:
            return None

    def sign(self, message: bytes) -> bytes:
        """Signs: 64 bytes, always the same for one message (Ed25519, RFC 8032 §5.1)."""
        from nacl import bindings

        _, key = bindings.crypto_sign_seed_keypair(self._secret[KEY_BYTES:])
        return bindings.crypto_sign(message, key)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"Identity({self.fingerprint})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity is not pickled: it would leave its key file")


def _checksum(public: bytes) -> bytes:
    return hashlib.sha256(PREFIX.encode() + public).digest()[:_CHECK_BYTES]


def _check_box(key: bytes) -> None:
    """Refuses points of low order, whose secrets everybody knows (RFC 7748 §6.1), and second forms of a point."""
    from nacl import bindings

    if int.from_bytes(key, "little") >= _FIELD_PRIME:
        raise DecodeError("recipient: its X25519 key is not in canonical form")
    try:
        bindings.crypto_scalarmult(bytes([8, *bytes(30), 64]), key)  # any scalar shows a low order, and this one is no secret
    except RuntimeError:
        raise DecodeError("recipient: its X25519 key has a low order") from None


def _check_sign(key: bytes) -> None:
    from nacl import bindings

    if not bindings.crypto_core_ed25519_is_valid_point(key):
        raise DecodeError("recipient: its Ed25519 key is no point of the right order in canonical form")
