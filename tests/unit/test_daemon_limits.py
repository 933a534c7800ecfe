"""The limits that a daemon shows, and what of them the timetable puts aside."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wherry.daemon.limits import NodeLimits
from wherry.daemon.reports import LimitReport
from wherry.errors import UsageError
from wherry.traffic import Pair, Plan, Traffic
from wherry.traffic.plan import read_timetable

NIGHT, DAY, NOON = (datetime(2026, 11, 27, hour, tzinfo=UTC) for hour in (3, 9, 12))  # a Friday
ROWS = ("daily 08:00-10:00 up 1 MB/s", "daily 11:00-13:00 up none down none")


@pytest.fixture
def limits():
    now = [NIGHT]
    found = NodeLimits(Traffic(Plan(node=Pair(5e6, 6e6), timetable=read_timetable(ROWS)), wall=lambda: now[0]))
    return found, now


def test_what_the_timetable_puts_in_the_nodes_place_is_said_while_it_does(limits):
    found, now = limits
    node = LimitReport(scope="node", up=5_000_000, down=6_000_000)
    assert found.show() == [node]
    now[0] = DAY
    assert found.show() == [LimitReport(scope="timetable", up=1_000_000, down=6_000_000), node]
    now[0] = NOON  # no limit at all is a limit too, in the place of the node's
    assert found.show() == [LimitReport(scope="timetable", up=None, down=None), node]
    found.set("node", up=2_000_000)
    assert [one.up for one in found.show()] == [None, 2_000_000]
    found.off()
    assert found.show() == []


def test_what_cannot_be_limited_is_refused(limits):
    for scope in ("timetable", "class:slow", "peer:", "all"):
        with pytest.raises(UsageError):
            limits[0].set(scope, up=1_000_000)
