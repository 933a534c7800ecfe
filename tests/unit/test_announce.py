"""Announcing while serving: those locators that can; one that fails costs a note, and serving goes on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from wherry.errors import LocalError
from wherry.transfer.announce import announced
from wherry_locate.static import Static


class Announces(Static):
    def __init__(self, *, enters=None, leaves=None):
        super().__init__([])
        self.events = []
        self.enters, self.leaves = enters, leaves

    @asynccontextmanager
    async def announce(self, addresses):
        await fail(self.enters)
        self.events.append(("begins", list(addresses)))
        try:
            yield
        finally:
            self.events.append("ends")
            await fail(self.leaves)


async def fail(how):
    if how == "hangs":
        await asyncio.sleep(60)
    elif how is not None:
        raise how


async def live(*locators):
    """Announces with locators l0, l1...; gives the notes."""
    notes = []
    named = [(f"l{number}", locator) for number, locator in enumerate(locators)]
    async with asyncio.timeout(10), announced(named, ["http://a:1"], notes.append, patience_s=0.1):
        for locator in locators:
            if isinstance(locator, Announces) and locator.enters is None:
                assert locator.events == [("begins", ["http://a:1"])]
    return [note.text for note in notes]


async def test_those_that_can_announce_while_it_lasts():
    one, two = Announces(), Announces()
    assert await live(one, Static([]), two) == []
    assert one.events == two.events == [("begins", ["http://a:1"]), "ends"]


@pytest.mark.parametrize("how", [LocalError("no multicast"), OSError("x"), KeyError("a bug"), "hangs"])
async def test_one_that_cannot_begin_or_end_costs_a_note(how):
    other = Announces()
    for locator, doing in ((Announces(enters=how), "announce"), (Announces(leaves=how), "withdraw")):
        notes = await live(other, locator)
        assert len(notes) == 1
        assert f"the locator l1 cannot {doing} this node" in notes[0]
        assert other.events[-1] == "ends"
        other.events.clear()


async def test_what_the_body_raises_is_raised_and_all_end():
    one = Announces(leaves=OSError("x"))
    notes = []
    with pytest.raises(ZeroDivisionError):
        async with announced([("l", one)], [], notes.append):
            raise ZeroDivisionError
    assert one.events[-1] == "ends"
    assert len(notes) == 1
