"""Targets: the hidden part, its lock, its name at the end, and what is left when it goes wrong."""

from __future__ import annotations

import errno
import os

import pytest
from killing import killed, without_exchange

from wherry import safetree
from wherry.block import EMPTY_LEAF
from wherry.errors import LocalError, NoSpace, TargetBusy, TargetError, TargetExists, Unwritable, WherryError
from wherry.manifest import DIR, FILE, Entry
from wherry.transfer import target as targets
from wherry.transfer.replaced import left_beside, remove
from wherry.transfer.target import Target, free_bytes, hidden_names, tidy

WHO = {"cid": "bafy", "selection": ""}
A_DIR = Entry("", DIR, EMPTY_LEAF, 0, 1)
A_FILE = Entry("", FILE, EMPTY_LEAF, 3, 1)


@pytest.fixture(params=["directory", "file"])
def kind(request):
    return A_DIR if request.param == "directory" else A_FILE


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "place/target")


def fill(target, kind):
    place = target.inside("inner" if kind is A_DIR else "")
    fd = target.tree.open(place, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"new")
    os.close(fd)


def nothing():
    """Records nothing."""


def content(path):
    with open(f"{path}/inner" if os.path.isdir(path) else path) as file:
        return file.read()


def test_it_appears_whole_and_leaves_nothing_beside(path, kind):
    target = Target(path, kind, WHO)
    fill(target, kind)
    assert not os.path.lexists(path)
    target.finish(force=False, synced=True)
    target.close()
    assert content(path) == "new"
    assert os.listdir(os.path.dirname(path)) == ["target"]


def test_a_place_where_nothing_can_be_is_a_destination_of_no_use(tmp_path, kind):
    (tmp_path / "file").touch()
    for path in ("/proc/target", f"{tmp_path}/file/target", f"{tmp_path}/file/below/target"):
        with pytest.raises(TargetError, match=r"\n  hint: name a place on a disk") as caught:
            Target(path, kind, WHO)
        assert caught.value.exit_code == 9
        assert repr(os.path.dirname(path)) in caught.value.message


def test_it_goes_on_where_it_was(path, kind):
    target = Target(path, kind, WHO)
    fill(target, kind)
    target.journal.append([(0, 3)])
    assert not target.existed
    target.close()
    again = Target(path, kind, WHO)
    assert again.existed
    assert again.journal.done.total == 3
    again.finish(force=False, synced=False)
    again.close()
    assert content(path) == "new"


def test_a_name_that_appeared_meanwhile_is_kept(path, kind):
    target = Target(path, kind, WHO)
    fill(target, kind)
    with open(path, "w") as file:
        file.write("mine")
    with pytest.raises(TargetExists):
        target.finish(force=False, synced=False)
    target.close()
    assert content(path) == "mine"
    assert os.path.lexists(hidden_names(path)[0])


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("there", ["file", "directory", "nothing"])
def test_forced_it_replaces_whatever_is_there(path, kind, there, can_exchange, monkeypatch):
    if not can_exchange:

        def cannot(one, other):
            raise OSError(errno.EINVAL, "cannot")

        monkeypatch.setattr(safetree, "exchange", cannot)
    target = Target(path, kind, WHO)
    fill(target, kind)
    if there == "file":
        open(path, "w").close()
    elif there == "directory":
        os.makedirs(f"{path}/old/older")
    target.finish(force=True, synced=False)
    target.close()
    assert content(path) == "new"
    assert os.listdir(os.path.dirname(path)) == ["target"]


def test_one_at_a_time(path, kind):
    target = Target(path, kind, WHO)
    with pytest.raises(TargetBusy):
        Target(path, kind, WHO)
    target.discard()
    target.close()
    assert os.listdir(os.path.dirname(path)) == []
    Target(path, kind, WHO).discard()


def test_where_it_lies_may_be_a_link_and_the_part_may_not(tmp_path, kind):
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    (tmp_path / "outside").mkdir()
    path, real = str(tmp_path / "way/target"), str(tmp_path / "real/target")
    os.symlink("../outside", hidden_names(real)[0])
    target = Target(path, kind, WHO)
    with pytest.raises(TargetBusy):
        Target(real, kind, WHO)
    fill(target, kind)
    target.finish(force=False, synced=True)
    target.close()
    assert content(real) == "new"
    assert os.listdir(tmp_path / "real") == ["target"]
    assert os.listdir(tmp_path / "outside") == []


def test_a_link_that_is_put_in_the_place_of_a_files_part_is_not_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    (tmp_path / "secret").write_bytes(b"secret")
    target = Target(str(tmp_path / "way/target"), A_FILE, WHO)
    os.symlink("../secret", target.part)
    with pytest.raises(OSError):
        fill(target, A_FILE)
    target.close()
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_discarding_needs_no_part(path):
    target = Target(path, A_FILE, WHO)  # a file's part is made when it is written
    target.discard()
    target.close()
    assert os.listdir(os.path.dirname(path)) == []


def test_a_long_name_has_short_hidden_ones(tmp_path):
    names = hidden_names(str(tmp_path / ("é" * 127)))
    assert all(len(os.fsencode(os.path.basename(name))) < 60 for name in names)
    assert hidden_names(str(tmp_path / ("é" * 126 + "a"))) != names
    assert os.path.basename(hidden_names("/a/b")[0]) == ".b.wherry-part"


def test_a_place_that_cannot_be_is_said_at_once_and_leaves_nothing(tmp_path):
    with pytest.raises(Unwritable):
        Target(str(tmp_path / ("n" * 256)), A_DIR, WHO)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WherryError):
        Target(str(tmp_path / "file/x"), A_DIR, WHO)
    assert os.listdir(tmp_path) == ["file"]


def test_space(path, tmp_path):
    target = Target(path, A_DIR, WHO)
    free = free_bytes(str(tmp_path))
    assert free_bytes(str(tmp_path / "not/there/yet")) == pytest.approx(free, rel=0.1)
    target.check_space(free // 4)
    with pytest.raises(NoSpace, match="free"):
        target.check_space(free * 2)
    fill(target, A_DIR)
    assert target.allocated_bytes() >= 3
    target.discard()


def test_tidying_takes_only_what_is_this_transfers_own(path):
    target = Target(path, A_DIR, WHO)
    target.close()
    os.mkdir(path)
    assert not tidy(path, {**WHO, "cid": "another"}, nothing)
    assert len(os.listdir(os.path.dirname(path))) == 3
    busy = Target(path, A_DIR, WHO)
    assert not tidy(path, WHO, nothing)
    busy.close()
    assert tidy(path, WHO, nothing)
    assert remove(left_beside(busy.part)) == []
    assert os.listdir(os.path.dirname(path)) == ["target"]
    assert not tidy(path, WHO, nothing)


def test_tidying_that_fails_frees_the_target(path, monkeypatch):
    target = Target(path, A_DIR, WHO)
    target.close()
    os.mkdir(path)

    def fails(*_):
        raise OSError(errno.EROFS, "read-only")

    named = []
    with monkeypatch.context() as failing:
        failing.setattr(targets, "set_aside", fails)
        assert tidy(path, WHO, lambda: named.append(sorted(os.listdir(os.path.dirname(path)))))
    assert named == [[".target.wherry-journal", ".target.wherry-part", "target"]]  # before any of it goes
    Target(path, A_DIR, WHO).close()  # not busy


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_at_any_step_leaves_nothing_for_ever_and_no_only_copy_goes(tmp_path, kind, can_exchange, monkeypatch):
    if not can_exchange:
        monkeypatch.setattr(safetree, "_rename", without_exchange)
    seen, step = [], 0
    while True:
        path = str(tmp_path / f"{step}/target")
        aside = hidden_names(path)[0] + "-old"
        target = Target(path, kind, WHO)
        fill(target, kind)
        target.journal.append([(0, 3)])
        old = f"{path}/inner" if kind is A_DIR else path
        os.makedirs(os.path.dirname(old), exist_ok=True)
        with open(old, "w") as file:
            file.write("old")
        was_killed = killed(step, lambda target=target: target.finish(force=True, synced=True))
        target.close()
        if not was_killed:
            break
        seen.append(content(path) if os.path.lexists(path) else "nothing")
        if seen[-1] == "new":
            tidy(path, WHO, nothing)
            remove(left_beside(hidden_names(path)[0]))
        else:
            again = Target(path, kind, WHO)
            if seen[-1] == "nothing":
                remove(left_beside(again.part))  # as each get does, whatever comes of it
                assert content(aside) == "old"
            assert content(again.part) == "new"
            again.finish(force=True, synced=True)
            again.close()
        assert (content(path), os.listdir(os.path.dirname(path))) == ("new", ["target"])
        step += 1
    assert list(dict.fromkeys(seen)) == (["old", "new"] if can_exchange else ["old", "nothing", "new"])


def test_what_a_kill_left_aside_goes_when_something_else_has_the_name(path, kind):
    os.makedirs(path)
    aside = hidden_names(path)[0] + "-old"
    with open(aside, "w") as file:
        file.write("old")
    other = Target(path, kind, {**WHO, "cid": "another"})
    assert remove(left_beside(other.part)) == []
    assert not os.path.lexists(aside)
    other.discard()
    other.close()


def test_what_is_recorded_while_it_syncs_is_not_covered_by_that_sync(path, monkeypatch):
    target = Target(path, A_FILE, WHO)
    fill(target, A_FILE)
    target.journal.append([(0, 1)])
    real = safetree.SafeTree.sync

    def sync(tree):
        real(tree)
        target.journal.append([(1, 3)])  # by a thread that wrote behind the sync

    monkeypatch.setattr(safetree.SafeTree, "sync", sync)
    target.sync()
    target.close()
    monkeypatch.setattr("wherry.transfer.journal._boot", lambda: "another")
    again = Target(path, A_FILE, WHO)
    assert list(again.journal.done) == [(0, 1)]
    again.close()


@pytest.mark.parametrize("force", [False, True])
def test_its_name_is_on_the_disk_before_it_is_recorded_and_its_journal_goes_last(path, kind, force, monkeypatch):
    target = Target(path, kind, WHO)
    fill(target, kind)
    if force:
        os.mkdir(path)
    done = []
    journal = hidden_names(path)[1]

    def noting(name, real):
        def called(*given, **options):
            result = real(*given, **options)
            done.append((name, os.path.isdir(path) and not os.listdir(path), os.path.lexists(journal)))
            return result

        return called

    for module, name in (
        (targets, "rename_new"),
        (targets, "swap_in"),
        (targets, "set_aside"),
        (targets, "sync_dir"),
        (targets, "remove"),
    ):
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    target.finish(force=force, synced=True, named=noting("recorded", lambda: None))
    target.close()
    given = ["swap_in", "set_aside"] if force else ["rename_new"]
    assert done == [(name, False, True) for name in [*given, "sync_dir", "recorded", "remove"]]
    assert os.listdir(os.path.dirname(path)) == ["target"]


def test_a_sync_that_failed_fails_ever_after_and_the_journal_is_not_trusted(path, kind, monkeypatch):
    """The system tells it once: whoever asks it again hears that all is well."""
    target = Target(path, kind, WHO)
    fill(target, kind)
    target.journal.append([(0, 1)])
    target.sync()
    target.journal.append([(1, 3)])
    with monkeypatch.context() as failing:

        def sync(tree):
            raise LocalError("cannot bring to disk")

        failing.setattr(safetree.SafeTree, "sync", sync)
        with pytest.raises(LocalError, match="bring to disk"):
            target.sync()
    for mark in (True, False):
        with pytest.raises(LocalError, match="bring to disk"):
            target.sync(mark=mark)
    target.close()
    again = Target(path, kind, WHO)
    assert (again.existed, again.journal.intact, again.journal.done.total) == (True, False, 1)
    again.sync()  # a new run may find the disk well
    again.close()


def test_what_was_recorded_of_a_file_that_was_changed_since_counts_for_no_later_run_either(path):
    """Else the next record would make the journal younger than the change, and the run after it believe all of it."""
    target = Target(path, A_FILE, WHO)
    fill(target, A_FILE)
    target.journal.append([(0, 2)])
    target.close()
    later = os.stat(target.part).st_mtime_ns + 10 * 10**9
    os.utime(target.part, ns=(later, later))
    again = Target(path, A_FILE, WHO)
    assert (again.existed, again.journal.intact, again.journal.done.total) == (True, False, 0)
    again.journal.append([(2, 3)])
    again.close()
    os.utime(again.part)
    last = Target(path, A_FILE, WHO)
    assert (last.journal.intact, last.journal.done.covers(2, 3), last.journal.done.total) == (True, True, 1)
    last.close()
