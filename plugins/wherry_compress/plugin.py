"""Registers the compressors ``zstd`` and ``lz4``. Light: a library is imported when a compressor is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_compress.options import Lz4Options, ZstdOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.compressor import Compressor
    from wherry.env import Env


def build_zstd(options: ZstdOptions, env: Env) -> Compressor:
    """Makes the compressor; reads its dictionary, if it has one. Raises ConfigError."""
    del env
    from wherry_compress.zstd import ZstdCompressor

    return ZstdCompressor(options)


def build_lz4(options: Lz4Options, env: Env) -> Compressor:
    """Makes the compressor."""
    del env
    from wherry_compress.lz4 import Lz4Compressor

    return Lz4Compressor(options)


@hookimpl
def wherry_register_compressors() -> Iterable[Provider[Compressor]]:
    """Offers ``zstd`` and ``lz4``."""
    return [
        provider("zstd", options=ZstdOptions, build=build_zstd, summary="Zstandard: dense, decodes at a gigabyte a second"),
        provider("lz4", options=Lz4Options, build=build_lz4, summary="LZ4: less dense, and costs less than most links"),
    ]
