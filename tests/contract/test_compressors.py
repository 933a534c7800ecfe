"""The compressors keep the contract of compressors, at every level and with a dictionary."""

from __future__ import annotations

import random
import struct

import pytest
import zstandard

from wherry.testing.compressor import CompressorContract, text
from wherry_compress.lz4 import Lz4Compressor
from wherry_compress.options import Lz4Options, ZstdOptions
from wherry_compress.zstd import ZstdCompressor


def zstd_bombs():
    """Frames that declare much, declare the right size and hold more, ask for a large window, or do not say."""
    magic = struct.pack("<I", zstandard.MAGIC_NUMBER)
    zeros = struct.pack("<I", (128 * 1024 << 3) | 2)[:3] + b"\0"  # an RLE block of 128 KiB
    last = struct.pack("<I", (128 * 1024 << 3) | 3)[:3] + b"\0"
    yield magic + bytes([0b11100000]) + struct.pack("<Q", 1 << 40), 1000
    yield magic + bytes([0b10100000]) + struct.pack("<I", 1000) + zeros * 5000 + last, 1000
    yield magic + bytes([0b10100000]) + struct.pack("<I", 1 << 20) + zeros * 5000 + last, 1 << 20
    yield magic + bytes([0, 0b10000000]) + zeros * 5000 + last, 1000  # a window of 64 MiB, no size
    yield magic + bytes([0b10000000, 0b11111000]) + struct.pack("<I", 1000) + zeros, 1000  # a window of 2 TiB
    yield zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 << 20)), 64
    yield b"\x50\x2a\x4d\x18" + struct.pack("<I", 1 << 31), 1000  # a frame to be skipped


class TestZstd(CompressorContract):
    def make_compressor(self):
        return ZstdCompressor(ZstdOptions())

    def bombs(self):
        return zstd_bombs()


class TestZstdWithADictionary(TestZstd):
    @pytest.fixture(autouse=True)
    def train(self, tmp_path):
        rng = random.Random(1)
        rows = [b'{"id": %d, "name": "n%d", "kind": "leaf", "size": 1048576}' % (n, rng.getrandbits(20)) for n in range(3000)]
        self.path = tmp_path / "dictionary"
        self.path.write_bytes(zstandard.train_dictionary(4096, rows).as_bytes())

    def make_compressor(self):
        return ZstdCompressor(ZstdOptions(level=6, dictionary=self.path))


class TestLz4(CompressorContract):
    def make_compressor(self):
        return Lz4Compressor(Lz4Options())

    def bombs(self):
        yield b"\x1f\0\1\0" + b"\xff" * 300_000 + b"\0", 1000  # a match of 76 MB
        yield b"\xf0" + b"\xff" * 300_000 + b"\0", 1000  # as many literals
        yield text(2_000_000), 1 << 20


@pytest.mark.parametrize("level", [1, 12, 19])
class TestZstdOfAnyLevel(CompressorContract):
    @pytest.fixture(autouse=True)
    def choose(self, level):
        self.level = level

    def make_compressor(self):
        return ZstdCompressor(ZstdOptions(level=self.level))


@pytest.mark.parametrize("level", [2, 3, 12])
class TestLz4OfAnyLevel(CompressorContract):
    @pytest.fixture(autouse=True)
    def choose(self, level):
        self.level = level

    def make_compressor(self):
        return Lz4Compressor(Lz4Options(level=self.level))
