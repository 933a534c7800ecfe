"""What the process of libtorrent does with it, seen from a libtorrent that does nothing (specs/0036 §11)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wherry_torrent.client import Client
from wherry_torrent.talk import Gone

PEER, SEED = ("192.0.2.1", 1), "http://192.0.2.7/"


class Flags:
    """Whatever flag is asked for."""

    def __getattr__(self, name):
        return 0


class Session:
    """Has the alerts that a test puts in."""

    def __init__(self, settings):
        self.alerts = []

    def set_ip_filter(self, found):
        pass

    def pop_alerts(self):
        found, self.alerts = self.alerts, []
        return found


class Handle:
    """A download to which the web seeds are connected, and which never ends."""

    def __init__(self):
        self.called = []

    def status(self):
        return SimpleNamespace(
            num_peers=2,
            num_pieces=0,
            total_payload_download=0,
            total_wanted_done=0,
            total_wanted=9,
            state="downloading",
            is_seeding=False,
        )

    def connect_peer(self, peer):
        self.called.append(peer)

    def save_resume_data(self, flags):
        pass


class Talk:
    """Listens for some looks, and is gone then."""

    def __init__(self, looks):
        self.looks, self.said = looks, []

    def hear(self, seconds):
        self.looks -= 1
        if self.looks < 0:
            raise Gone

    def say(self, **words):
        self.said.append(words)


def client(folder, talk):
    lt = SimpleNamespace(
        default_settings=dict, session=Session, alert=SimpleNamespace(category_t=Flags()), save_resume_flags_t=Flags(),
        ip_filter=lambda: SimpleNamespace(add_rule=lambda *rule: None), write_resume_data_buf=lambda params: params,
    )  # fmt: skip
    start = {"folder": str(folder), "peers": [PEER], "hints": [], "webseeds": [SEED], "settings": {}, "wait": 60.0}
    return Client(lt, start, talk)


def test_named_peers_are_called_though_web_seeds_are_connected_already(tmp_path):
    handle = Handle()
    with pytest.raises(Gone):
        client(tmp_path, Talk(3))._wait(handle, lambda status: status.is_seeding, "fetch")
    assert handle.called == [PEER]  # and not at every look


class save_resume_data_alert:  # noqa: N801  # alerts are known by the names of their types
    def __init__(self, params):
        self.params = params


class torrent_error_alert:  # noqa: N801  # as above
    def __init__(self):
        self.error = SimpleNamespace(category=lambda: SimpleNamespace(name=lambda: "libtorrent"), value=lambda: 217)


def test_what_was_whole_is_not_forgotten_when_blocks_do_not_fit_together(tmp_path):
    """libtorrent forgets all that it has then (its torrent::handle_inconsistent_hashes), and would have that saved."""
    talk = Talk(3)
    one = client(tmp_path, talk)
    one._session.alerts = [save_resume_data_alert(b"before"), torrent_error_alert(), save_resume_data_alert(b"nothing")]
    one._suspects.ban_webseed(SEED)
    assert not one._wait(Handle(), lambda status: status.is_seeding, "fetch")
    assert (tmp_path / "resume").read_bytes() == b"before"
    one._next_round()
    assert (one._suspects.peers, one._suspects.webseeds) == ([PEER], [])  # who was banned in it waits, and nobody is on trial
    assert not any("once more" in words.get("text", "") for words in talk.said)
    one._session.alerts = [save_resume_data_alert(b"after")]
    one._alerts()
    assert (tmp_path / "resume").read_bytes() == b"after"


class url_seed_alert:  # noqa: N801  # as above
    def __init__(self, url, number, text):
        category = SimpleNamespace(name=lambda: "http")
        self.server_url = lambda: url
        self.error = SimpleNamespace(category=lambda: category, value=lambda: number, message=lambda: text)

    def message(self):
        return f"url seed ({self.server_url()}) failed: {self.error.message()}"


def test_what_is_no_fault_of_a_web_seed_is_not_said(tmp_path):
    one = client(tmp_path, Talk(3))
    one._session.alerts = [url_seed_alert(SEED, 0, "Success"), url_seed_alert(f"{SEED}x", 404, "Not Found")]
    one._alerts()
    assert list(one._faults.items()) == [(f"{SEED}x", "Not Found")]


def test_a_web_seed_that_was_asked_and_is_silent_is_named(tmp_path):
    talk = Talk(3)
    one, handle = client(tmp_path, talk), Handle()
    seed = SimpleNamespace(
        ip=("192.0.2.7", 80),
        connection_type=1,
        web_seed=1,
        flags=1,
        seed=1,
        remote_choked=2,
        payload_down_speed=0,
        queue_bytes=9,
    )
    handle.get_peer_info = lambda: [seed]
    handle.torrent_file = lambda: SimpleNamespace(piece_length=lambda: 1)
    for now, told in ((100.0, [["192.0.2.7:80", "was asked, and gives nothing"]]), (200.0, [])):
        one._laggards.begin(now - 9.0)
        one._holds_up(handle, handle.status(), now, 0)
        one._told_at = 0.0
        one._tell(handle.status(), "fetch")
        assert list(map(list, talk.said[-1]["faults"])) == told
        seed.payload_down_speed = 1  # and says something at last
