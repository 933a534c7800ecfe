"""Secrets in addresses: neither taken, nor kept, nor shown, whichever way they come in."""

from __future__ import annotations

import asyncio

import pytest

from wherry.address import without_user
from wherry.config import load
from wherry.config.problem import ConfigProblems
from wherry.daemon.daemon import opened
from wherry.daemon.record import Asked
from wherry.errors import UsageError
from wherry.publiccid import parse_path
from wherry.redaction import masked
from wherry.session import Session
from wherry.store.state import StateDB
from wherry.ticket import Ticket

PEER = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
WITH = (
    "http://u:CANARY@h:1", "http://CANARY@h:1", "HTTPS://:CANARY@h", "web+https://u:CANARY@h/x", "s3://u:CANARY@b/x",
    "tcp://CANARY@h:1", "ssh://u:CANARY@h/x", "foo://u:CANARY@h", "http://u:CAN/ARY@h:1", "http://u:CAN#ARY@h:1",
    "http://u:CAN@ARY@h:1", f"tcps://{PEER}:CANARY@h:1",
)  # fmt: skip
WITHOUT = (
    "http://h:1", "https://[::1]:1", "file:///a@b/u:p@c", "unix:///run/u:p@c", f"tcps://{PEER}@h:1", "ssh://me@h/x",
    f"libp2p:/ip4/10.0.0.1/tcp/4001/p2p/{PEER}", "web+https://h/@user/x?a=b@c", "http://h:1/a@b", "synth://4GiB?seed=1", "memory://a",
)  # fmt: skip


@pytest.mark.parametrize("address", WITH)
def test_an_address_with_a_secret_is_not_taken_and_not_repeated(address):
    with pytest.raises(UsageError, match="no user and no password") as caught:
        without_user(address)
    said = f"{caught.value} {caught.value.hint}"
    assert "CAN" not in said
    assert "ARY" not in said
    assert "<secret>@" in said


@pytest.mark.parametrize("address", WITHOUT)
def test_an_at_sign_elsewhere_is_no_secret(address):
    assert without_user(address) == address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://h:1", "http://h:1"),
        ("http://token:4290", "http://token:4290"),
        ("file:///a@b", "file:///a@b"),
        ("s3://u:p@b/x", "s3://<secret>@b/x"),
        ("u:p@h:1", "<secret>@h:1"),
        ("web+https://h/d/?X-Amz-Signature=abc&n=1", "web+https://h/d/?X-Amz-Signature=<secret>&n=1"),
        ("https://h/d?access_token=abc", "https://h/d?access_token=<secret>"),
    ],
)
def test_what_is_shown_of_an_address(address, shown):
    assert masked(address) == shown


def block_of(cid):
    return parse_path(cid)[0].block()


VERBS = {
    "get": lambda session, cid, address, target: session.get(cid, sources=[address], output=target),
    "dry run": lambda session, cid, address, target: session.get(cid, sources=[address], output=target, dry_run=True),
    "ticket": lambda session, cid, address, target: session.get(str(Ticket(block_of(cid), (address,))), output=target),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("address", ["http://u:CANARY@127.0.0.1:1", "s3://u:CANARY@b/x", "foo://CANARY@h"])
async def test_verbs_refuse_it_before_they_begin_also_where_all_is_here(tmp_path, verb, address):
    (tmp_path / "data").write_bytes(b"x" * 1000)
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        added = await session.add(str(tmp_path / "data"))
        target = str(tmp_path / "out")
        await session.get(added.cid, output=target)
        with pytest.raises(UsageError) as caught:
            await VERBS[verb](session, added.cid, address, target)
        assert "CANARY" not in f"{caught.value} {caught.value.hint}"


async def test_nobody_listens_there(tmp_path):
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        with pytest.raises(UsageError, match="no user") as caught:
            async with session.serve(listen=["http://u:CANARY@127.0.0.1:0"]):
                pass
        assert "CANARY" not in str(caught.value)


async def test_a_daemon_keeps_none(tmp_path):
    async with (
        Session.open(home=tmp_path / "home", environ={}) as session,
        opened(session, listen=["http://127.0.0.1:0"]) as daemon,
    ):
        with pytest.raises(UsageError) as caught:
            await daemon.add(Asked(what="bafkqaaa", output="/o", sources=("http://u:CANARY@h:1",)))
        assert "CANARY" not in f"{caught.value} {caught.value.hint}"
        assert daemon.runner.listing() == []
    state = StateDB(tmp_path / "home")
    assert await asyncio.to_thread(state.transfers) == []
    state.close()


def test_what_an_older_daemon_kept_is_not_shown():
    from wherry.daemon.record import Record
    from wherry.daemon.reports import report

    record = Record(number=1, asked=Asked(what="c", output="/o", sources=("http://u:CANARY@h:1", "https://h/?token=CANARY")))
    assert report(record).sources == ["http://<secret>@h:1", "https://h/?token=<secret>"]


def test_a_configuration_names_no_such_peer(tmp_path):
    (tmp_path / "wherry.toml").write_text('[peers]\nlab = "http://u:CANARY@h:1"\n')
    with pytest.raises(ConfigProblems, match="peers.lab") as caught:
        load(None, tmp_path, {})
    assert "CANARY" not in str(caught.value)
    assert "no user and no password" in str(caught.value)
