"""Batches: full, bounded, in order; small files whole, long ones aligned."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wherry.block import EMPTY_LEAF
from wherry.limits import BATCH_WANTS_MAX, BUFFER_BYTES
from wherry.manifest import PLAIN
from wherry.transfer.pack import Packer
from wherry.transfer.sink import Piece, Slot

MIB = 1 << 20


def pieces_of(name, size, leaf_bytes):
    slot = Slot(name, EMPTY_LEAF, size, PLAIN, 0, size)
    return [Piece(slot, EMPTY_LEAF, offset, min(leaf_bytes, size - offset)) for offset in range(0, size, leaf_bytes)]


sizes = st.one_of(st.integers(1, 5000), st.integers(1, 20 * MIB), st.sampled_from([MIB, BUFFER_BYTES, BUFFER_BYTES + 1]))
files = st.lists(st.tuples(sizes, st.sampled_from([MIB, 2 * MIB, 4 * MIB])), max_size=30)


@given(files, st.data())
def test_batches_hold_every_piece_once_in_order_and_fit_into_a_buffer(given_files, data):
    packer, batches, sent = Packer(), [], []
    for number, (size, leaf_bytes) in enumerate(given_files):
        pieces = pieces_of(str(number), size, leaf_bytes)
        if pieces[0].slot.small:
            sent += pieces
            batches.append(packer.small(pieces))
        else:
            for piece in pieces:
                if data.draw(st.booleans(), label="done already"):
                    continue
                sent.append(piece)
                batches.append(packer.long(piece))
    batches.append(packer.flush())
    batches = [batch for batch in batches if batch]
    assert [piece for batch in batches for piece in batch] == sent
    for batch in batches:
        assert sum(piece.size for piece in batch) <= BUFFER_BYTES
        assert len(batch) <= BATCH_WANTS_MAX
        long = [piece for piece in batch if not piece.slot.small]
        if long:
            assert long == batch[: len(long)]  # first; one stretch of one file, within one aligned window of it
            assert len({piece.slot.path for piece in long}) == 1
            assert all(two.offset == one.offset + one.size for one, two in pairwise(long))
            whole = [piece for piece in long if piece.offset + piece.size < piece.slot.size] or long[:1]
            assert long[0].offset // BUFFER_BYTES == whole[-1].offset // BUFFER_BYTES  # all but the end of the file
    by_file = {}
    for number, batch in enumerate(batches):
        for piece in batch:
            if piece.slot.small:
                by_file.setdefault(piece.slot.path, set()).add(number)
    assert all(len(numbers) == 1 for numbers in by_file.values())


def test_many_small_files_are_cut_at_the_wants_that_one_request_takes():
    packer = Packer()
    batches = [packer.small(pieces_of(str(number), 10, MIB)) for number in range(BATCH_WANTS_MAX + 10)]
    assert [len(batch) for batch in batches if batch] == [BATCH_WANTS_MAX]
    assert len(packer.flush()) == 10


def test_batches_of_a_whole_long_file_are_full():
    packer = Packer()
    batches = [packer.long(piece) for piece in pieces_of("x", 20 * MIB, MIB)] + [packer.flush()]
    assert [len(batch) for batch in batches if batch] == [4] * 5
