"""The cipher: an AEAD and nothing else. Keys, nonces and additional data are wherry's business.

Do not invent one. Take an AEAD (RFC 5116) that is published and reviewed, from a library that is kept, with a nonce of 12
bytes or more and a tag of 16 or more; this one is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) by libsodium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nacl import bindings
from nacl.exceptions import CryptoError
from wherry.abc.cipher import Cipher
from wherry.errors import IntegrityError

if TYPE_CHECKING:
    from wherry.cid import Bytes


class XChaCha(Cipher):
    """XChaCha20-Poly1305. Stateless, so every thread may use it; libsodium lets go of the interpreter lock."""

    key_bytes = bindings.crypto_aead_xchacha20poly1305_ietf_KEYBYTES
    nonce_bytes = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
    tag_bytes = bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES

    def seal_into(self, plain: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        """See `Cipher.seal_into`."""
        out[:] = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(bytes(plain), aad, nonce, key)

    def open_into(self, sealed: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        """See `Cipher.open_into`. libsodium looks at the tag first, so nothing is in ``out`` if it is wrong."""
        if len(sealed) < self.tag_bytes:  # which libsodium's binding takes for a mistake of ours
            raise IntegrityError(f"sealed bytes have a tag of {self.tag_bytes} bytes; these are {len(sealed)}")
        try:
            plain = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(bytes(sealed), aad, nonce, key)
        except CryptoError as problem:
            raise IntegrityError("sealed bytes do not open: they, their key or their place were changed") from problem
        out[:] = plain
