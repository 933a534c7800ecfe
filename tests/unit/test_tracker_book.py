"""What a tracker remembers, on a clock of the test's: expiry, order, and a bound in each direction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.cid import CID, RAW
from wherry.errors import DataError
from wherry.ipns.name import Name
from wherry.ipns.record import create, opened
from wherry.nodekey import NodeKey
from wherry_locate.announcement import Announcement
from wherry_locate.server.book import Book, record_of
from wherry_locate.server.filters import Filters
from wherry_locate.server.options import TrackerServerOptions
from wherry_locate.server.rates import Rates
from wherry_locate.server.vouched import plain_ip, vouched

NOW = 1_000_000.0
OPTIONS = TrackerServerOptions()


def cid(number):
    return CID.of(RAW, b"%d" % number)


def said(peer="p", *numbers, at=NOW, **more):
    return Announcement(peer, int(at * 1e6), 0.0, (), ("transport-wherry-tcp",), tuple(map(cid, numbers)), **more)


def where(number):
    return [f"/ip4/192.0.2.{number % 256}/tcp/{4000 + number}"]


@pytest.fixture
def book(tmp_path):
    made = []

    def opened(**changes):
        made.append(Book(tmp_path / "records.db", replace(OPTIONS, **changes)))
        return made[-1]

    yield opened
    for each in made:
        each.close()


def peers(book, number, now=NOW):
    return {listed.peer for listed in book.providers(cid(number).digest, now)}


def test_what_was_announced_is_known_until_it_expires(book):
    known = book()
    known.announce(said("a", 1, 2), where(1), "net", NOW, 60.0)
    known.announce(said("b", 2, partial=True), where(2), "net", NOW, 120.0)
    assert (peers(known, 1), peers(known, 2), peers(known, 3)) == ({"a"}, {"a", "b"}, set())
    assert {listed.peer: listed.partial for listed in known.providers(cid(2).digest, NOW)} == {"a": False, "b": True}
    assert known.peer("a", NOW)[0].addrs == where(1)
    assert peers(known, 2, NOW + 60.0) == {"b"}
    assert known.peer("a", NOW + 60.0) == []
    assert known.sizes() == (2, 3)
    assert not known.sweep(NOW + 60.0)
    assert known.sizes() == (2, 1)  # the place is kept for as long as a copy could come
    known.sweep(NOW + 2000.0)
    assert known.sizes() == (0, 0)


def test_another_process_finds_it(book):
    book().announce(said("a", 1), where(1), "net", NOW, 60.0)
    again = book()
    assert peers(again, 1) == {"a"}
    assert again.sizes() == (1, 1)
    with pytest.raises(DataError):
        again.announce(said("a", 1), where(1), "net", NOW, 60.0)


def test_a_copy_is_refused_also_after_a_withdrawal_and_a_sweep(book):
    known = book()
    first = said("a", 1)
    known.announce(first, where(1), "net", NOW, 60.0)
    for copy in (first, said("a", 1, at=NOW - 1)):
        with pytest.raises(DataError, match="as new"):
            known.announce(copy, where(1), "net", NOW + 1, 60.0)
    known.withdraw(said("a", at=NOW + 1, withdraw=True), where(1), NOW + 1)
    known.sweep(NOW + OPTIONS.skew_s_behind - 1)
    assert peers(known, 1) == set()
    with pytest.raises(DataError):
        known.announce(first, where(1), "net", NOW + OPTIONS.skew_s_behind - 1, 60.0)
    with pytest.raises(DataError):
        known.withdraw(said("a", at=NOW, withdraw=True), where(1), NOW + 2)
    known.announce(said("a", 1, at=NOW + 2), where(1), "net", NOW + 2, 60.0)
    assert peers(known, 1) == {"a"}


def test_withdrawing_some_all_and_what_is_not_there(book):
    known = book()
    known.announce(said("a", 1, 2, 3), where(1), "net", NOW, 60.0)
    known.announce(said("a", 1), where(2), "net", NOW, 60.0)
    known.withdraw(said("a", 1, 9, at=NOW + 1, withdraw=True), where(1), NOW)
    assert [listed.addrs for listed in known.providers(cid(1).digest, NOW)] == [where(2)]  # another process of the node
    assert peers(known, 2) == {"a"}
    known.withdraw(said("a", at=NOW + 2, withdraw=True), where(1), NOW)
    assert peers(known, 2) == set()
    known.withdraw(said("nobody", at=NOW, withdraw=True), where(1), NOW)
    assert known.sizes() == (2, 1)


def test_a_node_that_floods_with_datasets_loses_its_oldest(book):
    known = book(records_per_place=10)
    known.announce(said("honest", 5), where(9), "other", NOW, 60.0)
    for round_ in range(5):
        numbers = range(round_ * 4, round_ * 4 + 4)
        known.announce(said("a", *numbers, at=NOW + round_), where(1), "net", NOW + round_, 60.0)
    assert known.sizes() == (2, 11)
    assert peers(known, 19) == {"a"}
    assert peers(known, 0) == set()
    assert peers(known, 5) == {"honest"}


def test_a_network_that_floods_with_nodes_drives_out_its_own(book):
    known = book(places_per_network=8, places_per_peer=3)
    known.announce(said("honest", 1), where(99), "other", NOW, 60.0)
    for number in range(50):
        known.announce(said(f"p{number}", 1, at=NOW + number), where(number), "net", NOW + number, 600.0)
        known.announce(said("same", 2, at=NOW + number), where(100 + number), "third", NOW + number, 600.0)
    assert known.sizes()[0] == 1 + 8 + 3
    assert peers(known, 1) == {"honest", *(f"p{number}" for number in range(42, 50))}


def test_a_dataset_is_not_crowded_by_one_network(book):
    known = book(records_per_cid_and_network=4, records_per_cid=10)
    known.announce(said("honest", 1), where(99), "other", NOW, 60.0)
    for number in range(20):
        known.announce(said(f"p{number}", 1), where(number), "net", NOW + number, 600.0)
    assert peers(known, 1) == {"honest", "p16", "p17", "p18", "p19"}
    for number in range(20):
        known.announce(said(f"q{number}", 1), where(200 + number), f"net{number}", NOW + number, 600.0)
    assert len(peers(known, 1)) == 10
    assert "q19" in peers(known, 1)


def test_all_of_it_is_bounded(book):
    known = book(records_max=50, places_max=20, records_per_network=30)
    for number in range(40):
        numbers = range(number * 5, number * 5 + 5)
        known.announce(said(f"p{number}", *numbers), where(number), f"net{number % 2}", NOW + number, 600.0)
    assert known.sizes() == (10, 50)
    for number in range(40):
        known.announce(said(f"q{number}", 7), where(100 + number), f"n{number}", NOW + 100 + number, 600.0)
    places, records = known.sizes()
    assert places <= 20
    assert records <= 50
    for number in range(10):
        numbers = range(number * 10, number * 10 + 10)
        known.announce(said(f"r{number}", *numbers), where(200 + number), "one", NOW + 200 + number, 600.0)
    assert sum(bool(known.peer(f"r{number}", NOW)) for number in range(10)) == 3


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.integers(0, 3), st.lists(st.integers(0, 9), max_size=4), st.booleans(), st.integers(0, 90)
        ),
        max_size=25,
    )
)
def test_the_counts_are_those_of_the_rows_whatever_is_said(tmp_path_factory, steps):
    options = replace(OPTIONS, records_max=12, places_max=6, places_per_peer=2, records_per_cid=5, records_per_place=6)
    known, now = Book(tmp_path_factory.mktemp("book") / "r.db", options), NOW
    try:
        for peer, place, numbers, withdraw, later in steps:
            now += later
            one = said(f"p{peer}", *numbers, at=now, withdraw=withdraw)
            try:
                if withdraw:
                    known.withdraw(one, where(place), now)
                else:
                    known.announce(one, where(place), f"n{place}", now, 60.0)
            except DataError:
                pass
            if later > 80:
                known.sweep(now)
            with known._db.reading() as run:
                rows = (
                    run.execute("SELECT count(*) FROM places").fetchone(),
                    run.execute("SELECT count(*) FROM provides").fetchone(),
                )
            assert known.sizes() == (rows[0][0], rows[1][0])
            assert known.sizes()[1] <= 12
    finally:
        known.close()


def test_the_record_of_a_peer_at_two_places(book):
    known = book()
    known.announce(said("a", 1, partial=True), where(1), "net", NOW, 60.0)
    known.announce(said("a", 1), where(2), "net", NOW, 60.0)
    record = record_of(known.providers(cid(1).digest, NOW), of_dataset=True)
    assert sorted(record.pop("Addrs")) == where(1) + where(2)
    assert record == {
        "Schema": "peer", "ID": "a", "Protocols": ["transport-wherry-tcp"], "transport-wherry": {"complete": True}
    }  # fmt: skip


def test_a_rate_lets_so_many_through_and_remembers_so_many():
    rates = Rates(60.0, buckets_max=100)
    assert [rates.take("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert rates.take("a", 0.0) == pytest.approx(1.0)
    assert rates.take("b", 0.0) == 0.0
    assert rates.take("a", 1.0) == 0.0
    assert rates.take("a", 1.0) > 0.0
    assert rates.take("a", 0.5) > 0.0  # a clock that goes back gives nothing
    for number in range(1000):
        rates.take(str(number), 2.0)
    assert len(rates) == 100


RECORD = {"Schema": "peer", "ID": "p", "Addrs": ["/ip4/192.0.2.7/tcp/1/http", "/ip6/::1/tcp/2"], "Protocols": ["transport-a"]}


@pytest.mark.parametrize(
    ("addrs", "protocols", "left"),
    [
        ("", "", [0, 1]), ("tcp", "", [0, 1]), ("HTTP", "", [0]), ("ip6,http", "", [0, 1]), ("!http", "", [1]),
        ("tcp,!ip6", "", [0]), ("quic-v1", "", None), ("unknown", "", None), ("UNKNOWN,ip6", "", [1]),
        ("", "Transport-A", [0, 1]), ("", "other", None), ("", "unknown", None),
        ("", "other,transport-a", [0, 1]), (" , ,", " ", [0, 1]), ("ht", "", None),
    ],
)  # fmt: skip
def test_filters(addrs, protocols, left):
    found = Filters(addrs, protocols).apply(RECORD)
    assert found == (None if left is None else {**RECORD, "Addrs": [RECORD["Addrs"][at] for at in left]})


def test_filters_of_what_is_unknown():
    bare = {"Schema": "peer", "ID": "p"}
    assert Filters().apply(bare) == bare
    assert Filters("tcp").apply(bare) is None
    assert Filters("tcp,unknown", "unknown").apply(bare) == bare
    assert Filters("unknown").apply(bare) == bare
    assert Filters("!tcp").apply(bare) is None
    assert Filters("!tcp,unknown").apply(bare) == bare


BOTH = ("transport-wherry-tcp", "transport-wherry-http")


@pytest.mark.parametrize(
    ("addr", "taken"),
    [
        ("/ip4/198.51.100.7/tcp/4290", "/ip4/198.51.100.7/tcp/4290"),
        ("/ip4/0.0.0.0/tcp/4290/tls", "/ip4/198.51.100.7/tcp/4290/tls"),
        ("/ip4/198.51.100.7/tcp/80/http/p2p/me", "/ip4/198.51.100.7/tcp/80/http"),
        ("/ip6/::ffff:198.51.100.7/tcp/4290", "/ip4/198.51.100.7/tcp/4290"),
        ("/ip4/198.51.100.8/tcp/4290", None), ("/ip4/127.0.0.1/tcp/4290", None), ("/ip6/::/tcp/4290", None),
        ("/ip4/198.51.100.7/tcp/25", None), ("/ip4/198.51.100.7/tcp/4290/ws", None), ("/dns/h.example/tcp/4290", None),
        ("/ip4/198.51.100.7/udp/4290/quic-v1", None), ("/ip4/198.51.100.7/tcp/4290/p2p/other", None), ("x", None),
    ],
)  # fmt: skip
def test_a_node_is_listed_where_it_speaks_from_and_nowhere_else(addr, taken):
    assert vouched([addr, addr], BOTH, "198.51.100.7", "me") == ([taken] if taken else [])
    assert vouched([addr], (), "198.51.100.7", "me") == []


def test_ip_addresses_are_read_in_one_form():
    assert [plain_ip(text) for text in ("::ffff:1.2.3.4", "fe80::1%eth0", "2001:0db8::0001", "x", "")] == [
        "1.2.3.4", "fe80::1", "2001:db8::1", "", ""
    ]  # fmt: skip
    assert vouched(["/ip6/::/tcp/4290"], BOTH, "2001:db8::1", "me") == ["/ip6/2001:db8::1/tcp/4290"]


def test_a_stranger_cannot_push_a_name_out_by_putting_it_again(book):
    def record(number, sequence=0):
        key = NodeKey(bytes([number]) * 32)
        return opened(create(key, "/ipfs/bafkqaaa", sequence, int((NOW + 3600) * 1e9)), Name.of(key.public))

    kept = book(names_per_network=3)
    assert kept.put_name(record(1), "192.0.2.0/24", NOW)
    for again in (record(1), record(1, 1)):  # the same, and a newer one that was overheard
        assert kept.put_name(again, "203.0.113.0/24", NOW + 1)
        for number in range(2, 8):
            assert kept.put_name(record(number), "203.0.113.0/24", NOW + number)
    assert kept.name(record(1).name, NOW + 9) == record(1, 1)
    assert sum(kept.name(record(number).name, NOW + 9) is not None for number in range(2, 8)) == 3


def test_of_records_of_one_number_the_one_that_holds_longer_stays(book):
    def record(hours):
        key = NodeKey(bytes(32))
        return opened(create(key, "/ipfs/bafkqaaa", 5, int((NOW + hours * 3600) * 1e9)), Name.of(key.public))

    kept, older, renewed = book(), record(1), record(2)
    assert kept.put_name(older, "192.0.2.0/24", NOW)
    assert kept.put_name(renewed, "192.0.2.0/24", NOW)
    assert not kept.put_name(older, "203.0.113.0/24", NOW + 1)
    assert kept.name(renewed.name, NOW + 1) == renewed
