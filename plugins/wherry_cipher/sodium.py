"""The ciphers by libsodium (PyNaCl): for machines whose OpenSSL has no ChaCha20.

PyNaCl's functions take and give ``bytes``, so what is sealed or opened is copied on its way in and out. They let go of the
interpreter lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nacl import bindings
from nacl.exceptions import CryptoError

from wherry_cipher.aead import LONG_NONCE_BYTES, SHORT_NONCE_BYTES, AeadCipher

if TYPE_CHECKING:
    from wherry.cid import Bytes


class ChaCha20Poly1305(AeadCipher):
    """ChaCha20-Poly1305 (RFC 8439 §2.8)."""

    nonce_bytes = SHORT_NONCE_BYTES

    def _seal(self, plain: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> None:
        out[:] = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(bytes(plain), aad, nonce, key)

    def _open(self, sealed: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> bool:
        try:
            out[:] = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(bytes(sealed), aad, nonce, key)
        except CryptoError:
            return False
        return True


class XChaCha20Poly1305(AeadCipher):
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 §2)."""

    nonce_bytes = LONG_NONCE_BYTES

    def _seal(self, plain: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> None:
        out[:] = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(bytes(plain), aad, nonce, key)

    def _open(self, sealed: Bytes, out: memoryview, key: bytes, nonce: bytes, aad: bytes) -> bool:
        try:
            out[:] = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(bytes(sealed), aad, nonce, key)
        except CryptoError:
            return False
        return True
