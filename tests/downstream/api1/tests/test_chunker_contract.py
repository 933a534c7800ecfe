"""The chunker keeps the contract of chunkers."""

from __future__ import annotations

from wherry.abc.chunker import Chunker
from wherry.testing.chunker import ChunkerContract

from acme_api1.chunker.chunker import LineChunker


class TestChunker(ChunkerContract):
    def make_chunker(self) -> Chunker:
        return LineChunker(64 << 10)
