"""What both libraries' ciphers share: the shape of an AEAD of RFC 8439's family, checked before a library is called.

Lengths are checked here, so that the same mistake is the same error whichever library does the work.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from wherry.abc.cipher import Cipher
from wherry.errors import IntegrityError

if TYPE_CHECKING:
    from wherry.cid import Bytes

LONG_NONCE_BYTES = 24  # XChaCha20-Poly1305, draft-irtf-cfrg-xchacha-03 §2.3
SHORT_NONCE_BYTES = 12  # ChaCha20-Poly1305, RFC 8439 §2.8


class AeadCipher(Cipher):
    """A cipher with a key of 32 bytes and a tag of 16. Stateless, so every thread may use it at once."""

    key_bytes = 32
    tag_bytes = 16

    def seal_into(self, plain: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        """Seals. Raises ValueError if a length is not as the contract says."""
        self._check(len(plain), len(out), key, nonce)
        self._seal(plain, out, key, nonce, aad)

    def open_into(self, sealed: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        """Opens. Raises IntegrityError, leaving no plain byte in ``out``; ValueError as `seal_into`."""
        if len(sealed) < self.tag_bytes:
            raise IntegrityError(f"sealed bytes have a tag of {self.tag_bytes} bytes; these are {len(sealed)}")
        self._check(len(out), len(sealed), key, nonce)
        if not self._open(sealed, out, key, nonce, aad):
            raise IntegrityError("sealed bytes do not open: they, their key or their place are not as when they were sealed")

    def _check(self, plain: int, sealed: int, key: bytes, nonce: bytes) -> None:
        if sealed != plain + self.tag_bytes or len(key) != self.key_bytes or len(nonce) != self.nonce_bytes:
            raise ValueError(
                f"{plain} plain and {sealed} sealed bytes, a key of {len(key)} and a nonce of {len(nonce)}: "
                f"must differ by {self.tag_bytes}, and be {self.key_bytes} and {self.nonce_bytes}"
            )

    @abstractmethod
    def _seal(self, plain: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> None:
        """Seals what has the right lengths."""

    @abstractmethod
    def _open(self, sealed: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> bool:
        """Opens what has the right lengths. False: the tag is wrong, and ``out`` has no plain byte."""
