"""The compressor keeps the contract of compressors."""

from __future__ import annotations

from wherry.abc.compressor import Compressor
from wherry.testing.compressor import CompressorContract

from acme_api1.compressor.compressor import ZlibCompressor


class TestCompressor(CompressorContract):
    def make_compressor(self) -> Compressor:
        return ZlibCompressor()
