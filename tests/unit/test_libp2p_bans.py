"""Bans hold for libp2p: who is banned is neither dialled nor asked, and is not served (specs/0029 §4)."""

from __future__ import annotations

import asyncio
import re

import pytest
from faked_libp2p import ADDRESS, CIDS, PEER, fake, wants

from wherry import Session
from wherry.abc.exchange import PeerInfo, SupportsInfo
from wherry.errors import PeerDenied, PeerError, PeerUnreachable
from wherry.observe import Note
from wherry.testing.blocks import CountedPool, MemorySource, fetch_once

__all__ = ["fake"]  # a fixture


def test_who_is_banned_is_not_dialled_and_is_left(fake):
    banned = set()
    transport = fake.transport(gate=lambda ip, peer_id: "is banned" if {ip, peer_id} & banned else "")

    async def run():
        async with transport.connect(ADDRESS) as channel:
            assert isinstance(channel, SupportsInfo)
            assert channel.info == PeerInfo("libp2p", PEER, ADDRESS, "127.0.0.1", incoming=False)
            await fetch_once(channel, wants(), CountedPool())
            banned.add(PEER)
            with pytest.raises(PeerUnreachable, match="is banned"):
                await fetch_once(channel, wants(), CountedPool())
        for what in (PEER, "127.0.0.1"):
            banned.clear()
            banned.add(what)
            with pytest.raises(PeerDenied, match=f"{re.escape(ADDRESS)} is banned") as caught:
                async with transport.connect(ADDRESS):
                    pass
            assert "wherry peers unban" in caught.value.hint
        assert len(fake.pids()) == 1

    asyncio.run(run())


async def test_who_sends_what_was_not_asked_for_is_named_banned_and_remembered(fake, tmp_path):
    fake.mode("lies")
    home = tmp_path / "asking"
    home.mkdir()
    config = f'[transport]\nuse = ["http", "libp2p"]\n[transport.libp2p]\npython = "{fake.python}"\n[get]\nwait = "20s"\n'
    (home / "wherry.toml").write_text(config)
    said = []
    async with Session.open(home=home, environ={}) as session:
        with pytest.raises(PeerError, match=r"sends blocks that were not asked for \(3\)") as caught:
            await session.get(str(CIDS[0]), sources=[ADDRESS], output=str(tmp_path / "out"), observe=said.append)
        assert ADDRESS in caught.value.message
        assert [(rule.what, rule.by, rule.allow) for rule in await session.rules()] == [(PEER, "wherry", False)]
        assert [(known.key, known.proven) for known in await session.peers()] == [(PEER, True)]
    notes = [(event.level, event.text) for event in said if isinstance(event, Note)]
    assert ("warning", f"{ADDRESS}: sends blocks that were not asked for (3)") in notes


def test_who_connects_is_let_in_unless_banned_and_closed_when_that_changes(fake, monkeypatch):
    monkeypatch.setattr("wherry_libp2p.meeting._LOOK_S", 0.01)
    for number, who in enumerate(
        (b"12Gone 10.0.0.1", b"12Good 10.0.0.1", b"12Bad 10.0.0.1", b"12Good ::1", b"12Late 10.0.0.1", b"\xff")
    ):
        (fake.folder / f"meet-{number}").write_bytes(who)
    fake.mode("meets")
    banned = {"12Bad", "::1"}
    met = fake.folder / "met"

    async def run():
        def gate(ip, peer_id):
            return "is banned" if {ip, peer_id} & banned else ""

        async with fake.transport(gate=gate).listen("libp2p:/ip4/127.0.0.1/tcp/0", MemorySource({})):
            while not met.exists() or len(met.read_text().splitlines()) < 6:
                await asyncio.sleep(0.01)
            banned.add("10.0.0.1")
            banned.discard("12Bad")
            while len(met.read_text().splitlines()) < 8:
                await asyncio.sleep(0.01)

    asyncio.run(run())
    said = met.read_text().splitlines()
    assert sorted(said[:6]) == ["ADMIT 1", "ADMIT 2", "ADMIT 5", "ADMIT 6", "DENY 3", "DENY 4"]
    assert sorted(said[6:]) == ["DENY 2", "DENY 5"]  # 1 is over, and 6 said nothing of where it is
