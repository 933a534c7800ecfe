"""Where the plain bytes of sealed blocks are laid: so that O_DIRECT can write them, and never over what is not opened yet."""

from __future__ import annotations

import random
import re
import threading

import pytest

from wherry.abc.transport import Arrival, Laid
from wherry.buffers import PAGE, ROOM, BufferPool
from wherry.cid import CID, RAW
from wherry.errors import IntegrityError
from wherry.manifest import PLAIN
from wherry.sealing.seal import Scheme
from wherry.transfer.settle import settle
from wherry.transfer.sink import Piece, Sink, Slot
from wherry.units import MiB
from wherry.wiring import Wiring

KEY = bytes(32)


class Kept(Sink):
    """Keeps what it is given, by offset, and where it lay."""

    def __init__(self, sealing):
        super().__init__(sealing)
        self.data, self.starts = {}, []

    def write(self, view, pieces, starts):
        self.starts.append(starts[0])
        for piece, start in zip(pieces, starts, strict=True):
            self.data[piece.offset] = bytes(view[start : start + piece.size])


@pytest.fixture
def sealing_of(tmp_path):
    return Wiring(tmp_path, None, {}).sealings.of


@pytest.fixture
def buffer():
    lent = BufferPool().take()
    yield lent
    lent.release()


def sealed_pieces(sealing, plains, file_size):
    """The pieces of one long file, and their sealed blocks."""
    slot, offset, pieces, sealed = Slot("f", CID.of(RAW, b"f"), file_size, PLAIN, 0, file_size, KEY), 0, [], []
    for plain in plains:
        block = bytes(sealing.seal_leaf(plain, KEY, offset, final=False))
        pieces.append(Piece(slot, CID.of(RAW, block), offset, len(plain), KEY))
        sealed.append(block)
        offset += len(plain)
    return pieces, sealed


def lay(buffer, sealed, at, gap):
    laid = []
    for number, block in enumerate(sealed):
        buffer.view[at : at + len(block)] = block
        laid.append(Laid(number, at, at + len(block)))
        at += len(block) + gap
    return laid


@pytest.mark.parametrize("first", [0, 20, ROOM, ROOM + 20, 5 * PAGE - 1])
def test_leaves_of_one_file_are_written_in_one_piece_from_a_page(sealing_of, buffer, first):
    sealing = sealing_of(Scheme("xchacha20poly1305"))
    plains = [random.Random(number).randbytes(MiB) for number in range(3)]
    pieces, sealed = sealed_pieces(sealing, plains, 8 * MiB)
    sink, done = Kept(sealing), bytearray(3)
    arrival = Arrival(buffer, lay(buffer, sealed, first, 20))
    settle(sink, arrival, pieces, done, threading.Lock(), peer="somebody")
    assert (arrival.failure, arrival.rejected, bytes(done)) == (None, [], b"\1\1\1")
    assert [sink.data[number * MiB] for number in range(3)] == plains
    assert [start % PAGE for start in sink.starts] == [0]


def test_a_block_that_is_wrong_leaves_the_others_whole(sealing_of, buffer):
    sealing = sealing_of(Scheme("xchacha20poly1305"))
    plains = [random.Random(number).randbytes(MiB) for number in range(3)]
    pieces, sealed = sealed_pieces(sealing, plains, 8 * MiB)
    laid = lay(buffer, sealed, 20, 20)
    buffer.view[laid[1].start] ^= 1
    sink, done = Kept(sealing), bytearray(3)
    arrival = Arrival(buffer, laid)
    settle(sink, arrival, pieces, done, threading.Lock(), peer="somebody")
    assert (arrival.failure, [want for want, _ in arrival.rejected], bytes(done)) == (None, [1], b"\1\0\1")
    assert sink.data == {0: plains[0], 2 * MiB: plains[2]}
    assert [start % PAGE for start in sink.starts] == [0, 0]


def test_plain_bytes_that_are_wrong_are_rejected_and_whoever_sent_them_is_named(sealing_of, buffer):
    sealing = sealing_of(Scheme("xchacha20poly1305"))
    plains = [random.Random(number).randbytes(MiB) for number in range(2)]
    pieces, _ = sealed_pieces(sealing, plains, 8 * MiB)
    laid = lay(buffer, plains, 0, 0)
    buffer.view[laid[1].stop - 1] ^= 1
    sink, done = Kept(sealing), bytearray(2)
    arrival = Arrival(buffer, laid)
    settle(sink, arrival, pieces, done, threading.Lock(), peer="the mirror", plain=True)
    ((want, problem),) = arrival.rejected
    assert (arrival.failure, want, type(problem), bytes(done)) == (None, 1, IntegrityError, b"\1\0")
    assert "from the mirror" in problem.message
    assert sink.data == {0: plains[0]}


def test_coded_leaves_have_room_wherever_a_peer_lays_them(sealing_of, buffer):
    """They are longer when they are opened: one that lies at the end of the buffer must not fail there."""
    sealing = sealing_of(Scheme("xchacha20poly1305", coding="zstd"))
    plains = [b"a" * MiB, b"b" * MiB]
    pieces, sealed = sealed_pieces(sealing, plains, 8 * MiB)
    assert sum(map(len, sealed)) < 64 * 1024
    sink, done = Kept(sealing), bytearray(2)
    arrival = Arrival(buffer, lay(buffer, sealed, len(buffer.view) - sum(map(len, sealed)), 0))
    settle(sink, arrival, pieces, done, threading.Lock(), peer="somebody")
    assert (arrival.failure, arrival.rejected, bytes(done)) == (None, [], b"\1\1")
    assert sink.data == {0: plains[0], MiB: plains[1]}


def test_a_coded_leaf_that_is_laid_many_times_is_opened_once(sealing_of, buffer):
    """A peer that sends one small block forty times must not have it unpacked forty times, beyond the buffer."""
    sealing = sealing_of(Scheme("xchacha20poly1305", coding="zstd"))
    pieces, sealed = sealed_pieces(sealing, [b"a" * MiB, b"b" * MiB], 8 * MiB)
    first, second = lay(buffer, sealed, 0, 0)
    sink, done = Kept(sealing), bytearray(2)
    arrival = Arrival(buffer, [first] * 40 + [second])
    settle(sink, arrival, pieces, done, threading.Lock(), peer="somebody")
    assert (arrival.failure, arrival.rejected, bytes(done)) == (None, [], b"\1\1")
    assert sink.data == {0: b"a" * MiB, MiB: b"b" * MiB}


def test_a_right_block_that_does_not_open_is_the_fault_of_its_dataset(sealing_of, buffer):
    sealing = sealing_of(Scheme("xchacha20poly1305"))
    pieces, sealed = sealed_pieces(sealing, [b"a" * 1000, b"b" * 1000], 8 * MiB)
    for piece, words in (
        (pieces[1]._replace(key=bytes(31) + b"\1"), "'f': block .* does not open"),
        (pieces[1]._replace(size=999), "'f': block .* has 1016 bytes, its parent says 1015"),
    ):
        sink, done = Kept(sealing), bytearray(2)
        arrival = Arrival(buffer, lay(buffer, sealed, 20, 20))
        settle(sink, arrival, [pieces[0], piece], done, threading.Lock(), peer="somebody")
        assert isinstance(arrival.failure, IntegrityError)
        assert re.search(words, arrival.failure.message)
        assert "somebody" not in str(arrival.failure)
        assert (arrival.rejected, sink.data) == ([], {})
