"""Peers that tell of further peers, and how little of it is believed (specs/0025 §5)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wherry.limits import GOSSIP_ADDRESSES_MAX
from wherry.swarm.gossip import EARLY_S, EARLY_UNTIL_S, FIRST_S, LATER_S, PER_NETWORK, Hearsay, Told

FAR = [f"tcp://{number}.1.{number}.1:4290" for number in range(1, 100) if number not in (10, 100)]
LAN = [f"tcp://10.77.0.{number}:4290" for number in range(1, 200)]


def heard(made, addresses, by="a", *, now=0.0, near=False, own=()):
    return made.heard(addresses, by, own, now, near=near)


def test_a_newcomer_is_told_soon_and_later_seldom():
    told = Told(0.0)
    assert not told.due(0.0)
    assert told.due(FIRST_S)  # who knows nobody gives nothing
    assert told.news(["a", "b"], FIRST_S) == ["a", "b"]
    assert not told.due(2 * FIRST_S)
    assert told.due(3 * FIRST_S)
    assert told.news(["b", "c"], 2.0) == ["c"]
    for turn in range(5):
        told.news([], 2.0 + turn)
    assert not told.due(6.0 + 0.9 * EARLY_S)
    assert told.due(6.0 + EARLY_S)
    told.news([], EARLY_UNTIL_S)
    assert not told.due(EARLY_UNTIL_S + LATER_S / 2)
    assert told.due(EARLY_UNTIL_S + LATER_S)


def test_one_message_names_a_few():
    told = Told(0.0)
    assert len(told.news(LAN, 1.0)) == GOSSIP_ADDRESSES_MAX
    assert told.news(LAN, 2.0) == LAN[GOSSIP_ADDRESSES_MAX : 2 * GOSSIP_ADDRESSES_MAX]


def test_what_was_told_is_remembered_within_bounds():
    told = Told(0.0)
    for number in range(200):
        told.news([f"{number}.{at}" for at in range(20)], float(number))
    assert len(told._addresses) <= 1024


def test_addresses_are_heard_of_once_a_minute():
    made = Hearsay()
    assert heard(made, FAR[:2]) == FAR[:2]
    assert heard(made, FAR[:2], "b", now=59.0) == []
    assert heard(made, FAR[:1], "c", now=60.0) == FAR[:1]


def test_one_network_of_the_internet_is_tried_seldom():
    same = [f"tcp://198.51.99.{number}:4290" for number in range(9)]
    made = Hearsay()
    assert heard(made, same) == same[:PER_NETWORK]
    assert heard(made, same, "b", now=30.0) == []
    assert len(heard(made, same, "c", now=61.0)) == PER_NETWORK


def test_one_host_by_name_and_one_network_of_ipv6_are_tried_seldom():
    assert len(heard(Hearsay(), [f"tcp://Peer.example:{port}" for port in range(1, 9)])) == PER_NETWORK
    assert len(heard(Hearsay(), [f"tcp://[2600:db9:1::{part}]:1" for part in range(1, 9)])) == PER_NETWORK


def test_a_cluster_finds_itself_by_hearsay():
    """All of its machines are in one network."""
    made = Hearsay()
    assert heard(made, LAN[:20], near=True) == LAN[:20]
    assert heard(made, ["tcp://127.0.0.1:1", "tcp://[::1]:2"], "b", near=True) == ["tcp://127.0.0.1:1", "tcp://[::1]:2"]


def test_who_is_on_the_internet_tells_nothing_of_private_networks():
    assert heard(Hearsay(), [LAN[0], "tcp://127.0.0.1:80", "tcp://localhost:1", FAR[0]]) == [FAR[0]]


def test_one_peer_may_name_a_few_a_minute_near_or_far():
    made = Hearsay()
    count = sum(len(heard(made, LAN[at : at + 20], near=True)) for at in range(0, 160, 20))
    assert count == 60
    assert heard(made, LAN[170:171], now=61.0, near=True) == LAN[170:171]


def test_coming_again_gives_no_second_minute():
    made = Hearsay()
    for at in range(0, 60, 20):
        heard(made, LAN[at : at + 20], near=True)
    made.forget("a", 1.0)
    assert heard(made, LAN[100:101], now=2.0, near=True) == []
    made.forget("a", 61.0)
    made.forget("nobody", 61.0)
    assert not made._by


def test_what_is_no_address_or_ones_own_is_left_out():
    odd = ["", "nonsense", "tcp://" + "a" * 5000, "tcp://a\nb:1", "tcp://8.8.8.8:1", FAR[3]]
    assert heard(Hearsay(), odd, own=[FAR[3]]) == ["tcp://8.8.8.8:1"]


def test_hearsay_chooses_no_transport_that_the_user_configured():
    assert heard(Hearsay(), ["office+tcp://8.8.8.8:1", "tcp://8.8.8.8:1"]) == ["tcp://8.8.8.8:1"]


def test_floods_are_bounded():
    made = Hearsay()
    for number in range(5000):
        heard(made, [f"tcp://h{number}-{at}.example:1" for at in range(3)], f"peer {number}", now=number / 1000)
    assert len(made._known) <= 1024
    assert len(made._networks) <= 1024
    assert len(made._by) <= 1024
    assert heard(made, FAR[:1], "late", now=100.0) == FAR[:1]


@given(st.lists(st.tuples(st.text(max_size=40), st.sampled_from("abc"), st.floats(0, 300), st.booleans()), max_size=40))
def test_nothing_that_a_peer_says_raises(said):
    made = Hearsay()
    for text, by, now, near in said:
        assert len(heard(made, [text, f"tcp://{text}", f"tcp://[{text}]:1"], by, now=now, near=near)) <= 3
