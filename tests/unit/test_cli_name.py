"""`wherry name` over a session of the test's own: how a follower ends, and what is said of names and of files."""

from __future__ import annotations

import io
import json
import os
import signal

import pytest

from wherry.ipns.name import Name
from wherry.ipns.record import create, read
from wherry.nodekey import NodeKey
from wherry.results import FollowResult, NameReport
from wherry_cli.signals import Interrupted

NAME = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"
KEY = NodeKey(b"n" * 32)


@pytest.fixture
def following(fake_session):
    """Makes a session that does something as a look does, and is stopped."""

    def made(look=lambda: None):
        async def follow_name(name, **options):
            look()
            raise Interrupted(signal.SIGINT)
            yield

        session = fake_session()
        session.follow_name = follow_name
        return session

    return made


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (None, "no version came whole, so no link was made"),
        ("now.versions/bafkqaaa", "the link leads to the last whole version"),
        ("elsewhere", "no version came whole, so the link is as it was"),
    ],
)
def test_a_stopped_follower_says_where_the_link_leads_now(  # noqa: PLR0917 - fixtures, not arguments
    tmp_path, capsys, go, following, to, said
):
    link = tmp_path / "now"
    argv = ["name", "follow", NAME, "--link", f"{link}/"]
    assert go(following(lambda: to and os.symlink(to, link)), *argv) == 130
    assert f"wherry: stopped; {said}\n" in capsys.readouterr().err
    assert go(following(), *argv) == 130  # it was there before
    assert f"wherry: stopped; {said}\n" in capsys.readouterr().err


def test_without_a_link_a_stopped_follower_speaks_of_none(capsys, go, following):
    assert go(following(), "name", "follow", NAME) == 130
    assert capsys.readouterr().err == "wherry: stopped\n"


def test_a_list_says_what_is_wrong_in_the_place_of_the_time(capsys, go, fake_session):
    def one(*warnings):
        return NameReport(
            name=NAME, value="/ipfs/bafkqaaa", sequence=5, until="2027-01-01T00:00:00.000000000Z", ttl=60.0, key="",
            warnings=list(warnings),
        )  # fmt: skip

    assert go(fake_session(names=[one(), one("over"), one("disputed"), one("over", "disputed")]), "name", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    ends = ["until 2027-01-01T00:00:00Z", "over", "disputed", "over, disputed"]
    assert lines == [f"{NAME}  -  5  /ipfs/bafkqaaa  {end}" for end in ends]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "{} is empty"),
        (create(KEY, "/ipfs/bafkqaaa", 1, 4_000_000_000 * 10**9)[:-30], "{}: this is no IPNS record, or one that is damaged: "),
        (b"this is a text, and no record of a name\n", "{}: this is no IPNS record, or one that is damaged: "),
        (bytes(20_000), "{}: this is no IPNS record: those have at most 10,240 bytes\n"),
    ],
)
@pytest.mark.parametrize("piped", [False, True])
def test_a_file_that_is_no_record_is_named(  # noqa: PLR0917 - fixtures, not arguments
    tmp_path, capsys, monkeypatch, go, fake_session, content, said, piped
):
    async def import_record(name, record):
        read(record, Name.parse(name), 1.8e9)

    session = fake_session()
    session.import_record = import_record
    file = tmp_path / "record"
    file.write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert go(session, "name", "import", str(Name.of(KEY.public)), "-" if piped else str(file)) == 5
    printed = capsys.readouterr().err
    assert printed.startswith("error: " + said.format("standard input" if piped else repr(str(file))))
    assert "\n  hint: a record is what gateways give" in printed


def test_what_went_is_said_and_keep_asks_for_a_link(capsys, go, fake_session):
    step = FollowResult(
        name=NAME, value="/ipfs/bafkqaaa", sequence=5, path="/x/now.versions/b", link="/x/now", changed=True,
        removed=["/x/now.versions/a"],
    )  # fmt: skip
    asked = {}

    async def follow_name(name, **options):
        asked.update(options)
        yield step

    session = fake_session()
    session.follow_name = follow_name
    assert go(session, "name", "follow", NAME, "--link", "/x/now", "--keep", "1", "--force") == 0
    assert (asked["keep"], asked["force"]) == (1, True)
    assert "removed the older version /x/now.versions/a\n" in capsys.readouterr().out
    assert go(session, "name", "follow", NAME, "--link", "/x/now", "--json") == 0
    assert json.loads(capsys.readouterr().out)["removed"] == ["/x/now.versions/a"]
    for option in (["--keep", "1"], ["--force"]):
        assert go(session, "name", "follow", NAME, *option) == 2
        assert "give --link PATH" in capsys.readouterr().err
