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
            num_peers=2, total_payload_download=0, total_wanted_done=0, total_wanted=9, state="downloading", is_seeding=False
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
