"""What the contract does not ask: that it is zlib, and that text becomes less."""

from __future__ import annotations

import zlib

from acme_api1.compressor.compressor import ZlibCompressor

TEXT = b"the same words again and again; " * 1000


def test_others_can_read_it() -> None:
    assert zlib.decompress(ZlibCompressor(9).compress(TEXT)) == TEXT


def test_text_becomes_less() -> None:
    assert len(ZlibCompressor(1).compress(TEXT)) < len(TEXT) // 10


def test_a_level_may_be_given() -> None:
    assert ZlibCompressor(1).compress(TEXT, level=9) == ZlibCompressor(9).compress(TEXT)
