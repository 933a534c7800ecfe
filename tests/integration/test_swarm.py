"""Peers that fetch one dataset at a time, over real sockets: each gives what it has while it gets the rest."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from wherry.abc.transport import Held
from wherry.cid import CID
from wherry.errors import WherryError
from wherry.session import Session
from wherry.traffic import Pair, Plan
from wherry.units import MiB
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LOOPBACK = "tcp://127.0.0.1:0"
NOBODY = "tcp://127.0.0.1:1"


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "dataset"
    (root / "small").mkdir(parents=True)
    rng = random.Random(11)
    (root / "large").write_bytes(rng.randbytes(24 * MiB + 12_345))
    (root / "other").write_bytes(rng.randbytes(5 * MiB))
    for number in range(300):
        (root / "small" / f"file-{number}").write_bytes(rng.randbytes(rng.randrange(20_000)))
    return root


class World:
    """Nodes on this machine, each with a home of its own."""

    def __init__(self, base, stack):
        self.base, self.stack = base, stack
        self.sessions = {}

    async def node(self, name, *, listen=True, scheme="tcp"):
        """Opens a home; gives its session, and where it listens."""
        session = await self.stack.enter_async_context(Session.open(home=self.base / f"home-{name}", environ={}))
        self.sessions[name] = session
        if not listen:
            return session, None
        serving = await self.stack.enter_async_context(session.serve((), listen=[f"{scheme}://127.0.0.1:0"]))
        return session, serving.listen[0]

    def target(self, name):
        return self.base / f"copy-{name}"

    async def get(self, session, cid, sources, name, **options):
        return await session.get(str(cid), sources=sources, output=str(self.target(name)), **options)


@asynccontextmanager
async def world(tmp_path):
    async with AsyncExitStack() as stack:
        yield World(tmp_path, stack)


def sent_by(session):
    return session._node.swarm.stats().uploaded


def given(result, address):
    return sum(source.bytes for source in result.sources if source.address == address)


@pytest.mark.parametrize("scheme", ["tcp", "tcps"])
def test_all_have_it_and_the_seed_has_not_sent_it_to_each(tmp_path, dataset, scheme):
    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed", scheme=scheme)
            added = await seed.add(str(dataset))
            leechers = [await w.node(f"l{number}", scheme=scheme) for number in range(3)]
            addresses = [address for _, address in leechers]
            results = await asyncio.gather(
                *(
                    w.get(session, added.cid, [at, *(other for other in addresses if other != own)], f"l{number}")
                    for number, (session, own) in enumerate(leechers)
                )
            )
            for number in range(3):
                assert list(compare(dataset, w.target(f"l{number}"))) == []
            assert all(result.bytes == added.bytes for result in results)
            assert sent_by(seed) < 2.5 * added.bytes, "three copies would be a server's"
            assert sum(sent_by(session) for session, _ in leechers) > 0.5 * added.bytes

    asyncio.run(run())


def test_those_who_know_only_the_seed_find_each_other(tmp_path, dataset):
    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed")
            added = await seed.add(str(dataset))
            leechers = [await w.node(f"l{number}") for number in range(3)]
            results = await asyncio.gather(
                *(w.get(session, added.cid, [at], f"l{number}") for number, (session, _) in enumerate(leechers))
            )
            for number in range(3):
                assert list(compare(dataset, w.target(f"l{number}"))) == []
            assert any(given(result, at) < result.fetched_bytes for result in results)

    asyncio.run(run())


def test_one_that_nobody_can_dial_gives_over_the_connection_that_it_made(tmp_path):
    """A node behind a router dials; whom it dials may ask it, too."""
    data = tmp_path / "data"
    data.write_bytes(random.Random(5).randbytes(6 * MiB))

    async def run():
        async with world(tmp_path) as w:
            (tmp_path / "home-seed").mkdir()
            (tmp_path / "home-seed" / "wherry.toml").write_text('[limits]\nup = "3MiB/s"\n')
            seed, at = await w.node("seed")
            added = await seed.add(str(data))
            hidden, _ = await w.node("hidden", listen=False)
            open_, reached = await w.node("open")
            # Both follow the seed, which shows each of them other pieces: the open one learns of it through the hidden one.
            got = await asyncio.gather(
                w.get(open_, added.cid, [NOBODY], "open", wait_s=60), w.get(hidden, added.cid, [at, reached], "hidden")
            )
            assert list(compare(data, w.target("open"))) == []
            assert sent_by(hidden) > 0
            assert given(got[0], NOBODY) == 0

    asyncio.run(run())


def test_who_has_all_of_it_goes_on_when_the_seed_is_gone(tmp_path, dataset):
    async def run():
        async with world(tmp_path) as w:
            async with Session.open(home=tmp_path / "home-seed", environ={}) as seed:
                added = await seed.add(str(dataset))
                one, at_one = await w.node("one")
                async with seed.serve((), listen=[LOOPBACK]) as serving:
                    await w.get(one, added.cid, serving.listen, "one")
            two, _ = await w.node("two", listen=False)
            await w.get(two, added.cid, [at_one], "two")
            assert list(compare(dataset, w.target("two"))) == []

    asyncio.run(run())


def test_a_peer_that_vanishes_in_the_middle_stops_nobody(tmp_path, dataset):
    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed")
            added = await seed.add(str(dataset))
            stay, at_stay = await w.node("stay")
            async with AsyncExitStack() as leaving:
                gone = World(tmp_path, leaving)
                leaver, at_leaver = await gone.node("leaver")
                half = asyncio.Event()

                def observe(event):
                    if getattr(event, "bytes_done", 0) > 2 * MiB:
                        half.set()

                left = asyncio.create_task(gone.get(leaver, added.cid, [at, at_stay], "leaver", observe=observe))
                kept = asyncio.create_task(w.get(stay, added.cid, [at, at_leaver], "stay"))
                await asyncio.wait([asyncio.create_task(half.wait()), left], return_when=asyncio.FIRST_COMPLETED)
                left.cancel()
                await asyncio.wait([left])
            await kept
            assert list(compare(dataset, w.target("stay"))) == []

    asyncio.run(run())


def test_what_an_interrupted_get_has_is_given_on_by_the_next(tmp_path, dataset):
    """Blocks that an earlier run wrote are found in the part, by the index."""

    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed")
            added = await seed.add(str(dataset))
            one, at_one = await w.node("one")

            def observe(event):
                if getattr(event, "bytes_done", 0) > 8 * MiB and not first.done():
                    first.cancel()

            first = asyncio.create_task(w.get(one, added.cid, [at], "one", observe=observe))
            await asyncio.wait([first])
            two, _ = await w.node("two", listen=False)
            again = asyncio.create_task(w.get(one, added.cid, [NOBODY if first.cancelled() else at], "one", wait_s=60))
            result = await w.get(two, added.cid, [at_one, at], "two")
            assert list(compare(dataset, w.target("two"))) == []
            again.cancel()
            await asyncio.wait([again])
            if first.cancelled():
                assert given(result, at_one) > 0

    asyncio.run(run())


def test_an_encrypted_dataset_is_shared_by_those_who_have_the_key(tmp_path, dataset):
    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed")
            await seed.new_key("team")
            key = await seed.export_key("team", plain=True)
            from wherry.session import Encryption

            added = await seed.add(str(dataset), encryption=Encryption(key="team"))
            leechers = [await w.node(f"l{number}") for number in range(2)]
            for session, _ in leechers:
                await session.import_key("team", key)
            addresses = [address for _, address in leechers]
            await asyncio.gather(
                *(
                    w.get(session, added.cid, [at, *(other for other in addresses if other != own)], f"l{number}")
                    for number, (session, own) in enumerate(leechers)
                )
            )
            for number in range(2):
                assert list(compare(dataset, w.target(f"l{number}"))) == []

    asyncio.run(run())


class Wrong(Held):
    """A block that is not what it is called."""

    def __init__(self, held):
        self._held, self.size = held, held.size

    def read_into(self, view):
        self._held.read_into(view)
        if len(view) > 10_000:
            view[100] ^= 1


def test_a_peer_that_lies_spoils_nothing(tmp_path, dataset):
    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed")
            added = await seed.add(str(dataset))
            liar, at_liar = await w.node("liar")
            await w.get(liar, added.cid, [at], "liar")
            holdings = liar._node.holdings
            find = holdings.find
            holdings.find = lambda cids: [held and Wrong(held) for held in find(cids)]
            good, _ = await w.node("good", listen=False)
            result = await w.get(good, added.cid, [at_liar, at], "good")
            assert list(compare(dataset, w.target("good"))) == []
            assert result.bytes == added.bytes

    asyncio.run(run())


def test_nobody_has_it(tmp_path, dataset):
    """Two that lack the same wait for each other no longer than they are told to."""

    async def run():
        async with world(tmp_path) as w:
            one, at_one = await w.node("one")
            two, at_two = await w.node("two")
            async with Session.open(home=tmp_path / "home-apart", environ={}) as apart:
                cid = (await apart.add(str(dataset))).cid
            results = await asyncio.gather(
                w.get(one, cid, [at_two], "one", wait_s=1.0),
                w.get(two, cid, [at_one], "two", wait_s=1.0),
                return_exceptions=True,
            )
            assert all(isinstance(problem, WherryError) for problem in results), results

    asyncio.run(run())


def test_who_selected_a_part_gives_it_on_and_says_which(tmp_path, dataset):
    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed")
            added = await seed.add(str(dataset))
            part, part_at = await w.node("part")
            await w.get(part, added.cid, [at], "part", include=("other", "small/*"), exclude=("file-1*",))
            size, here = part._node._held(CID.parse(added.cid))
            assert size == added.bytes
            copy = w.target("part")
            assert here.total == sum(file.stat().st_size for file in copy.rglob("*") if file.is_file())
            before = sent_by(seed)
            again, _ = await w.node("again", listen=False)
            await w.get(again, added.cid, [part_at], "again", include=("other",))  # from nobody else
            assert (w.target("again") / "other").read_bytes() == (dataset / "other").read_bytes()
            assert sent_by(seed) == before
            whole, _ = await w.node("whole", listen=False)
            found = await w.get(whole, added.cid, [part_at, at], "whole")
            assert list(compare(dataset, w.target("whole"))) == []
            assert 0 < given(found, part_at) <= 1.1 * here.total
            assert given(found, at) >= added.bytes - here.total

    asyncio.run(run())


def test_who_selects_a_part_gives_it_on_while_the_rest_comes(tmp_path, dataset):
    """The seed is slow; both others want the same part, and each of them brings the other what it has."""

    async def run():
        async with world(tmp_path) as w:
            seed, at = await w.node("seed")
            added = await seed.add(str(dataset))
            seed.traffic.set(Plan(node=Pair(up=6 * MiB)))
            (one, one_at), (two, two_at) = [await w.node(name) for name in ("one", "two")]
            await asyncio.gather(
                w.get(one, added.cid, [at, two_at], "one", include=("large",)),
                w.get(two, added.cid, [at, one_at], "two", include=("large",)),
            )
            for name in ("one", "two"):
                assert (w.target(name) / "large").read_bytes() == (dataset / "large").read_bytes()
            assert sent_by(one) + sent_by(two) > 2 * MiB

    asyncio.run(run())
