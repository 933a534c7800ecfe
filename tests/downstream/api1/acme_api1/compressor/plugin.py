"""Registers the compressor acme.compressor. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.compressor.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.compressor import Compressor
    from wherry.env import Env


def build(options: Options, env: Env) -> Compressor:
    """Makes the compressor."""
    del env
    from acme_api1.compressor.compressor import ZlibCompressor

    return ZlibCompressor(options.level)


@hookimpl
def wherry_register_compressors() -> Iterable[Provider[Compressor]]:
    """Offers ``acme.compressor``. The name says which format this is, for ever: a changed format is a new name."""
    return [provider("acme.compressor", options=Options, build=build, summary="zlib (RFC 1950)", api=1)]
