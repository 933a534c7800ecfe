"""An answer that ends before its end: the blocks that have come whole count, and the fault is told (specs/0013 §4)."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager

import pytest
from codings import codings_of, text_file

from wherry.env import Env
from wherry.errors import PeerError, PeerTimeout
from wherry.testing.blocks import CheckingLender, CountedPool
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.hostile import HostileServer, answer
from wherry.testing.leaves import file_of, source_of, unsized
from wherry.testing.web import plain_files
from wherry.transfer.jobs import NodeJob
from wherry.transfer.request import fetch_once
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport
from wherry_tcp.options import TcpOptions
from wherry_tcp.transport import TcpTransport
from wherry_web.options import WebOptions
from wherry_web.transport import WebTransport

pytestmark = pytest.mark.timeout(60)

MIB = 1 << 20
CUT = 1_500_000  # bytes, behind which each connection ends
RATE = 20e6  # so that nothing lies in queues, which a reset drops
QUICK = {"connect_timeout": 5.0, "idle_timeout": 1.0}
ENDS = {
    "fin": Chaos(rate=RATE, truncate_at=CUT),
    "rst": Chaos(rate=RATE, reset_after=CUT),
    "silence": Chaos(rate=RATE, stall_after=CUT),
}
RUN = file_of("large", *[400_000] * 10)  # one run, received where it lies
MANY = [leaf for number in range(10) for leaf in file_of(f"dir/{number}", 150_000, 250_000)]
LEAVES = {"one run": RUN, "many files": MANY}


def transport(scheme, home, **more):
    codings = codings_of("zstd")
    if scheme == "tcp":
        return TcpTransport(TcpOptions(**QUICK, **more), Env(home, {}, codings=codings))
    return HttpTransport(HttpOptions(**QUICK, **more), codings=codings)


@asynccontextmanager
async def through(scheme, leaves, down, home, **more):
    """Serves leaves behind a proxy that cuts; yields a channel, made before it does."""
    async with transport(scheme, home / "a", **more).listen(f"{scheme}://127.0.0.1:0", source_of(leaves)) as address:
        async with ChaosProxy(("127.0.0.1", int(address.rpartition(":")[2])), down=down) as proxy:
            async with transport(scheme, home / "b").connect(f"{scheme}://127.0.0.1:{proxy.port}") as channel:
                yield channel


async def came(channel, wants):
    """Fetches as core does; gives the blocks that were right, and the fault."""
    pool, problem, rejected = CountedPool(), None, []
    lender = CheckingLender(wants, pool)
    try:
        async with aclosing(channel.fetch(wants, lender)) as arrivals:
            async for arrival in arrivals:
                if not arrival.settled:
                    lender.settle(arrival)
                rejected += arrival.rejected
                arrival.buffer.release()
    except PeerError as fault:
        problem = fault
    assert pool.out == 0
    assert rejected == []
    return lender.blocks, problem


def first(leaves, blocks, end):
    """Checks that these are the first blocks, as many as can have come."""
    whole = 0
    while sum(leaf.want.size for leaf in leaves[: whole + 1]) <= CUT:
        whole += 1
    least = 1 if end == "rst" else whole
    assert list(range(len(blocks))) == sorted(blocks)
    assert least <= len(blocks) <= whole
    assert all(blocks[number] == leaves[number].data for number in blocks)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_what_has_come_whole_counts(scheme, kind, end, tmp_path):
    leaves = LEAVES[kind]
    async with through(scheme, leaves, ENDS[end], tmp_path) as channel:
        blocks, problem = await came(channel, [leaf.want for leaf in leaves])
    first(leaves, blocks, end)
    assert isinstance(problem, PeerTimeout if end == "silence" else PeerError)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_of_unknown_sizes_too(scheme, end, tmp_path):
    async with through(scheme, MANY, ENDS[end], tmp_path) as channel:
        blocks, problem = await came(channel, unsized(MANY))
    first(MANY, blocks, end)
    assert problem is not None


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_of_coded_blocks_those_that_are_decoded_count(scheme, end, tmp_path):
    leaves = [*text_file("text", *[400_000] * 3), *file_of("chance", *[400_000] * 6)]  # the first third shrinks to a few KB
    async with through(scheme, leaves, ENDS[end], tmp_path, coding="always") as channel:
        blocks, problem = await came(channel, [leaf.want for leaf in leaves])
    assert (1 if end == "rst" else 3) < len(blocks) < 9
    assert all(blocks[number] == leaves[number].data for number in blocks)
    assert problem is not None


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_an_end_before_the_first_whole_block_is_a_fault_alone(scheme, tmp_path):
    leaves = file_of("large", 4 * MIB)
    async with through(scheme, leaves, ENDS["fin"], tmp_path) as channel:
        blocks, problem = await came(channel, [leaves[0].want])
    assert not blocks
    assert problem is not None


async def test_a_cut_run_of_plain_files(tmp_path):
    data = b"".join(leaf.data for leaf in RUN)
    with HostileServer(by_path={"/large": plain_files({"/large": data}), "/": answer()}) as server:
        for end, down in ENDS.items():
            async with ChaosProxy(("127.0.0.1", server.port), down=down) as proxy:
                async with WebTransport(WebOptions(**QUICK)).connect(f"http://127.0.0.1:{proxy.port}/") as channel:
                    blocks, problem = await came(channel, [leaf.want for leaf in RUN])
            first(RUN, blocks, end)
            assert problem is not None


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_a_node_that_has_come_whole_is_found(scheme, tmp_path):
    job = NodeJob([leaf.want.cid for leaf in MANY])
    async with through(scheme, MANY, ENDS["fin"], tmp_path) as channel:
        told = []
        with pytest.raises(PeerError):
            await fetch_once(channel, job, CountedPool(), "peer", lambda *what: told.append(what))
    assert MANY[0].want.cid in job.found
    assert told[0][0] == len(job.found)
