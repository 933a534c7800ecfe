"""What a running transfer tells of itself, and when there is something to tell (specs/0027 §4, §6)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from wherry.daemon.entry import Entry
from wherry.daemon.meter import WINDOW_S
from wherry.daemon.record import Asked, Record
from wherry.observe import Progress
from wherry.transfer import pace
from wherry.transfer.pace import paced

FAR = Progress(verb="get", phase="fetch", bytes_done=0, bytes_total=1000, wire_bytes=0, sources_alive=1)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def entry(clock):
    entry = Entry(Record(number=1, asked=Asked(what="a", output="null:"), state="running"), clock)
    entry.begin()
    return entry


def test_it_tells_what_changes_and_nothing_else(entry, clock):
    assert entry.progress(FAR)
    clock.now = 1.0
    assert not entry.progress(FAR)
    assert entry.progress(replace(FAR, sources_alive=2))
    assert not entry.progress(replace(FAR, sources_alive=2))
    entry.ledger.now("limited")
    assert entry.progress(replace(FAR, sources_alive=2))


def test_a_rate_that_falls_is_told_until_it_is_nothing(entry, clock):
    entry.progress(FAR)
    moved = replace(FAR, wire_bytes=500, bytes_done=500)
    assert entry.progress(moved)
    rates = []
    while entry.progress(moved):
        clock.now += 1.0
        rates.append(entry.report().rate)
        assert len(rates) < 100
    assert rates[0] > rates[-1] == 0
    assert clock.now <= 2 * WINDOW_S + 2
    assert not entry.progress(moved)


async def test_who_does_not_get_on_is_told_of_now_and_then_and_at_the_end(monkeypatch):
    monkeypatch.setattr(pace, "_EVERY_S", 0.001)
    monkeypatch.setattr(pace, "_RARELY_S", 0.002)
    told, looks = [], 0

    def progress():
        nonlocal looks
        looks += 1
        return FAR if looks < 100 else replace(FAR, bytes_done=looks)

    async with paced(told.append, progress):
        while looks < 120:
            await asyncio.sleep(0.001)
    assert told.count(FAR) == 99 - pace._STILL
    assert len(told) - told.count(FAR) == looks - 99
