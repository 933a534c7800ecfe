"""A session that is given no source asks its locators; strangers' hints lead nowhere that they should not."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from trackers import record, tracking

from wherry import Session
from wherry.errors import NoSource, PeerDenied, PluginError
from wherry.ipns.name import Name
from wherry.observe import Note
from wherry.testing.hostile import HostileServer

INNER = [
    "/ip4/127.0.0.1/tcp/{port}/http", "/ip4/127.9.9.9/tcp/{port}/http", "/ip6/::1/tcp/{port}/http",
    "/ip6/::ffff:127.0.0.1/tcp/{port}/http", "/ip6/64:ff9b::7f00:1/tcp/{port}/http", "/ip6/2002:7f00:1::/tcp/{port}/http",
    "/dns/localhost/tcp/{port}/http", "/dns4/localhost/tcp/{port}/http", "/ip4/0.0.0.0/tcp/{port}/http",
    "/dns/127.0.0.1/tcp/{port}/http", "/dns/127.1/tcp/{port}/http", "/dns/2130706433/tcp/{port}/http",
    "/ip4/10.0.0.1/tcp/{port}/http", "/ip4/192.168.0.1/tcp/{port}/http", "/ip4/169.254.169.254/tcp/80/http",
    "/ip6/fd00::1/tcp/{port}/http", "/ip6/fe80::1/tcp/{port}/http", "/ip4/224.0.0.1/tcp/{port}/http",
]  # fmt: skip


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "content"
    path.mkdir()
    (path / "a.bin").write_bytes(bytes(range(256)) * 20_000)
    (path / "b.txt").write_text("hello")
    return path


@asynccontextmanager
async def node(home, config="", **environ):
    home.mkdir(exist_ok=True)
    (home / "wherry.toml").write_text(config)
    async with Session.open(home=home, environ=environ) as session:
        yield session


@asynccontextmanager
async def source(home, content):
    """A node that serves; yields its address and the CID."""
    async with node(home) as session:
        added = await session.add(str(content))
        async with session.serve(listen=["http://127.0.0.1:0"]) as serving:
            yield serving.listen[0], added.cid


def asks(url, **options):
    lines = "".join(f"{name} = {value!r}\n" for name, value in options.items())
    return (
        f'[transport.http]\nconnect_timeout = "2s"\n[locator]\nuse = ["tracker"]\n[locator.tracker]\nurls = ["{url}"]\n{lines}'
    )


async def test_peers_are_asked_where_no_source_is_named(tmp_path, content):
    async with source(tmp_path / "a", content) as (address, cid):
        async with node(tmp_path / "b", f'[peers]\nlab = "{address}"\n') as session:
            result = await session.get(cid, output=str(tmp_path / "out"))
            assert [each.address for each in result.sources] == [address]
            plan = await session.get(cid, output=str(tmp_path / "other"), dry_run=True)
            assert [(each.address, each.reachable) for each in plan.sources] == [(address, True)]
    assert (tmp_path / "out/a.bin").read_bytes() == (content / "a.bin").read_bytes()


async def test_a_tracker_that_the_user_trusts_leads_to_a_peer(tmp_path, content):
    async with source(tmp_path / "a", content) as (address, cid):
        with HostileServer(tracking({cid: [record(address)]})) as tracker:
            async with node(tmp_path / "b", asks(tracker.url, reach="named")) as session:
                await session.get(cid, output=str(tmp_path / "out"))
                found = await session.find(cid)
    assert [(hint.address, hint.locator, hint.fault) for hint in found.hints] == [(address, "tracker", None)]
    assert (tmp_path / "out/b.txt").read_text() == "hello"


@pytest.mark.parametrize("reach", ["auto", "public", "lan"])
async def test_nobody_knocks_inside_for_a_stranger(tmp_path, content, reach):
    async with source(tmp_path / "a", content) as (address, cid):
        port = address.rpartition(":")[2]
        inner = [
            each
            for each in INNER
            if reach == "public" or "127" in each or "localhost" in each or "7f00" in each or "::1" in each
        ]
        with HostileServer() as canary:
            addrs = [text.format(port=canary.port if number % 2 else port) for number, text in enumerate(inner)]
            with HostileServer(tracking({cid: [{"Schema": "peer", "Addrs": [addr]} for addr in addrs]})) as tracker:
                async with node(tmp_path / "b", asks(tracker.url, reach=reach)) as session:
                    with pytest.raises((PeerDenied, NoSource)):
                        await session.get(cid, output=str(tmp_path / "out"), wait_s=1.0)
            assert canary.connections == 0
            assert tracker.connections > 0
    assert not (tmp_path / "out").exists()


async def test_a_found_file_is_not_opened(tmp_path, content):
    """A locator that is no friend names a place of this machine; the file transport asks no address policy."""
    async with node(tmp_path / "a") as session:
        cid = (await session.add(str(content))).cid
    async with node(tmp_path / "b") as session:
        finder = session._finder(None)
        usable = finder._usable
        from wherry.dial import LAN, NAMED, PUBLIC

        assert usable(f"file://{content}", NAMED) == ""
        assert "address policy" in usable(f"file://{content}", PUBLIC)
        assert "address policy" in usable(f"file://{content}", LAN)
        assert usable("http://h:1", PUBLIC) == ""
        assert "no transport" in usable("gopher://h:1", NAMED)
    assert cid


async def test_what_is_here_is_asked_of_nobody(tmp_path, content):
    with HostileServer() as tracker:
        async with node(tmp_path / "a", asks(tracker.url)) as session:
            cid = (await session.add(str(content))).cid
            assert b"".join([piece async for piece in session.cat(f"{cid}/b.txt")]) == b"hello"
            await session.get(cid, output=str(tmp_path / "copy"))
        assert tracker.connections == 0


async def test_where_a_source_is_named_no_locator_is_asked(tmp_path, content):
    async with source(tmp_path / "a", content) as (address, cid):
        with HostileServer() as tracker:
            async with node(tmp_path / "b", asks(tracker.url)) as session:
                await session.get(cid, output=str(tmp_path / "out"), sources=[address])
            assert tracker.connections == 0


async def test_nobody_is_found(tmp_path, content):
    async with node(tmp_path / "a") as session:
        cid = (await session.add(str(content))).cid
    async with node(tmp_path / "b") as session:
        with pytest.raises(NoSource, match="no source is named or found"):
            await session.get(cid, output=str(tmp_path / "out"))
        assert (await session.find(cid)).hints == []
    with HostileServer() as tracker:  # which says 404
        async with node(tmp_path / "c", asks(tracker.url)) as session:
            with pytest.raises(NoSource, match="no source is named or found"):
                await session.get(cid, output=str(tmp_path / "out"))


async def test_a_tracker_that_fails_is_noted_and_the_others_do(tmp_path, content):
    notes = []
    async with source(tmp_path / "a", content) as (address, cid):
        config = asks("http://127.0.0.1:1").replace('["tracker"]', '["tracker", "static"]') + f'[peers]\nlab = "{address}"\n'
        async with node(tmp_path / "b", config) as session:
            await session.get(cid, output=str(tmp_path / "out"), observe=notes.append)
    assert any(isinstance(note, Note) and "the locator tracker failed" in note.text for note in notes)


async def test_a_locator_that_there_is_not_is_the_users_to_know(tmp_path, content):
    async with source(tmp_path / "a", content) as (_, cid):
        async with node(tmp_path / "b", '[locator]\nuse = ["acme.none"]\n') as session:
            with pytest.raises(PluginError, match=r"acme\.none"):
                await session.get(cid, output=str(tmp_path / "out"))


async def test_a_policy_that_there_is_not_is_the_users_to_know(tmp_path, content):
    async with source(tmp_path / "a", content) as (address, cid):
        async with node(tmp_path / "b", '[policy]\nuse = "acme.none"\n') as session:
            with pytest.raises(PluginError, match=r"acme\.none"):
                await session.get(cid, output=str(tmp_path / "out"), sources=[address, address + "/"])


@pytest.mark.parametrize("policy", ["reputation", "fastest", "round-robin", "random", "local-first"])
async def test_a_policy_is_one_line(tmp_path, content, policy):
    async with source(tmp_path / "a", content) as (one, cid), source(tmp_path / "a2", content) as (two, _):
        async with node(tmp_path / "b", f'[policy]\nuse = "{policy}"\n') as session:
            await session.get(cid, output=str(tmp_path / "out"), sources=[one, two])
    assert (tmp_path / "out/a.bin").read_bytes() == (content / "a.bin").read_bytes()


async def test_what_a_name_leads_to_is_found_and_warmed_and_what_cannot_be_dialled_is_shown(tmp_path, content):
    quic = {
        "Schema": "peer",
        "ID": "12D3KooWx",
        "Addrs": ["/ip4/192.0.2.7/udp/4001/quic-v1"],
        "Protocols": ["transport-bitswap"],
    }
    bare = {"Schema": "peer", "ID": "12D3KooWy", "Addrs": []}
    async with source(tmp_path / "a", content) as (address, cid), node(tmp_path / "b") as publisher:
        name = (await publisher.publish_name(cid)).name
        record_of_name = publisher._names.known(Name.parse(name)).record.binary
        with HostileServer(tracking({cid: [quic] * 300 + [bare, record(address)]})) as server:
            async with node(tmp_path / "c", asks(server.url, reach="named")) as session:
                await session.import_record(name, record_of_name)
                found = await session.find(name)
                assert found.cid == cid
                with_fault = {hint.address: hint.fault for hint in found.hints if hint.fault}
                assert with_fault == {"/ip4/192.0.2.7/udp/4001/quic-v1": "it speaks quic-v1, which wherry does not"}
            with_few = tracking({cid: [quic, bare, record(address)]})
        with HostileServer(with_few) as server:
            async with node(tmp_path / "c", asks(server.url, reach="named")) as session:
                hints = {hint.address: hint for hint in (await session.find(f"/ipns/{name}", probe=True)).hints}
                assert hints["/p2p/12D3KooWy"].fault == "no address of it is known"
                assert hints["/ip4/192.0.2.7/udp/4001/quic-v1"].peer == "12D3KooWx"
                assert hints[address].answers
                notes = []
                warmed = await session.cache_warm(name, observe=notes.append)
                assert (warmed.cid, warmed.complete) == (cid, True)
                assert not [note for note in notes if isinstance(note, Note) and "quic" in note.text]
                assert (await session.cache_warm(name)).fetched_bytes == 0
