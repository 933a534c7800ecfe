"""What the contract does not ask: cuts are at ends of lines, and they are where they always were."""

from __future__ import annotations

from acme_api1.chunker.chunker import LineChunker

SIZE = 64 << 10
LINES = memoryview(b"".join(b"line %d\n" % number for number in range(100_000)))


def test_no_line_is_torn() -> None:
    at = 0
    for length in LineChunker(SIZE).cut(LINES, last=True):
        at += length
        assert LINES[at - 1] == ord("\n")


def test_cuts_never_move() -> None:
    """These numbers are the format: if they change, the name must."""
    assert LineChunker(SIZE).cut(LINES, last=True)[:4] == [65540, 65536, 65538, 65538]
    assert LineChunker(SIZE).cut(memoryview(bytes(SIZE * 5)), last=True) == [2 * SIZE, 2 * SIZE, SIZE]
