"""`name follow` without an end: new versions, sources that are away, lies, and records that are not renewed (specs/0034 §7)."""

from __future__ import annotations

import os

import pytest
from following import DAY, FIRST, NAME, NOW, SECOND, followed, made

from wherry.errors import PeerUnreachable, TargetExists, UsageError
from wherry.ipns.record import create
from wherry.nodekey import NodeKey
from wherry.session import versions


def nothing():
    pass


async def test_new_versions_are_swapped_in_and_nothing_is_said_twice(tmp_path):
    async with followed(tmp_path) as one:
        await one.run(
            nothing, one.says(made(2, SECOND)), nothing, one.says(made(3, FIRST)), one.says(made(3, FIRST, NOW + 9e5))
        )
        assert [(step.value, step.sequence, step.changed) for step in one.steps] == [
            (FIRST, 1, True), (SECOND, 2, True), (FIRST, 3, True)
        ]  # fmt: skip
        assert one.content == b"hello\n"
        assert one.pauses == [60.0] * 6
        assert one.said == []
        assert sorted(os.listdir(tmp_path)) == ["home", "now", "now.versions"]


async def test_of_a_version_that_was_changed_it_says_what_to_remove(tmp_path):
    async with followed(tmp_path) as one:
        await one.run()
        version = os.path.realpath(one.link)
        with open(version, "wb") as file:
            file.write(b"changed")
        await one.run()
        assert "it was complete, and was changed since" in one.said[-1]
        assert f"(remove {version!r}, and follow again" in one.said[-1]
        os.unlink(version)
        await one.run()
        assert one.content == b"hello\n"


async def test_a_source_that_is_away_is_said_once_and_asked_ever_later(tmp_path):
    async with followed(tmp_path) as one:
        away = one.says(failure=PeerUnreachable("nobody is there", peer="x"))
        await one.run(away, nothing, nothing, nothing, nothing, one.says(made(2, SECOND)), nothing)
        assert one.pauses == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 60.0, 60.0]
        assert one.said == ["nobody is there"]
        assert [step.sequence for step in one.steps] == [1, 2]
        assert one.content == b""


async def test_lies_are_said_and_change_nothing(tmp_path):
    async with followed(tmp_path) as one:
        one.record = made(5)
        await one.run(one.says(made(4, SECOND)), one.says(made(5, SECOND)), nothing, one.says(made(6, SECOND)))
        assert "older record" in one.said[0]
        assert "two different records" in one.said[1]
        assert len(one.said) == 2
        assert [step.sequence for step in one.steps] == [5, 6]
        kinds = [event.kind for event in await one.session.name_log(NAME)]
        assert kinds == ["new", "rollback", "equivocation", "new"]
        assert one.content == b""


async def test_a_forged_record_is_said_and_changes_nothing(tmp_path):
    async with followed(tmp_path) as one:
        forged = create(NodeKey(b"x" * 32), SECOND, 9, int((NOW + DAY) * 1e9))
        await one.run(one.says(forged), nothing)
        assert len(one.said) == 1
        assert "forged" in one.said[0]
        assert one.pauses == [60.0, 120.0, 240.0]
        assert one.content == b"hello\n"


async def test_a_record_that_is_not_renewed_is_said_and_the_link_stays(tmp_path):
    async with followed(tmp_path) as one:
        soon, over = one.says(now=NOW + 0.95 * DAY), one.says(now=NOW + 2 * DAY)
        await one.run(nothing, soon, nothing, over, nothing, one.says(made(1, until=NOW + 9 * DAY)))
        assert "was not renewed" in one.said[0]
        assert any("withheld" in text and "is over since" in text for text in one.said[1:])
        assert len(one.said) == len(set(one.said))
        assert one.content == b"hello\n"
        assert one.pauses[-1] == 60.0  # all is well again
        assert [step.sequence for step in one.steps] == [1]  # and nothing changed


async def test_a_version_that_cannot_be_got_is_tried_again_and_the_link_stays(tmp_path):
    async with followed(tmp_path) as one:
        await one.run(one.says(made(2, FIRST + "/nothing")), nothing, one.says(made(3, SECOND)))
        assert [step.sequence for step in one.steps] == [1, 3]
        assert len(one.said) == 1
        assert one.said[0].endswith("it is tried again")
        assert one.pauses == [60.0, 120.0, 240.0, 60.0]
        assert one.content == b""


async def test_names_that_only_posix_takes_are_taken_where_it_is_said(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a?").write_bytes(b"x")
    async with followed(tmp_path) as one:
        one.record = made(1, f"/ipfs/{(await one.session.add(str(tmp_path / 'data'))).cid}")
        await one.run(nothing)
        assert "--names posix); it is tried again" in one.said[0]
        (step,) = [step async for step in one.session.follow_name(NAME, link=str(one.link), once=True, names="posix")]
        assert (one.link / "a?").read_bytes() == b"x"
        assert step.changed


async def test_links_that_lead_out_of_the_tree_are_treated_as_it_is_said(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "out").symlink_to("/etc")
    async with followed(tmp_path) as one:
        one.record = made(1, f"/ipfs/{(await one.session.add(str(tmp_path / 'data'))).cid}")
        await one.run(nothing)
        assert "--links" in one.said[0]
        for links, found in (("skip", []), ("keep", ["out"])):
            link = tmp_path / links
            assert [step.changed async for step in one.session.follow_name(NAME, link=str(link), once=True, links=links)] == [
                True
            ]
            assert [path.name for path in link.iterdir()] == found


async def test_a_link_that_somebody_put_something_else_for_ends_it(tmp_path):
    async with followed(tmp_path) as one:

        def replace():
            one.link.unlink()
            one.link.write_text("mine")

        one.script = [replace]
        with pytest.raises(TargetExists):
            async for _ in one.session.follow_name(NAME, link=str(one.link)):
                pass
        assert one.link.read_text() == "mine"


async def test_what_a_killed_follower_left_beside_the_link_is_cleared_and_nothing_else(tmp_path):
    async with followed(tmp_path) as one:
        (tmp_path / "now.next").symlink_to("now.versions/old")
        await one.run()
        assert sorted(os.listdir(tmp_path)) == ["home", "now", "now.versions"]
        (tmp_path / "now.next").write_text("mine")
        await one.run(one.says(made(2, SECOND)))
        assert (tmp_path / "now.next").read_text() == "mine"
        assert one.content == b""
        assert len(os.listdir(tmp_path)) == 4


async def test_what_a_look_says_is_what_it_got(tmp_path):
    """Also where a newer record comes between: a look asks once."""
    async with followed(tmp_path) as one:
        asked = []

        async def ever_newer(name):
            asked.append(name)
            yield "carrier", made(len(asked), FIRST if len(asked) % 2 else SECOND)

        one.name_records = ever_newer
        await one.run(nothing, nothing, nothing)
        assert [step.sequence for step in one.steps] == [1, 2, 3, 4] == list(range(1, len(asked) + 1))
        for step in one.steps:
            with open(step.path, "rb") as version:
                assert version.read() == (b"hello\n" if step.value == FIRST else b"")


async def test_it_does_not_look_without_a_pause(tmp_path):
    async with followed(tmp_path) as one:
        for pause, said in ((0.0, "between two looks"), (-1.0, "every_s is a number, at least 0")):
            with pytest.raises(UsageError, match=said):
                await anext(one.session.follow_name(NAME, every_s=pause))


async def test_versions_at_different_paths_have_folders_of_their_own(tmp_path):
    names = {
        versions.version_name("c", path)
        for path in ("", "a/b", "a-b", "a%2Fb", "a", "a//", "ä" * 300, "ä" * 299 + "/", "x" * 2000)
    }
    assert len(names) == 9
    assert all(len(name.encode()) <= 200 and "/" not in name and name.startswith("c") for name in names)
