"""The pure parts of the daemon: states, queue, retries, records, meter, and what requests may say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import errors
from wherry.daemon import queue, requests, retry
from wherry.daemon.meter import WINDOW_S, Meter
from wherry.daemon.record import CLASSES, Asked, Failure, Record
from wherry.daemon.states import ASKED, CHANGES, OVER, STATES, UNFINISHED, after
from wherry.errors import StoreError, TargetError, UsageError, WherryError
from wherry.limits import CONTROL_BODY_BYTES_MAX, PRIORITY_MAX, TRANSFER_SOURCES_MAX

SPEC = (Path(__file__).parents[2] / "specs/0027-daemon.md").read_text()


def table(section):
    text = SPEC.split(f"\n## {section}.")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


# States


def test_the_changes_are_those_of_the_specification():
    head, _, *rows = table(4)
    actions = [cell.strip("`") for cell in head[1:]]
    found = {(row[0], action): cell for row in rows for action, cell in zip(actions, row[1:], strict=True) if cell}
    assert found == CHANGES
    assert {row[0] for row in rows} == set(STATES)


@given(st.sampled_from(STATES), st.sampled_from(sorted({action for _, action in CHANGES})))
def test_what_is_not_in_the_table_is_refused_with_what_can_be_done(state, action):
    if (state, action) in CHANGES:
        assert after(state, action) in STATES
        return
    with pytest.raises(UsageError, match=f"t1 is {state}, so it cannot {action}") as caught:
        after(state, action, "t1")
    for other in ASKED:
        if state not in OVER:
            assert (other in (caught.value.hint or "")) == ((state, other) in CHANGES)


def test_a_state_is_unfinished_or_its_data_is_whole_or_given_up():
    assert UNFINISHED | OVER | {"seeding"} == set(STATES)


# The queue


def record(number, **changes):
    names = [name for name in ("traffic_class", "priority") if name in changes]
    asked = replace(Asked(what="c", output=f"/o/{number}"), **{name: changes.pop(name) for name in names})
    return replace(Record(number=number, asked=asked), **changes)


def test_the_order_is_class_then_priority_then_age():
    records = [
        record(1, traffic_class="bulk", priority=100),
        record(2),
        record(3, priority=1),
        record(4, traffic_class="interactive", priority=-100),
        record(5, traffic_class="high"),
        record(6),
    ]
    assert [one.number for one in queue.waiting(records)] == [4, 5, 3, 2, 6, 1]


RECORDS = st.lists(
    st.tuples(st.sampled_from(STATES), st.sampled_from(CLASSES), st.integers(-5, 5), st.sampled_from((None, 5.0, 50.0))),
    max_size=30,
)


@given(RECORDS, st.integers(0, 8), st.data())
def test_no_more_start_than_there_are_places_and_none_before_a_better_one(rows, most, data):
    records = [
        record(number, state=state, traffic_class=cls, priority=priority, retry_at=at)
        for number, (state, cls, priority, at) in enumerate(rows, 1)
    ]
    running = {one.number for one in records if one.state == "running"}
    ending = data.draw(st.sets(st.sampled_from([one.number for one in records] or [99]), max_size=3))
    started = queue.to_start(records, running | ending, most, now=10.0)
    assert len(started) <= max(0, most - len(running | ending))
    assert all(one.state == "queued" and (one.retry_at or 0) <= 10 and one.number not in ending for one in started)
    left = [
        one for one in records
        if one.state == "queued" and (one.retry_at or 0) <= 10 and one not in started and one.number not in ending
    ]  # fmt: skip
    if left:
        assert len(started) == max(0, most - len(running | ending))
        assert not started or max(map(queue.place, started)) < min(map(queue.place, left))
    wait = queue.next_try(records, 10.0)
    later = [one.retry_at for one in records if one.state == "queued" and one.retry_at == 50.0]
    assert wait == (40.0 if later else None)


# Retries


def kinds():
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WherryError)]


def made(kind):
    return kind("x")


def test_what_is_tried_again_is_what_the_specification_says():
    said = {}
    for row in table(5)[2:]:
        for name in re.findall(r"`(\w+)`", row[0]):
            said[getattr(errors, name)] = row[1] == "yes"
    del said[WherryError]  # of what is none
    for kind in kinds():
        if kind is WherryError:
            continue
        expected = next(said[above] for above in kind.__mro__ if above in said)
        assert retry.may_retry(made(kind)) == expected, kind
    assert not retry.may_retry(WherryError("a fault"))


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        (errors.NoSource, True), (errors.PeerTimeout, True), (errors.PeerDenied, False), (errors.UsageError, False),
        (errors.TargetExists, False), (errors.NoKey, False), (errors.NoSpace, False), (errors.IntegrityError, True),
    ],
)  # fmt: skip
def test_what_is_tried_again_by_example(kind, again):
    assert retry.may_retry(kind("x")) is again


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_are_bounded(failures, chance):
    seconds = retry.pause(failures, chance)
    assert 0 <= seconds <= min(retry.PAUSE_S_MAX, retry.BASE_S * 2.0 ** min(failures - 1, 30))
    assert retry.pause(failures + 1, chance) >= seconds


def test_the_budget():
    assert not retry.spent(1, 1)
    assert retry.spent(2, 1)
    assert retry.spent(1, 0)


# Records

FULL = Record(
    number=7,
    asked=Asked(
        what="bafy", output="/a/\udc80", sources=("http://h:1", "lab"), traffic_class="high", priority=-3, seed=False,
        limit_up=5,
    ),
    state="failed", added=1.5, changed=2.5, failures=3, retry_at=4.0,
    failure=Failure(error="NoSource", message="gone", hint=None, exit_code=7), bytes_done=1, bytes_total=2, fetched_bytes=3,
)  # fmt: skip


def test_a_record_is_read_as_it_was_written_also_with_more_in_it():
    assert Record.of_text(7, FULL.to_text()) == FULL
    assert FULL.id == "t7"
    more = json.loads(FULL.to_text())
    more["new"] = more["asked"]["new"] = more["failure"]["new"] = 1
    assert Record.of_text(7, json.dumps(more)) == FULL


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"asked": {}}', "[" * 100_000, FULL.to_text().replace('"failed"', '"lost"'),
     FULL.to_text().replace('"high"', '"huge"'), FULL.to_text().replace("-3", "-300"), FULL.to_text().replace("-3", '"a"')],
)  # fmt: skip
def test_a_damaged_record_is_a_typed_error(text):
    with pytest.raises(StoreError, match="t3 cannot be read"):
        Record.of_text(3, text)


# The meter


def test_a_rate_over_a_window():
    meter = Meter(0.0)
    assert meter.rate(0.0) == 0
    for tick in range(400):
        meter.add(10, tick / 10)
    assert meter.total == 4000
    assert meter.rate(40.0) == pytest.approx(100, rel=0.1)
    assert meter.rate(40 + 3 * WINDOW_S) == 0
    meter.add(500, 40 + 3 * WINDOW_S)
    assert meter.rate(45 + 3 * WINDOW_S) == pytest.approx(500 / (WINDOW_S + 5), rel=0.01)


# Requests

GOOD = {"what": "bafy", "output": "/o"}


def body(**keys):
    return json.dumps({**GOOD, **keys}).encode()


def test_a_transfer_that_is_asked_for():
    found = requests.decode_add(
        body(sources=["http://h:1", "lab"], traffic_class="bulk", priority=5, seed=False, limit_up=0, limit_down=9)
    )
    assert found == Asked(
        what="bafy", output="/o", sources=("http://h:1", "lab"), traffic_class="bulk", priority=5, seed=False, limit_down=9
    )
    assert requests.decode_add(body()) == Asked(what="bafy", output="/o")
    assert requests.decode_add(body(), seed=False).seed is False
    assert requests.decode_add(body(output="null:")).output == "null:"
    with pytest.raises(TargetError, match="not UTF-8"):  # it could not be written down
        requests.decode_add(body(output="/a/\udc80"))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no JSON"), (b"\xff", "no JSON"), (b"[]", "no JSON object"), (b"[" * 50_000, "no JSON"),
        (b'{"a":NaN}', "no JSON"),
        (b'{"what":"a","what":"b","output":"/o"}', "no JSON"), (b" " * (CONTROL_BODY_BYTES_MAX + 1), "at most"),
        (body(prioritty=1), "unknown key"), (body(zzz=1), "unknown key"), (b"{}", "what is no text"), (body(what=""), "what"),
        (body(what=5), "what"), (body(what="x" * 5000), "what"), (body(output="rel"), "no absolute"),
        (body(output="/a\0"), "output"),
        (body(output="/\ud800"), "surrogate"), (body(sources="http://h"), "sources"),
        (body(sources=["a"] * (TRANSFER_SOURCES_MAX + 1)), "sources"), (body(sources=[5]), "source"),
        (body(sources=["http://h\n"]), "source"), (body(sources=["http://" + "h" * 3000]), "source"),
        (body(traffic_class="huge"), "traffic_class"), (body(traffic_class=[]), "traffic_class"),
        (body(priority=PRIORITY_MAX + 1), "priority"), (body(priority=True), "priority"), (body(priority=1.0), "priority"),
        (body(seed=1), "seed"), (body(limit_up=-1), "limit_up"), (body(limit_down="5"), "limit_down"),
        (body(limit_up=1 << 60), "limit_up"), (b'{"limit_up":' + b"9" * 5000 + b"}", "no JSON"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_says_what(data, word):
    with pytest.raises(UsageError, match=word):
        requests.decode_add(data)


def test_a_near_miss_is_named():
    with pytest.raises(UsageError) as caught:
        requests.decode_add(body(prioritty=1))
    assert "'priority'" in caught.value.hint


def test_settings_change_what_they_name():
    asked = Asked(what="c", output="/o", limit_up=5, limit_down=6)
    assert requests.decode_change(b"{}").of(asked) == asked
    change = requests.decode_change(b'{"traffic_class":"high","priority":2,"seed":false,"limit_up":0,"limit_down":8}')
    assert change.of(asked) == replace(asked, traffic_class="high", priority=2, seed=False, limit_up=None, limit_down=8)


@pytest.mark.parametrize("scope", ["node", "class:bulk", "transfer:t3", "peer", "peer:192.0.2.7", "peer:12D3KooWabc"])
def test_scopes(scope):
    assert requests.decode_limit(json.dumps({"scope": scope, "up": 5}).encode()) == requests.LimitChange(scope=scope, up=5)


def test_a_transfer_may_be_named_by_its_number():
    assert requests.parse_scope("transfer:3") == "transfer:t3"
    assert requests.parse_scope("peer:[::FFFF:192.0.2.7]") == "peer:192.0.2.7"
    assert requests.parse_number("t12") == requests.parse_number("12") == 12


@pytest.mark.parametrize(
    "scope", ["", "all", "node:", "class:huge", "transfer:", "transfer:x", "peer:", "peer:h:1", "peer:a b"]
)
def test_what_is_no_scope(scope):
    with pytest.raises(UsageError):
        requests.decode_limit(json.dumps({"scope": scope}).encode())


KEYS = st.sampled_from(["what", "output", "sources", "priority", "scope", "up"]) | st.text()
VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_value_or_a_usage_error(data):
    for decode in (requests.decode_add, requests.decode_change, requests.decode_limit):
        try:
            decode(data)
        except UsageError as problem:
            assert len(problem.message) < 1000
