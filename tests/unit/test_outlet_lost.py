"""Runs of leaves whose file is gone, of which some lie elsewhere too: sent whole, or said to be missing, and never cut off."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import closing

import pytest

from wherry.block import named
from wherry.buffers import BufferPool
from wherry.cid import RAW
from wherry.outlet import Outlet, Pump
from wherry.store.index import FileRecord, LeafRow, Signature
from wherry.store.store import Store
from wherry.wire.frames import HEADER_BYTES, MISSING, RUN, plan

SIZE = 80 * 1024  # longer than what is gathered
LEAVES = [named(RAW, bytes([number]) * SIZE) for number in range(3)]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"".join(leaf.data for leaf in LEAVES))
    rows = [LeafRow(leaf.cid.digest, number * SIZE, SIZE) for number, leaf in enumerate(LEAVES)]
    with closing(Store(tmp_path, None)) as opened:
        opened.index.record([FileRecord(str(path), Signature.of(path.stat()), None, "c", rows)])
        yield opened


def sent(frames):
    """All that an outlet sends."""
    mine, other = socket.socketpair()
    got = bytearray()
    pool = BufferPool()
    with mine, other:
        mine.setblocking(False)
        outlet = Outlet(mine, frames, pool)
        try:
            while (state := outlet.pump(0)) is not Pump.DONE:
                if state is Pump.BUFFER:
                    outlet.buffer = pool.take()
                got += other.recv(1 << 20)
        finally:
            outlet.close()
        mine.shutdown(socket.SHUT_WR)
        while piece := other.recv(1 << 20):
            got += piece
    return bytes(got)


@pytest.mark.parametrize("elsewhere", [*itertools.chain(*(itertools.combinations(range(3), count) for count in range(4)))])
@pytest.mark.parametrize("gone", [False, True])
def test_a_run_is_whole_or_missing_wherever_its_blocks_lie(tmp_path, store, elsewhere, gone):
    store.nodes.put_many([LEAVES[number] for number in elsewhere])
    frames = plan(store.find([leaf.cid for leaf in LEAVES]), 1 << 24)
    assert len(frames) == 1
    if gone:
        os.unlink(tmp_path / "data")
    answer = sent(frames)
    assert len(answer) == len(frames[0].head) + frames[0].size  # as it was promised
    if gone and len(elsewhere) < 3:
        assert answer[0] == MISSING
    else:
        assert answer[0] == RUN
        assert answer[HEADER_BYTES + 4 * 3 :] == b"".join(leaf.data for leaf in LEAVES)
