"""What verbs are called with: CIDs as such, lists that are none, numbers with units; and calls of a session that is over."""

from __future__ import annotations

import inspect
from contextlib import aclosing

import pytest

from wherry import CID
from wherry import Session as AsyncSession
from wherry.errors import NotFound, UsageError
from wherry.session import Encryption
from wherry.session.given import fitting
from wherry.sync import Session

CIDS = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@pytest.fixture
def session(home):
    with Session.open(home=home) as opened:
        yield opened


def verbs():
    """Every verb, and its parameters without ``self``."""
    for name, verb in inspect.getmembers(AsyncSession, inspect.isfunction):
        if not name.startswith("_"):
            yield name, list(inspect.signature(verb).parameters.values())[1:]


def least(parameters):
    """Values for what has no default."""
    values = {"str": "x", "str | CID": CIDS, "Sequence[str]": ["x"], "bytes": b"1"}
    return {one.name: values[one.annotation] for one in parameters if one.default is inspect.Parameter.empty}


@pytest.mark.parametrize(
    ("kinds", "wrong", "said"),
    [
        (("Sequence[str]", "list[str] | None"), "val/*", "a list of texts, and not a text"),
        (("Sequence[str]", "list[str] | None"), b"val", "a list of texts, and not bytes"),
        (("Sequence[str]", "list[str] | None"), [None], "a list of texts"),
        (("Sequence[str]",), None, "a list of texts, and not NoneType"),
        (("str | CID",), None, "a text or a CID, and not NoneType"),
        (("str | CID", "str | CID | None"), b"\x01\x55", "a text or a CID, and not bytes"),
        (("str",), None, "a text, and not NoneType"),
        (("str", "str | None"), 7, "a text, and not int"),
        (("int", "int | None"), "1GB", "a whole number, and not a text"),
        (("int", "int | None"), 0.5, "a whole number, and not float"),
        (("int", "int | None"), True, "a whole number, and not bool"),
        (("int", "int | None"), -1, "a whole number, at least 0, and not -1"),
        (("int", "int | None"), -2.0, "a whole number, at least 0, and not -2.0"),
        (("int", "int | None"), float("nan"), "a whole number, and not float"),
        (("float", "float | None"), "5s", "a number, and not a text"),
        (("float", "float | None"), False, "a number, and not bool"),
        (("float", "float | None"), -0.5, "a number, at least 0, and not -0.5"),
        (("float", "float | None"), float("nan"), "a number, at least 0, and not nan"),
        (("bytes", "bytes | None"), "secret", "bytes, and not a text"),
    ],
)
def test_no_verb_takes_what_is_of_another_kind(session, kinds, wrong, said):
    seen = set()
    for name, parameters in verbs():
        for parameter in parameters:
            if parameter.annotation in kinds:
                with pytest.raises(UsageError) as raised:
                    getattr(session._session, name)(**{**least(parameters), parameter.name: wrong})
                assert raised.value.message.startswith(f"{name}: {parameter.name} is {said}")
                seen.add(parameter.annotation)
    assert seen == set(kinds)


def test_the_look_at_arguments_forgets_no_list_and_no_cid():
    known = {"Sequence[str]", "list[str] | None", "str | CID", "str | CID | None"}
    found = {one.annotation for _, parameters in verbs() for one in parameters}
    assert {kind for kind in found if "CID" in kind or "[str]" in kind} == known


def test_a_pattern_that_is_no_list_selects_nothing(session, tree, tmp_path):
    cid = session.add(str(tree)).cid
    with pytest.raises(UsageError, match=r"get: include is a list of texts.*\n.*write a list: include="):
        session.get(cid, include="data/*", output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert session.get(cid, include=("data/*",), output=str(tmp_path / "out"))
    with pytest.raises(UsageError, match="serve: listen is a list"), session.serve(listen="http://127.0.0.1:0"):
        pytest.fail("it serves")
    with pytest.raises(UsageError, match="add: recipients is a list"):
        session.add(str(tree), encryption=Encryption(recipients="alice"))


def test_every_verb_takes_a_cid_as_such(session, tree, tmp_path):
    text = session.add(str(tree)).cid
    cid = CID.parse(text)
    assert session.stat(cid) == session.stat(text)
    assert list(session.ls(cid)) == list(session.ls(text))
    assert session.find(cid).cid == session.dag_stat(cid).cid == text
    assert session.dag_get(cid) == session.dag_get(text)
    assert session.dag_ls(cid) == session.dag_ls(text)
    assert session.verify(cid, str(tree)).cid == text
    assert session.get(cid, output=str(tmp_path / "got")).cid == text
    assert session.export_car(cid, str(tmp_path / "x.car")).cid == text
    assert session.export_torrent(cid, str(tmp_path / "x.torrent")).cid == text
    assert session.cache_warm(cid, max_bytes=0).cid == text
    assert session.publish_name(cid).value == f"/ipfs/{text}"
    assert session.roots(cid) == session.roots(text) != []
    with pytest.raises(UsageError, match="not encrypted"):
        session.grant(cid, ["age1x"])
    file = CID.parse(session.stat(f"{text}/data/large.bin").cid)
    assert b"".join(session.cat(file)) == (tree / "data/large.bin").read_bytes()


class One:
    """A number of another library."""

    def __index__(self):
        return 1


def test_paths_and_numbers_of_other_types_are_taken_as_before(session, tree):
    cid = session.add(tree).cid
    assert session.verify(cid, tree).ok
    assert b"".join(session.cat(f"{cid}/data/large.bin", offset=1.0, length=One())) == b"".join(
        session.cat(f"{cid}/data/large.bin", offset=1, length=1)
    )
    assert fitting("get", "max_bytes", "int | None", 1e9) == 1_000_000_000
    assert fitting("get", "wait_s", "float | None", 5) == 5


async def test_a_session_that_was_left_says_so(home, tree):
    async with AsyncSession.open(home=home) as session:
        cid = (await session.add(str(tree))).cid
    first = {"import_car", "get_torrent", "import_record", "name_log", "resolve_name", "follow_name", "repair"}
    for name, parameters in verbs():
        if name in first:  # they look at what they are given before they need the session
            continue
        given = {**least(parameters), **({"what": "10.0.0.1"} if name in {"ban", "allow", "unban"} else {})}
        with pytest.raises(UsageError, match=r"the session is closed\n.*open another one"):
            await used(getattr(session, name)(**given))
    assert session.home == home
    assert session.config.get.wait > 0
    with pytest.raises(NotFound):
        async with AsyncSession.open(home=home) as session:
            await session.stat(f"{cid}/absent")


async def used(made):
    """Awaits, iterates or enters what a verb gives."""
    if inspect.isasyncgen(made):
        async with aclosing(made) as items:
            return [item async for item in items]
    if inspect.isawaitable(made):
        return await made
    async with made:
        return None
