"""Wraps a dataset's key under a wrapping key of a domain (specs/0016 §2): XChaCha20-Poly1305 with a synthetic nonce.

The nonce is a keyed hash of what is wrapped, so that adding the same data again gives the same header; with 192 bits of a
keyed hash two different keys do not meet the same nonce (as in AES-SIV, RFC 5297 §1.3.3).
"""

from __future__ import annotations

import hmac
from typing import Final

_NONCE_BYTES: Final = 24
_INFO: Final = b"wherry sealed/1 wrap"


def wrap(key: bytes, wrapping: bytes, bound: bytes) -> bytes:
    """Wraps ``key``; it can be unwrapped only together with ``bound``, the additional data."""
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt  # costs milliseconds; few verbs need it

    nonce = hmac.digest(wrapping, _INFO + key + bound, "sha256")[:_NONCE_BYTES]
    return nonce + bytes(encrypt(key, _INFO + bound, nonce, wrapping))


def unwrap(box: bytes, wrapping: bytes, bound: bytes) -> bytes | None:
    """Gives the key, or None if this wrapping key does not open it."""
    from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt
    from nacl.exceptions import CryptoError

    try:
        return bytes(decrypt(box[_NONCE_BYTES:], _INFO + bound, box[:_NONCE_BYTES], wrapping))
    except (CryptoError, ValueError):
        return None
