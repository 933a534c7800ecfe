"""Registers the cipher acme.cipher. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.cipher.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.cipher import Cipher
    from wherry.env import Env


def build(options: Options, env: Env) -> Cipher:
    """Makes the cipher."""
    del options, env
    from acme_api1.cipher.cipher import XChaCha

    return XChaCha()


@hookimpl
def wherry_register_ciphers() -> Iterable[Provider[Cipher]]:
    """Offers ``acme.cipher``. The name says which format this is, for ever: a changed format is a new name."""
    return [provider("acme.cipher", options=Options, build=build, summary="XChaCha20-Poly1305 by libsodium", api=1)]
