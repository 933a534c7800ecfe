"""The fixed chunker keeps the contract of chunkers."""

from __future__ import annotations

import pytest

from wherry.chunking import LEAF_CHOICES, FixedChunker
from wherry.testing.chunker import ChunkerContract


@pytest.mark.parametrize("size", LEAF_CHOICES)
class TestFixedChunker(ChunkerContract):
    @pytest.fixture(autouse=True)
    def choose(self, size):
        self.size = size

    def make_chunker(self):
        return FixedChunker(self.size)
