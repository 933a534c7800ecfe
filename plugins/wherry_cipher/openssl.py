"""The ciphers by OpenSSL (cryptography): two to seven times as fast as libsodium, by the vectors that the processor has.

OpenSSL has no XChaCha20-Poly1305, but that is ChaCha20-Poly1305 under a derived key, and the derivation can be had from one
block of ChaCha20's key stream. OpenSSL writes plain bytes before it has looked at the tag, so what fails is wiped here.
Every call lets go of the interpreter lock while it works.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher as StreamCipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305 as Aead
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from wherry_cipher.aead import LONG_NONCE_BYTES, SHORT_NONCE_BYTES, AeadCipher

if TYPE_CHECKING:
    from wherry.cid import Bytes

_CONSTANTS: Final = struct.unpack("<4I", b"expand 32-byte k")  # RFC 8439 §2.3


class ChaCha20Poly1305(AeadCipher):
    """ChaCha20-Poly1305 (RFC 8439 §2.8)."""

    nonce_bytes = SHORT_NONCE_BYTES

    def _seal(self, plain: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> None:
        Aead(key).encrypt_into(nonce, plain, aad, out)

    def _open(self, sealed: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> bool:
        try:
            Aead(key).decrypt_into(nonce, sealed, aad, out)
        except InvalidTag:
            out[:] = bytes(len(out))
            return False
        return True


class XChaCha20Poly1305(ChaCha20Poly1305):
    """XChaCha20-Poly1305: under a key from the nonce's first 16 bytes (draft-irtf-cfrg-xchacha-03 §2.3)."""

    nonce_bytes = LONG_NONCE_BYTES

    def _seal(self, plain: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> None:
        super()._seal(plain, out, hchacha20(key, nonce[:16]), bytes(4) + nonce[16:], aad)

    def _open(self, sealed: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> bool:
        return super()._open(sealed, out, hchacha20(key, nonce[:16]), bytes(4) + nonce[16:], aad)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Derives 32 bytes from a key of 32 and a nonce of 16 (draft-irtf-cfrg-xchacha-03 §2.2). Takes about 6 µs.

    HChaCha20 is ChaCha20's block function without its last step, which adds the words that it began with. So those are
    taken off again from a block of key stream: the constants from the first four words, the nonce from the last four.
    """
    stream = struct.unpack("<16I", StreamCipher(ChaCha20(key, nonce), None).encryptor().update(bytes(64)))
    began = _CONSTANTS + struct.unpack("<4I", nonce)
    words = zip(stream[:4] + stream[12:], began, strict=True)
    return struct.pack("<8I", *((word - first) & 0xFFFFFFFF for word, first in words))


def usable() -> bool:
    """Tells whether this OpenSSL has ChaCha20; one that is built for FIPS has not."""
    try:
        hchacha20(bytes(32), bytes(16))
        Aead(bytes(32))
    except UnsupportedAlgorithm:
        return False
    return True
