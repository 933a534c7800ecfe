"""What lies beside the link of a followed name: whose link it is, and which older versions go (specs/0034 §7)."""

from __future__ import annotations

import fcntl
import os
import shutil
from types import SimpleNamespace

import pytest
from following import NAME, followed, made

from wherry.errors import NotFound, TargetExists, UsageError, WherryError
from wherry.session import Session, versions


async def published(one, tmp_path, count, shared=b""):
    """Has the script publish so many datasets; gives their CIDs. What was added is gone then."""
    cids = []
    for number in range(count):
        folder = tmp_path / f"data{number}"
        folder.mkdir()
        (folder / "own").write_bytes(b"%d" % number * 70_000)
        (folder / "shared").write_bytes(shared)
        cids.append((await one.session.add(str(folder))).cid)
    return cids


async def looked(one, **options):
    (step,) = [step async for step in one.session.follow_name(NAME, link=str(one.link), once=True, **options)]
    return step


async def followed_through(one, monkeypatch, cids, **options):
    """Follows versions, got at seconds of their own; gives the last step."""
    step = None
    for number, cid in enumerate(cids, one.record_number if hasattr(one, "record_number") else 1):
        monkeypatch.setattr("wherry.store.state.time", SimpleNamespace(time=lambda number=number: 1000.0 + number))
        one.record = made(number, f"/ipfs/{cid}")
        one.record_number = number + 1
        step = await looked(one, **options)
    return step


@pytest.mark.parametrize(
    "to", ["/etc", "gone", "now.versions", "now.versions/..", "now.versions/a/b", "other.versions/bafkqaaa"]
)
async def test_a_link_of_the_users_own_that_leads_elsewhere_stays_unless_forced(tmp_path, to):
    async with followed(tmp_path) as one:
        one.link.symlink_to(to)
        with pytest.raises(TargetExists, match="not one that follows a name") as caught:
            await looked(one)
        assert "--force" in caught.value.hint
        assert os.readlink(one.link) == to
        assert not (tmp_path / "now.versions").exists()  # before anything was fetched
        assert (await looked(one, force=True)).changed
        assert one.content == b"hello\n"
        await looked(one)  # and from then on it is its own


@pytest.mark.parametrize("to", ["now.versions/bafkqaaa", "{}/now.versions/bafkqaaa", "./now.versions/gone"])
async def test_its_own_link_is_followed_on_however_it_is_written(tmp_path, to):
    async with followed(tmp_path) as one:
        one.link.symlink_to(to.format(tmp_path))
        assert (await looked(one)).changed
        assert one.content == b"hello\n"


async def test_a_link_that_is_put_there_during_the_get_stays(tmp_path):
    async with followed(tmp_path) as one:
        version = (await looked(one)).path
        one.link.unlink()
        one.link.symlink_to("/etc")
        with pytest.raises(TargetExists):
            versions.swap(str(one.link), version)
        assert os.readlink(one.link) == "/etc"


async def test_force_replaces_nothing_but_links(tmp_path):
    async with followed(tmp_path) as one:
        one.link.write_text("mine")
        with pytest.raises(TargetExists):
            await looked(one, force=True)
        assert one.link.read_text() == "mine"


async def test_so_many_versions_stay_as_it_is_said_and_all_if_it_is_not(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 5)
        step = await followed_through(one, monkeypatch, cids[:4])
        assert step.removed == []
        folder = tmp_path / "now.versions"
        assert len(os.listdir(folder)) == 4
        step = await followed_through(one, monkeypatch, cids[4:], keep=2)
        assert sorted(step.removed) == sorted(str(folder / cid) for cid in cids[:3])
        assert sorted(os.listdir(folder)) == sorted(cids[3:])
        assert (one.link / "own").read_bytes() == b"4" * 70_000
        assert (await looked(one, keep=1)).removed == [str(folder / cids[3])]
        assert (await looked(one, keep=1)).removed == []
        assert os.listdir(folder) == [cids[4]]


async def test_what_this_home_did_not_get_as_a_version_stays(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 3)
        folder = tmp_path / "now.versions"
        await followed_through(one, monkeypatch, cids[:1])
        shutil.copytree(folder / cids[0], folder / f"{cids[0]}-backup")
        shutil.copytree(folder / cids[0], folder / f".{cids[0]}.wherry-part")  # of another process
        (folder / "mine").mkdir()
        await one.session.get(cids[0], output=str(folder / "got"))
        async with Session.open(home=tmp_path / "other", environ={}) as other:
            await other.add(str(tmp_path / "data1"))
            await other.get(cids[1], output=str(folder / cids[1]))
        step = await followed_through(one, monkeypatch, cids[2:], keep=1)
        assert step.removed == [str(folder / cids[0])]
        kept = {f"{cids[0]}-backup", f".{cids[0]}.wherry-part", "mine", "got", cids[1], cids[2]}
        assert set(os.listdir(folder)) == kept


async def test_what_the_link_leads_to_and_what_is_newer_stays(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 2)
        step = await followed_through(one, monkeypatch, [*cids, cids[0]], keep=3)
        assert (step.changed, step.removed) == (True, [])
        assert (await looked(one, keep=1)).removed == []
        assert sorted(os.listdir(tmp_path / "now.versions")) == sorted(cids)


async def test_no_link_is_followed_out_of_the_folder(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 3)
        folder = tmp_path / "now.versions"
        await followed_through(one, monkeypatch, cids[:2])
        shutil.move(folder / cids[0], tmp_path / "moved")
        (folder / cids[0]).symlink_to(tmp_path / "moved")
        (folder / cids[1] / "out").symlink_to(tmp_path / "moved")
        (folder / f".{cids[0]}.wherry-removed").symlink_to(tmp_path / "moved")
        step = await followed_through(one, monkeypatch, cids[2:], keep=1)
        assert step.removed == [str(folder / cids[1])]
        assert sorted(os.listdir(folder)) == sorted([cids[0], cids[2]])
        assert sorted(os.listdir(tmp_path / "moved")) == ["own", "shared"]


async def test_of_what_went_nothing_is_given_out_and_the_rest_is_right(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 2, shared=b"s" * 70_000)
        await followed_through(one, monkeypatch, cids[:1])
        shutil.rmtree(tmp_path / "data0")  # what is shared is got from the first version, or the second dataset
        await followed_through(one, monkeypatch, cids[1:], keep=1)
        shutil.rmtree(tmp_path / "data1")
        async with (
            Session.open(home=tmp_path / "other", environ={}) as other,
            one.session.serve(listen=["http://127.0.0.1:0"]) as s,
        ):
            await other.get(cids[1], sources=s.listen, output=str(tmp_path / "second"))
            await other.get(f"{cids[0]}/shared", sources=s.listen, output=str(tmp_path / "shared"))
            with pytest.raises(WherryError):
                await other.get(cids[0], sources=s.listen, output=str(tmp_path / "first"), wait_s=1)
        assert (tmp_path / "shared").read_bytes() == b"s" * 70_000
        assert (tmp_path / "second" / "own").read_bytes() == b"1" * 70_000
        assert not (tmp_path / "first").exists()


async def test_a_version_that_went_is_got_again_where_the_name_goes_back(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 2)
        step = await followed_through(one, monkeypatch, [*cids, cids[0]], keep=1)
        assert step.removed == [str(tmp_path / "now.versions" / cids[1])]
        assert (one.link / "own").read_bytes() == b"0" * 70_000


async def test_the_link_is_never_led_to_a_version_that_went_meanwhile(tmp_path):
    link = tmp_path / "now"
    (tmp_path / "now.versions").mkdir()
    with pytest.raises(NotFound, match="removed before"):
        versions.swap(str(link), str(tmp_path / "now.versions" / "bafkqaaa"))
    assert not link.is_symlink()


async def test_where_folders_cannot_be_locked_nothing_is_removed(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 2)
        await followed_through(one, monkeypatch, cids)

        def unlockable(*_words):
            raise OSError(9, "no locks here")

        monkeypatch.setattr(fcntl, "flock", unlockable)
        assert versions.prune(str(one.link), 1, one.session._store.state) == ([], [])
        assert len(os.listdir(tmp_path / "now.versions")) == 2


async def test_what_cannot_be_removed_is_said_and_tried_again(tmp_path, monkeypatch):
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 2)
        await followed_through(one, monkeypatch, cids)
        real = versions.remove_tree

        def failing(*_words, **_options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(versions, "remove_tree", failing)
        step = await looked(one, keep=1)
        assert "cannot remove the older version" in step.warnings[-1]
        monkeypatch.setattr(versions, "remove_tree", real)
        assert (await looked(one, keep=1)).warnings == []
        assert os.listdir(tmp_path / "now.versions") == [cids[1]]


async def test_nobody_waits_for_a_removal_and_two_may_remove_the_same(tmp_path, monkeypatch):
    """A version may be of many files: another process that follows the link swaps it meanwhile, and removes along."""
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 2)
        await followed_through(one, monkeypatch, cids)
        real = versions.remove_tree

        def meanwhile(name, *, dir_fd):
            other = os.open(tmp_path / "now.versions", os.O_RDONLY)
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(other)
            real(name, dir_fd=dir_fd)
            real(name, dir_fd=dir_fd)  # as the other one does

        monkeypatch.setattr(versions, "remove_tree", meanwhile)
        step = await looked(one, keep=1)
        assert (step.removed, step.warnings) == ([str(tmp_path / "now.versions" / cids[0])], [])
        assert os.listdir(tmp_path / "now.versions") == [cids[1]]


async def test_at_least_one_version_stays(tmp_path):
    async with followed(tmp_path) as one:
        with pytest.raises(UsageError, match="--keep"):
            await looked(one, keep=0)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("bafkqaaa", True), ("bafkqaaa-a%2Fb", True), ("bafkqaaa-", False), ("BAFKQAAA", False), ("mine", False), ("", False),
        ("-a", False), (".bafkqaaa.wherry-part", False), ("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", True),
    ],
)  # fmt: skip
def test_names_of_versions_are_told_by_their_form(name, is_one):
    assert versions._is_version(name) is is_one


async def test_a_version_has_lost_its_name_on_the_disk_before_anything_in_it_goes(tmp_path, monkeypatch):
    """Or a power cut in the midst could leave half a version under its name."""
    done, sync, remove = [], os.fsync, versions.remove_tree
    async with followed(tmp_path) as one:
        cids = await published(one, tmp_path, 2)
        await followed_through(one, monkeypatch, cids)
        folder = tmp_path / "now.versions"

        def syncing(fd):
            if os.path.samestat(os.fstat(fd), folder.stat()):
                done.append(sorted(os.listdir(fd)))
            sync(fd)

        monkeypatch.setattr(os, "fsync", syncing)
        monkeypatch.setattr(versions, "remove_tree", lambda name, **at: done.append(name) or remove(name, **at))
        versions.prune(str(one.link), 1, one.session._store.state)
        hidden = f".{cids[0]}{versions._GOING}"
        assert done == [sorted([hidden, cids[1]]), hidden]
