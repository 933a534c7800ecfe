"""Own names are renewed and handed over again, on a virtual clock; what another one published is left alone (specs/0034 §8)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from wherry.ipns.name import Name
from wherry.ipns.record import opened, written
from wherry.nodekey import NodeKey
from wherry.session import Session
from wherry.session.renewing import HAND_OVER_S, LOOK_S, Renewer, renewing

EMPTY = "/ipfs/bafkqaaa"
OTHER = "/ipfs/bafkqabtimvwgy3yk"
NOW = 1_800_000_000.0
HOUR = 3600.0


class Carrier:
    """A locator that carries names, in memory."""

    def __init__(self):
        self.records = {}
        self.puts = []
        self.failure = None

    async def name_records(self, name):
        if name in self.records:
            yield "carrier", self.records[name]

    async def put_record(self, name, record):
        if self.failure is not None:
            raise self.failure
        self.puts.append(record)
        self.records[name] = record
        return ["carrier"]


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@asynccontextmanager
async def opened_home(tmp_path, carrier=None, home="home"):
    """A session on a virtual clock, whose names `carrier` carries; what is said is in `said`."""
    async with Session.open(home=tmp_path / home, environ={}) as session:
        session._clock = session._passed = clock = Clock()
        session._wiring.locators = lambda: [("carrier", carrier)] if carrier is not None else []
        said = []
        yield session, clock, Renewer(session, said.append), said


def held(session, name):
    return session._names.known(Name.parse(name)).record


async def kinds(session, name):
    return [event.kind for event in await session.name_log(name)]


async def test_a_name_never_ends_while_a_node_runs(tmp_path):
    carrier = Carrier()
    async with opened_home(tmp_path, carrier) as (session, clock, renewer, said):
        first = await session.publish_name(EMPTY)
        assert (first.until, first.renews) == (written(int((NOW + 48 * HOUR) * 1e9)), written(int((NOW + 16 * HOUR) * 1e9)))
        for _ in range(5 * 24):  # ten days, look by look two hours apart
            await renewer.look()
            record = opened(carrier.records[first.name], Name.parse(first.name))
            assert record.until_ns / 1e9 - clock.now >= 30 * HOUR  # others always have some time left
            assert (record.value, record.sequence, record.ttl_ns) == (EMPTY, 0, 300 * 10**9)
            assert record.binary == held(session, first.name).binary
            clock.now += 2 * HOUR
        assert said == []
        assert await kinds(session, first.name) == ["published", "renewed"]
        (shown,) = renewer.reports
        assert (shown.name, shown.key, shown.told, shown.warnings) == (first.name, "self", ["carrier"], [])
        assert [one.renews for one in await session.names()] == [shown.renews]


async def test_records_are_handed_over_at_the_start_and_every_four_hours(tmp_path):
    carrier = Carrier()
    async with opened_home(tmp_path, carrier) as (session, clock, renewer, _):
        await session.publish_name(EMPTY)
        carrier.puts.clear()
        await renewer.look()
        await renewer.look()
        assert len(carrier.puts) == 1
        clock.now += HAND_OVER_S
        await renewer.look()
        assert len(carrier.puts) == 2
        assert len(set(carrier.puts)) == 1  # the very same: nothing was due
        assert (await session.publish_name(OTHER)).sequence == 1  # another process may do that as well
        carrier.puts.clear()
        await renewer.look()
        assert len(carrier.puts) == 1


async def test_a_record_that_is_over_is_renewed_and_readers_take_it(tmp_path):
    carrier = Carrier()
    async with opened_home(tmp_path, carrier) as (session, clock, renewer, _):
        name = (await session.publish_name(EMPTY, lifetime_s=60)).name
        async with opened_home(tmp_path, carrier, "reader") as (reader, other_clock, _, _):
            assert (await reader.resolve_name(name)).value == EMPTY
            clock.now = other_clock.now = NOW + 1000
            await renewer.look()
            found = await reader.resolve_name(name)
            assert (found.sequence, found.until) == (0, written(int((NOW + 1060) * 1e9)))
            assert await kinds(reader, name) == ["new", "renewed"]  # no equivocation


@pytest.mark.parametrize("value", [EMPTY, OTHER])
async def test_what_another_machine_published_is_not_written_over(tmp_path, value):
    carrier = Carrier()
    async with opened_home(tmp_path, carrier) as (session, clock, renewer, said):
        name = (await session.publish_name(EMPTY)).name
        key = session._name_keys.get("self")
        from wherry.ipns.record import create

        carrier.records[name] = theirs = create(key, value, 7, int((NOW + 90 * HOUR) * 1e9))
        clock.now += 20 * HOUR
        await renewer.look()
        assert carrier.records[name] == theirs
        assert [event.text.count("published elsewhere, with number 7") for event in said] == [1]
        clock.now += 2 * HOUR
        await renewer.look()
        assert len(said) == 1  # once
        assert carrier.records[name] == theirs
        assert "elsewhere" in renewer.reports[0].warnings[0]
        assert [one.renews for one in await session.names()] == [None]
        assert (await session.publish_name(OTHER, force=True)).sequence == 8
        await renewer.look()
        clock.now += 20 * HOUR
        await renewer.look()
        assert held(session, name).until_ns == int((clock.now + 48 * HOUR) * 1e9)
        assert renewer.reports[0].warnings == []


async def test_a_number_that_was_signed_twice_is_not_renewed(tmp_path):
    carrier = Carrier()
    async with opened_home(tmp_path, carrier) as (session, clock, renewer, said):
        name = (await session.publish_name(EMPTY)).name
        from wherry.ipns.record import create

        carrier.records[name] = create(session._name_keys.get("self"), OTHER, 0, int((NOW + 90 * HOUR) * 1e9))
        clock.now += 20 * HOUR
        await renewer.look()
        assert "two different records" in said[0].text
        assert held(session, name).until_ns == int((NOW + 48 * HOUR) * 1e9)
        assert [one.warnings for one in renewer.reports] == [[said[0].text.partition("now: ")[2]]]  # once


async def test_a_name_that_is_disputed_is_said_to_be_long_before_it_would_be_renewed(tmp_path):
    from wherry.errors import IntegrityError
    from wherry.ipns.record import create

    carrier = Carrier()
    async with opened_home(tmp_path, carrier) as (session, clock, renewer, _):
        name = (await session.publish_name(EMPTY)).name
        await renewer.look()
        assert renewer.reports[0].warnings == []
        carrier.records[name] = create(session._name_keys.get("self"), OTHER, 0, int((NOW + 90 * HOUR) * 1e9))
        with pytest.raises(IntegrityError):
            await session.resolve_name(name)
        await renewer.look()
        assert "two different records" in renewer.reports[0].warnings[0]
        clock.now, before = clock.now + HAND_OVER_S, len(carrier.puts)
        await renewer.look()
        assert len(carrier.puts) == before  # it is given on to nobody
        assert (await session.publish_name(EMPTY, force=True)).sequence == 1
        await renewer.look()
        assert renewer.reports[0].warnings == []


async def test_carriers_that_fail_are_tried_again_ever_later_and_said_once(tmp_path):
    from wherry.errors import PeerUnreachable

    carrier = Carrier()
    async with opened_home(tmp_path, carrier) as (session, clock, renewer, said):
        await session.publish_name(EMPTY)
        tries = []

        async def put_record(name, record):
            tries.append(clock.now - NOW)
            raise PeerUnreachable("nobody there", peer="x")

        whole, carrier.put_record = carrier.put_record, put_record
        for _ in range(6 * 60):  # six hours
            await renewer.look()
            clock.now += 60
        assert tries[:6] == [0, 60, 180, 420, 900, 1860]
        assert tries[-1] - tries[-2] == 3600
        assert [event.level for event in said] == ["warning"]
        assert renewer.reports[0].warnings
        carrier.put_record = whole
        clock.now += HOUR
        await renewer.look()
        assert renewer.reports[0].warnings == []


async def test_a_key_that_is_lost_is_said_and_no_renew_is_obeyed(tmp_path):
    async with opened_home(tmp_path) as (session, clock, renewer, said):
        await session.publish_name(EMPTY, key="lost")
        kept = (await session.publish_name(EMPTY, key="once", renew=False)).name
        assert held(session, kept).until_ns == int((NOW + 48 * HOUR) * 1e9)
        (tmp_path / "home/keys/names/lost.key").unlink()
        clock.now += 40 * HOUR
        await renewer.look()
        assert len(said) == 1
        assert "lost" in said[0].text
        assert held(session, kept).until_ns == int((NOW + 48 * HOUR) * 1e9)
        assert [one.key for one in renewer.reports] == ["lost"]


async def test_two_processes_of_one_home_renew_once(tmp_path):
    async with opened_home(tmp_path) as (session, clock, renewer, _):
        name = (await session.publish_name(EMPTY)).name
        async with opened_home(tmp_path) as (second, other_clock, other, other_said):
            clock.now = other_clock.now = NOW + 20 * HOUR
            await asyncio.gather(renewer.look(), other.look())
            assert held(session, name).binary == held(second, name).binary
            assert other_said == []
        assert await kinds(session, name) == ["published", "renewed"]


async def test_it_goes_on_with_a_state_that_cannot_be_read_and_ends_when_it_is_told(tmp_path):
    from wherry.errors import StoreError

    async with opened_home(tmp_path) as (session, _, _, said):
        turns = asyncio.Queue()

        async def sleep(seconds):
            await turns.put(seconds)
            await asyncio.sleep(0)

        def broken():
            raise StoreError("it is damaged")

        session._sleep = sleep
        async with renewing(session, said.append) as renewer:
            renewer._book.own = broken
            for _ in range(3):
                assert await turns.get() == LOOK_S
        assert {event.text for event in said} == {"names are not renewed now: it is damaged"}


async def test_a_node_that_serves_renews(tmp_path):
    async with opened_home(tmp_path) as (session, clock, _, _):
        name = (await session.publish_name(EMPTY)).name
        clock.now += 100 * HOUR
        looked = asyncio.Event()

        async def sleep(_seconds):
            looked.set()
            await asyncio.Event().wait()

        session._sleep = sleep
        async with session.serve(listen=["http://127.0.0.1:0"]), asyncio.timeout(20):
            await looked.wait()
            assert [one.name for one in session._renewed()] == [name]
        assert not held(session, name).expired(clock.now)


def test_a_home_that_published_before_there_was_renewal_renews(tmp_path):
    import sqlite3

    from wherry.ipns.record import create
    from wherry.store import state as module
    from wherry.store.names import NameBook
    from wherry.store.state import StateDB

    key = NodeKey(b"k" * 32)
    name = Name.of(key.public)
    older = sqlite3.connect(tmp_path / "state.db")
    older.executescript(f"{module._ROOTS};{module._TRANSFERS};{module._RULES};{module._NAMES}")
    record = create(key, EMPTY, 3, int((NOW + 100) * 1e9))
    older.execute("INSERT INTO names VALUES (?,?,?,?,?)", (bytes(name), (3).to_bytes(8, "big"), record, NOW, "self"))
    older.execute("PRAGMA user_version=4")
    older.commit()
    older.close()
    state = StateDB(tmp_path)
    book = NameBook(state)
    assert book.renew(key, NOW).sequence == 3
    assert book.renew(key, NOW) is None
    state.close()


# A clock that is put forward and back

YEARS = 10 * 365 * 24 * HOUR


@asynccontextmanager
async def two_clocks(tmp_path, carrier):
    """The same, with time that passes beside the clock; the renewer began before anything was put anywhere."""
    async with opened_home(tmp_path, carrier) as (session, clock, _, said):
        session._passed = passed = Clock()
        yield session, clock, passed, Renewer(session, said.append), said


async def test_what_a_clock_says_that_was_put_forward_is_not_signed(tmp_path):
    carrier = Carrier()
    async with two_clocks(tmp_path, carrier) as (session, clock, passed, renewer, said):
        name = (await session.publish_name(EMPTY)).name
        await renewer.look()
        clock.now += YEARS
        for _ in range(3):
            await renewer.look()
            passed.now, clock.now = passed.now + 600, clock.now + 600
        assert [("forward by 87600h00m" in event.text, "not renewed now" in event.text) for event in said] == [(True, True)]
        assert held(session, name).until_ns == int((NOW + 48 * HOUR) * 1e9)
        assert "the clock was put forward" in renewer.reports[0].warnings[0]
        clock.now = NOW + 1800
        await renewer.look()
        assert renewer.reports[0].warnings == []
        passed.now, clock.now = passed.now + 20 * HOUR, clock.now + 20 * HOUR
        await renewer.look()
        assert held(session, name).until_ns == int((clock.now + 48 * HOUR) * 1e9)
        assert len(said) == 1


@pytest.mark.parametrize(("lifetime_s", "settled_s"), [(48 * HOUR, HOUR), (300.0, 100.0)])
async def test_a_clock_that_stays_where_it_was_put_is_taken_for_right(tmp_path, lifetime_s, settled_s):
    async with two_clocks(tmp_path, Carrier()) as (session, clock, passed, renewer, _):
        name = (await session.publish_name(EMPTY, lifetime_s=lifetime_s)).name
        clock.now += YEARS  # it was wrong before
        await renewer.look()
        passed.now, clock.now = passed.now + settled_s - 1, clock.now + settled_s - 1
        await renewer.look()
        assert held(session, name).until_ns == int((NOW + lifetime_s) * 1e9)
        passed.now, clock.now = passed.now + 1, clock.now + 1
        await renewer.look()
        assert held(session, name).until_ns == int((clock.now + lifetime_s) * 1e9)
        assert renewer.reports[0].warnings == []


async def test_after_a_jump_back_records_are_handed_over_and_failures_tried_again_in_time(tmp_path):
    from wherry.errors import PeerUnreachable

    carrier = Carrier()
    async with two_clocks(tmp_path, carrier) as (session, clock, passed, renewer, _):
        clock.now += YEARS
        await session.publish_name(EMPTY, lifetime_s=2 * YEARS)
        await renewer.look()
        clock.now -= YEARS
        carrier.puts.clear()
        passed.now += HAND_OVER_S
        carrier.failure = PeerUnreachable("nobody there", peer="x")
        await renewer.look()
        assert renewer.reports[0].warnings
        carrier.failure = None
        passed.now += 60
        await renewer.look()
        assert len(carrier.puts) == 1


async def test_a_record_that_a_wrong_clock_signed_is_said_to_be(tmp_path):
    async with two_clocks(tmp_path, Carrier()) as (session, clock, _, renewer, said):
        clock.now += 300
        await session.publish_name(EMPTY)
        clock.now -= 300
        assert [one.warnings for one in await session.names()] == [[]]
        clock.now += YEARS
        await session.publish_name(EMPTY)
        clock.now -= YEARS
        for _ in range(2):
            await renewer.look()
        wrong = "published while the clock was wrong: publish it again when it is right"
        assert [one.warnings for one in await session.names()] == [[wrong]]
        assert wrong in renewer.reports[0].warnings
        assert [wrong in event.text for event in said] == [True]
        await session.publish_name(EMPTY)
        await renewer.look()
        assert [one.warnings for one in await session.names()] == [[]]
        assert renewer.reports[0].warnings == []
