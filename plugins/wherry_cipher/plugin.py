"""Registers the ciphers ``xchacha20poly1305`` and ``chacha20poly1305``. Light: a library is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_cipher.options import CipherOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.cipher import Cipher
    from wherry.env import Env


def build_xchacha(options: CipherOptions, env: Env) -> Cipher:
    """Makes the cipher with the library that the options choose."""
    del env
    if _uses_openssl(options):
        from wherry_cipher import openssl

        return openssl.XChaCha20Poly1305()
    from wherry_cipher import sodium

    return sodium.XChaCha20Poly1305()


def build_chacha(options: CipherOptions, env: Env) -> Cipher:
    """Makes the cipher with the library that the options choose."""
    del env
    if _uses_openssl(options):
        from wherry_cipher import openssl

        return openssl.ChaCha20Poly1305()
    from wherry_cipher import sodium

    return sodium.ChaCha20Poly1305()


def _uses_openssl(options: CipherOptions) -> bool:
    if options.library != "auto":
        return options.library == "cryptography"
    from wherry_cipher.openssl import usable

    return usable()


@hookimpl
def wherry_register_ciphers() -> Iterable[Provider[Cipher]]:
    """Offers ``xchacha20poly1305`` and ``chacha20poly1305``."""
    return [
        provider(
            "xchacha20poly1305",
            options=CipherOptions,
            build=build_xchacha,
            summary="XChaCha20-Poly1305: nonces of 24 bytes, which may be drawn at random",
        ),
        provider(
            "chacha20poly1305",
            options=CipherOptions,
            build=build_chacha,
            summary="ChaCha20-Poly1305 (RFC 8439): nonces of 12 bytes",
        ),
    ]
