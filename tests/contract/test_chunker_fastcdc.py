"""The fastcdc chunker keeps the contract of chunkers, with a key and without."""

from __future__ import annotations

import pytest

from wherry.testing.chunker import ChunkerContract
from wherry_chunk.fastcdc import FastcdcChunker
from wherry_chunk.options import SIZE_CHOICES


@pytest.mark.parametrize("size", SIZE_CHOICES)
class TestFastcdcChunker(ChunkerContract):
    @pytest.fixture(autouse=True)
    def choose(self, size):
        self.size = size

    def make_chunker(self):
        return FastcdcChunker(self.size)


class TestKeyedFastcdcChunker(ChunkerContract):
    def make_chunker(self):
        return FastcdcChunker(SIZE_CHOICES[0]).keyed(bytes(range(32)))
