"""What is wrong with a name or its record is said where the user meets it: when it is imported, listed, resolved, published."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from contextlib import closing

import pytest

from wherry.errors import DecodeError, IntegrityError, KeyProblem, NotFound
from wherry.ipns.name import Name
from wherry.ipns.record import create
from wherry.nodekey import NodeKey
from wherry.observe import Note
from wherry.sealing.folder import KeyFolder
from wherry.session import Session
from wherry.store.namekeys import NameKeys
from wherry.testing.hostile import HostileServer, answer, redirect

KEY = NodeKey(b"n" * 32)
NAME = str(Name.of(KEY.public))
FAR = 4_000_000_000 * 10**9
EMPTY = "/ipfs/bafkqaaa"
OTHER = "/ipfs/bafkqabtimvwgy3yk"
ELSEWHERE = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
RSA = b"\x08\x00\x12\x03rsa"
RSA_NAME = str(Name(b"\x12\x20" + hashlib.sha256(RSA).digest()))
DISPUTED = r"two different records of \w+ are signed with number 5"


def made(number, value=EMPTY, until=FAR):
    return create(KEY, value, number, until)


@pytest.fixture
def over(tmp_path):
    """Runs a test's work over a session."""

    def run(work):
        async def whole():
            async with Session.open(home=tmp_path / "home", environ={}) as mine:
                await work(mine)

        asyncio.run(whole())

    return run


@pytest.mark.parametrize("again", [made(5), made(5, OTHER), made(5, until=FAR + 1), made(5, OTHER, FAR + 1)])
def test_neither_record_of_a_disputed_name_is_imported_with_success(over, again):
    async def work(mine):
        await mine.import_record(NAME, made(5))
        for record in (made(5, OTHER), again):
            with pytest.raises(IntegrityError, match=DISPUTED) as imported:
                await mine.import_record(NAME, record)
        with pytest.raises(IntegrityError, match=DISPUTED) as resolved:
            await mine.resolve_name(NAME)
        assert str(imported.value) == str(resolved.value)
        assert (await mine.import_record(NAME, made(6))).sequence == 6

    over(work)


def test_an_older_record_is_refused_with_its_number(over):
    async def work(mine):
        await mine.import_record(NAME, made(5))
        with pytest.raises(IntegrityError, match="has number 4, and a higher one is known"):
            await mine.import_record(NAME, made(4))
        assert (await mine.import_record(NAME, made(5))).value == EMPTY

    over(work)


def test_a_list_says_which_names_are_disputed_and_over(over):
    async def work(mine):
        now = mine._clock()
        await mine.import_record(NAME, made(5, until=int((now + 100) * 1e9)))
        assert [one.warnings for one in await mine.names()] == [[]]
        with pytest.raises(IntegrityError):
            await mine.import_record(NAME, made(5, OTHER))
        assert [one.warnings for one in await mine.names()] == [["disputed"]]
        mine._clock = lambda: now + 200
        assert [one.warnings for one in await mine.names()] == [["over", "disputed"]]
        await mine.import_record(NAME, made(6))
        assert [one.warnings for one in await mine.names()] == [[]]

    over(work)


def test_nobody_is_sent_to_others_for_a_key_that_is_not_taken(over):
    record = made(1) + b"\x3a" + bytes((len(RSA),)) + RSA
    form = {"Content-Type": "application/vnd.ipfs.ipns-record"}

    async def work(mine):
        with HostileServer(answer(lambda _request: record, headers=form)) as server:
            with pytest.raises(NotFound, match="a kind of key that is not taken") as resolved:
                await mine.resolve_name(RSA_NAME, sources=[server.url])
            with pytest.raises(IntegrityError):  # not the key of that name: others may well have a right one
                await mine.import_record(NAME, record)
            with pytest.raises(NotFound) as lied:
                await mine.resolve_name(NAME, sources=[server.url])
        with pytest.raises(DecodeError) as imported:
            await mine.import_record(RSA_NAME, record)
        assert resolved.value.hint == imported.value.hint
        assert "only Ed25519 is" in resolved.value.hint
        assert "ask others" not in resolved.value.hint
        assert "ask others" in lied.value.hint

    over(work)


def test_a_name_that_carries_a_key_of_another_kind_has_no_record(over):
    async def work(mine):
        with pytest.raises(DecodeError, match="a kind of key that is not taken") as imported:
            await mine.import_record(str(Name(bytes((0, len(RSA))) + RSA)), made(1))
        assert "only Ed25519 is" in imported.value.hint

    over(work)


@pytest.mark.parametrize(("hours", "renew", "said"), [(48, True, 0), (1, True, 0), (48.1, True, 2), (100_000, False, 1)])
def test_a_lifetime_beyond_what_the_public_network_keeps_is_warned_of(over, hours, renew, said):
    async def work(mine):
        warnings = (await mine.publish_name(EMPTY, lifetime_s=hours * 3600.0, renew=renew)).warnings
        text = "".join(warnings)
        assert ("for longer than 48 h" in text) + ("unless `wherry serve`" in text) == said
        assert len(warnings) == bool(said)

    over(work)


def test_that_a_cid_is_not_here_is_said_and_hinders_nothing(over, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_bytes(b"x" * 1000)
    blake3 = "bafkr4ih7qx2ql6t4s5xvwkywxlbcmxdq3w3xwwv2bfwbg2ayoo2mnaxvmy"

    async def work(mine):
        for what in (ELSEWHERE, f"{ELSEWHERE}/a", blake3):
            report = await mine.publish_name(what)
            assert report.value == f"/ipfs/{what}"
            (text,) = report.warnings
            assert text.startswith(f"{what.partition('/')[0]} is not in this home")
        added = await mine.add(str(tmp_path / "data"))
        block = await mine.dag_put(b'{"a": 1}')
        for what in (
            added.cid,
            f"{added.cid}/file",
            added.unixfs_cid,
            f"{added.unixfs_cid}/file",
            block.cid,
            EMPTY,
            f"/ipns/{NAME}",
        ):
            assert (await mine.publish_name(what)).warnings == [], what

    over(work)


def test_two_that_make_a_key_at_once_have_the_same(tmp_path, monkeypatch):
    keys, other, real = NameKeys(tmp_path), NameKeys(tmp_path), KeyFolder.swap

    def late(self, *given):
        monkeypatch.setattr(KeyFolder, "swap", real)
        other.get_or_make("self")  # between our look and our making
        real(self, *given)

    monkeypatch.setattr(KeyFolder, "swap", late)
    assert keys.get_or_make("self").public == other.get("self").public


def test_a_key_that_cannot_be_made_is_no_other_ones_key(tmp_path):
    keys = NameKeys(tmp_path)
    keys.get_or_make("other")
    (tmp_path / "keys" / "names").chmod(0o755)
    with pytest.raises(KeyProblem, match="open to other users"):
        keys.get_or_make("self")


def test_who_is_silent_is_named_and_waited_for_aloud(over, monkeypatch):
    monkeypatch.setattr("wherry.session.names.LOCATE_S", 0.5)
    monkeypatch.setattr("wherry.session.names._SILENT_S", 0.1)
    said = []

    async def work(mine):
        with closing(socket.create_server(("127.0.0.1", 0))) as one, closing(socket.create_server(("127.0.0.1", 0))) as two:
            silent = [f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in (one, two)]
            with closing(socket.create_server(("127.0.0.1", 0))) as gone:
                refuses = f"http://127.0.0.1:{gone.getsockname()[1]}"
            with pytest.raises(NotFound) as caught:
                await mine.resolve_name(NAME, sources=[*silent, refuses], observe=said.append)
        for url in silent:
            assert f"{url} took more than 0.5 s" in caught.value.message
        assert refuses in caught.value.message
        assert "somebody" not in caught.value.message

    over(work)
    assert [event.text[1:] for event in said] == [f" sources have not said yet where {NAME} leads; waiting for up to 0.5 s"]


def test_trackers_that_redirect_and_forge_are_named_whatever_asks(tmp_path):
    form = {"Content-Type": "application/vnd.ipfs.ipns-record"}
    forged = create(NodeKey(b"x" * 32), OTHER, 9, FAR)

    async def work():
        with (
            HostileServer(redirect("/elsewhere")) as moved,
            HostileServer(answer(forged, headers=form)) as forger,
            HostileServer(answer(made(5), headers=form)) as good,
        ):
            environ = {"WHERRY_LOCATOR__USE": "tracker", "WHERRY_LOCATOR__TRACKER__URLS": f"{moved.url},{forger.url}"}
            async with Session.open(home=tmp_path / "home", environ=environ) as mine:
                with pytest.raises(NotFound) as missing:
                    await mine.resolve_name(NAME)
                assert f"{moved.url} answered with status 302, a redirect" in missing.value.message
                assert f"{forger.url}: " in missing.value.message
            environ["WHERRY_LOCATOR__TRACKER__URLS"] += f",{good.url}"
            async with Session.open(home=tmp_path / "home", environ=environ) as mine:
                report = await mine.resolve_name(NAME)
                assert (report.sequence, report.told, len(report.warnings)) == (5, [good.url], 2)
                notes = []
                await mine.get(NAME, output=tmp_path / "out", observe=notes.append)
                said = [note.text for note in notes if isinstance(note, Note)]
                assert sorted(said) == sorted(report.warnings)

    asyncio.run(work())
