"""Peers between real nodes: remembered from run to run, and kept out where the user, or proof of a wrong block, says so."""

from __future__ import annotations

import asyncio

import pytest

from wherry.abc.transport import Held
from wherry.errors import NotFound, UsageError, WherryError
from wherry.session import Session
from wherry.units import MiB

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * (6 * MiB // 256))
    return path


class Wrong(Held):
    """A leaf that is not what it is called."""

    def __init__(self, held):
        self._held, self.size = held, held.size

    def read_into(self, view):
        self._held.read_into(view)
        if len(view) > 100_000:
            view[7] ^= 1


def node(tmp_path, name):
    return Session.open(home=tmp_path / f"home-{name}", environ={})


def test_a_peer_that_proved_its_key_is_remembered_in_the_next_run(tmp_path, data):
    async def run():
        async with node(tmp_path, "seed") as seed, seed.serve((), listen=["tcps://127.0.0.1:0"]) as serving:
            cid = (await seed.add(str(data))).cid
            async with node(tmp_path, "b") as b:
                await b.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
            async with node(tmp_path, "b") as b:
                (found,) = await b.peers()
                assert (found.proven, found.down_bytes >= 6 * MiB, found.useful > 0) == (True, True, True)
                assert found.key in serving.listen[0]
                assert found.score > 0.5
                assert (await b.peer(found.key[:12])).key == found.key
                with pytest.raises(NotFound):
                    await b.peer("12D3KooNobody")
                assert await b.forget_peers([found.key]) == 1
                assert await b.peers() == []

    asyncio.run(run())


@pytest.mark.parametrize("scheme", ["http", "tcp", "tcps"])
def test_who_is_banned_is_neither_dialled_nor_let_in_and_then_is_again(tmp_path, data, scheme):
    async def run():
        async with node(tmp_path, "seed") as seed, seed.serve((), listen=[f"{scheme}://127.0.0.1:0"]) as serving:
            cid = (await seed.add(str(data))).cid
            async with node(tmp_path, "b") as b:
                await b.ban("127.0.0.0/8", lasts_s=3600, why="for a test")
                (rule,) = await b.rules()
                assert (rule.kind, rule.what, rule.allow, rule.by) == ("network", "127.0.0.0/8", False, "user")
                with pytest.raises(WherryError, match="banned"):
                    await b.get(cid, sources=serving.listen, output=str(tmp_path / "copy"), wait_s=30)
                await b.unban("127.0.0.0/8")
                with pytest.raises(NotFound):
                    await b.unban("127.0.0.0/8")
                await seed.ban("127.0.0.1")
                with pytest.raises(WherryError):
                    await b.get(cid, sources=serving.listen, output=str(tmp_path / "copy"), wait_s=1)
                await seed.unban("127.0.0.1")
                with pytest.raises(UsageError):
                    await seed.ban("no such thing at all")
            async with node(tmp_path, "c") as c:  # b leaves alone for a while whom it failed to reach
                await c.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
                assert (tmp_path / "copy").read_bytes() == data.read_bytes()

    asyncio.run(run())


@pytest.mark.parametrize("scheme", ["tcps", "tcp"])
def test_a_wrong_block_bans_who_proved_its_key_and_nobody_else(tmp_path, data, scheme):
    async def run():
        async with (
            node(tmp_path, "seed") as seed,
            seed.serve((), listen=[f"{scheme}://127.0.0.1:0"]) as good,
            node(tmp_path, "liar") as liar,
            liar.serve((), listen=[f"{scheme}://127.0.0.1:0"]) as bad,
            node(tmp_path, "b") as b,
        ):
            cid = (await seed.add(str(data))).cid
            await liar.add(str(data))
            find = liar._node.holdings.find
            liar._node.holdings.find = lambda cids: [held and Wrong(held) for held in find(cids)]
            with pytest.raises(WherryError):
                await b.get(cid, sources=bad.listen, output=str(tmp_path / "nothing"), wait_s=30)
            await b.get(cid, sources=[*good.listen], output=str(tmp_path / "copy"))
            assert (tmp_path / "copy").read_bytes() == data.read_bytes()
            rules = await b.rules()
            if scheme == "tcps":
                assert [(rule.kind, rule.by) for rule in rules] == [("key", "wherry")]
                assert rules[0].what in bad.listen[0]
            else:
                assert rules == []

    asyncio.run(run())


def test_the_command_line_lists_explains_and_bans(wherry, tmp_path, data):
    home = ("--home", tmp_path / "home")
    assert wherry("peers", "--json", *home).stdout.startswith(b'{"schema": "wherry/peers/1"')
    done = wherry("peers", "ban", "192.0.2.0/24", "--for", "1d", "--why", "sends rubbish", *home)
    assert b"192.0.2.0/24" in done.stdout
    assert b"sends rubbish" in wherry("peers", "bans", *home).stdout
    wherry("peers", "allow", "192.0.2.7", *home)
    assert wherry("peers", "bans", "--json", *home).stdout.count(b'"kind"') == 2
    wherry("peers", "unban", "192.0.2.0/24", *home)
    wherry("peers", "unban", "192.0.2.0/24", *home, code=6)
    wherry("peers", "--explain", "nobody", *home, code=6)
    wherry("peers", "ban", "what is this", *home, code=2)
    assert b"0 peers" in wherry("peers", "forget", *home).stdout
