"""Asking locators: all at once, bounded, believed in nothing; one that misbehaves costs a note and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from wherry.abc.locator import Locator
from wherry.cid import CID, RAW
from wherry.dial import LAN, NAMED, PUBLIC
from wherry.errors import PeerDenied, PeerUnreachable, PluginBroken, Unwritable, UsageError
from wherry.limits import ADDRESS_CHARS_MAX, LOCATE_ADDRESSES_MAX
from wherry.transfer.locate import Finder

CID_ = CID.of(RAW, b"x")
PATIENCE_S = 0.3


class Says(Locator):
    def __init__(self, *addresses, reach="public", after=0.0):
        self.addresses, self.reach, self.after = addresses, reach, after
        self.asked = 0
        self.closed = False

    async def locate(self, cid):
        self.asked += 1
        try:
            await asyncio.sleep(self.after)
            for address in self.addresses:
                yield address
        finally:
            self.closed = True


def by_function(function, reach="public"):
    class Made(Locator):
        locate = staticmethod(function)

    made = Made()
    made.reach = reach
    return made


class Made:
    """A finder, and what it noted."""

    def __init__(self, *locators, usable=lambda address, dial: ""):
        self.notes = []
        named = [(f"l{number}", locator) for number, locator in enumerate(locators)]
        self.finder = Finder(lambda: named, usable, self.notes.append, patience_s=PATIENCE_S)

    async def addresses(self):
        async with asyncio.timeout(10):
            return [address async for address in self.finder.addresses(CID_)]

    async def hints(self):
        async with asyncio.timeout(10):
            return [hint async for hint in self.finder.hints(CID_)]


async def test_all_are_asked_at_once_and_each_address_is_given_once():
    made = Made(Says("http://slow:1", "http://b:1", after=0.1), Says("http://a:1", "http://b:1"), Says())
    assert await made.addresses() == ["http://a:1", "http://b:1", "http://slow:1"]
    assert made.notes == []


@pytest.mark.parametrize("wish", [20, 20.0])
async def test_one_that_needs_longer_gets_it(wish):
    slow = Says("http://slow:1", after=3 * PATIENCE_S)
    slow.patience_s = wish
    hangs = by_function(Says("http://never:1", after=60).locate)
    made = Made(slow, hangs)
    assert await made.addresses() == ["http://slow:1"]
    assert [note.text for note in made.notes] == [f"the locator l1 was stopped after {PATIENCE_S:.0f} s"]


@pytest.mark.parametrize("wish", [None, 0.0, -1.0, "long", float("nan"), 1e-9])
async def test_what_is_no_longer_time_changes_nothing(wish):
    odd = Says("http://odd:1", after=60)
    odd.patience_s = wish
    made = Made(odd)
    assert await made.addresses() == []
    assert "was stopped after" in made.notes[0].text


async def test_what_is_known_early_is_given_early():
    made = Made(Says("http://a:1"), Says("http://late:1", after=PATIENCE_S * 0.8))
    found = made.finder.addresses(CID_)
    async with asyncio.timeout(PATIENCE_S * 0.7):
        assert await anext(found) == "http://a:1"
    await found.aclose()


async def test_each_address_keeps_the_policy_of_who_gave_it_and_the_widest_of_several():
    made = Made(
        Says("http://p:1", "http://both:1", "http://all:1", reach="public"),
        Says("http://l:1", "http://both:1", "http://all:1", reach="lan"),
        Says("http://n:1", "http://all:1", reach="named"),
    )
    await made.addresses()
    dials = {host: made.finder.dial(f"http://{host}:1") for host in ("p", "l", "n", "both", "all", "unheard-of")}
    assert dials == {"p": PUBLIC, "l": LAN, "n": NAMED, "both": LAN, "all": NAMED, "unheard-of": NAMED}


async def test_one_that_hangs_is_stopped():
    hangs = Says("http://never:1", after=60)
    made = Made(hangs, Says("http://a:1"))
    assert await made.addresses() == ["http://a:1"]
    assert [note.text for note in made.notes] == ["the locator l0 was stopped after 0 s"]
    assert hangs.closed


async def test_one_that_does_not_let_itself_be_stopped_is_left_behind():
    freed = asyncio.Event()

    async def stubborn(cid):
        while not freed.is_set():
            try:
                await freed.wait()
            except asyncio.CancelledError:
                continue
        yield "http://late:1"

    made = Made(by_function(stubborn), Says("http://a:1"))
    assert await made.addresses() == ["http://a:1"]
    assert any("left behind" in note.text for note in made.notes)
    freed.set()
    await asyncio.sleep(0.05)


async def test_one_that_floods_is_cut_and_does_not_keep_the_others_from_it():
    given = 0

    async def flood(cid):
        nonlocal given
        while True:  # without ever waiting
            given += 1
            yield f"http://flood{given}:1"

    made = Made(by_function(flood), Says("http://a:1"))
    found = await made.addresses()
    assert "http://a:1" in found
    assert len(found) == LOCATE_ADDRESSES_MAX + 1
    assert given == LOCATE_ADDRESSES_MAX


async def test_rubbish_counts_and_is_not_used():
    rubbish = [
        7, None, b"http://a:1", "", "http:", "no address", "http://a b:1", "http://a\n:1", "HTTP://a:1", "http://ä:1", "//a",
        "x" * (ADDRESS_CHARS_MAX + 1), "http://" + "a" * ADDRESS_CHARS_MAX,
    ]  # fmt: skip
    made = Made(Says(*rubbish, "http://fine:1"))
    assert await made.addresses() == ["http://fine:1"]
    assert all(note.level == "info" and len(note.text) < 300 and note.text.isprintable() for note in made.notes)
    hints = await made.hints()
    assert [hint.fault for hint in hints if hint.address == "http://fine:1"] == [""]
    assert all(hint.fault for hint in hints if hint.address != "http://fine:1")
    assert await Made(Says(*[str(n) for n in range(LOCATE_ADDRESSES_MAX)], "http://fine:1")).addresses() == []


async def test_what_no_transport_speaks_is_not_used():
    asked = []

    def usable(address, dial):
        asked.append((address, dial))
        return "" if address.startswith("http:") else "no transport speaks it"

    made = Made(Says("ftp://a:1", "http://a:1", reach="lan"), usable=usable)
    assert await made.addresses() == ["http://a:1"]
    assert asked == [("ftp://a:1", LAN), ("http://a:1", LAN)]
    assert "no transport speaks it" in made.notes[0].text


async def raises(cid):
    raise KeyError("a bug")
    yield


async def fails(cid):
    yield "http://first:1"
    raise PeerUnreachable("the tracker is away", peer="t")


async def cannot(cid):
    raise Unwritable("no network here", hint="plug it in")
    yield


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (raises, "broken: KeyError"),
        (fails, "failed: the tracker is away"),
        (cannot, "failed: no network here (plug it in)"),
        (lambda cid: None, "broken"),
        (lambda cid: ["http://a:1"], "broken"),
        (lambda: None, "broken: TypeError"),
    ],
)
async def test_one_that_fails_costs_a_note(function, word):
    made = Made(by_function(function), Says("http://a:1"))
    assert "http://a:1" in await made.addresses()
    (note,) = made.notes
    assert (note.level, word in note.text) == ("warning", True)


async def test_what_was_given_before_a_failure_counts():
    assert await Made(by_function(fails)).addresses() == ["http://first:1"]


@pytest.mark.parametrize("reach", ["", "everywhere", None, 7, ["public"]])
async def test_one_whose_reach_is_unknown_is_not_listened_to(reach):
    made = Made(Says("http://a:1", reach=reach))
    assert await made.addresses() == []
    assert "reach" in made.notes[0].text or "unhashable" in made.notes[0].text


async def test_leaving_early_stops_them_all():
    locators = [Says("http://a:1"), Says("http://b:1", after=60)]
    made = Made(*locators)
    found = made.finder.addresses(CID_)
    assert await anext(found) == "http://a:1"
    await found.aclose()
    assert all(locator.closed for locator in locators)


async def test_one_that_cannot_be_built_is_the_users_to_know():
    def build():
        raise PluginBroken("needs zeroconf")

    finder = Finder(build, lambda address, dial: "", lambda event: None)
    with pytest.raises(PluginBroken):
        await anext(finder.addresses(CID_))


async def test_connecting_takes_the_policy_of_the_address():
    made = Made(Says("http://a:1", reach="lan"), Says("http://b:1"))
    await made.addresses()
    dialled = []

    @asynccontextmanager
    async def connect(address, dial):
        dialled.append((address, dial))
        yield "channel"

    for address in ("http://a:1", "http://b:1"):
        async with made.finder.connecting(connect)(address) as channel:
            assert channel == "channel"
    assert dialled == [("http://a:1", LAN), ("http://b:1", PUBLIC)]


async def test_an_address_that_looked_right_and_is_not_was_not_the_users_mistake():
    made = Made(Says("http://host:99999/path"))
    await made.addresses()

    @asynccontextmanager
    async def connect(address, dial):
        raise UsageError("no port 99999")
        yield

    with pytest.raises(PeerDenied, match="no port 99999"):
        async with made.finder.connecting(connect)("http://host:99999/path"):
            pass
    with pytest.raises(UsageError):  # one that nobody found
        async with made.finder.connecting(connect)("http://named:99999"):
            pass


async def test_a_mistake_made_with_a_channel_stays_one():
    made = Made(Says("http://a:1"))
    await made.addresses()

    @asynccontextmanager
    async def connect(address, dial):
        yield "channel"

    with pytest.raises(UsageError):
        async with made.finder.connecting(connect)("http://a:1"):
            raise UsageError("of whoever uses it")
