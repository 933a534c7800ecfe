"""A get of a torrent that is killed while it replaces something: neither the download nor what the user had is lost."""

from __future__ import annotations

import errno
import os

import pytest
from killing import killed, without_exchange

from wherry import safetree
from wherry.errors import WherryError
from wherry.transfer.torrent_place import TorrentPlace

IDS = ["a" * 40]


@pytest.fixture(autouse=True)
def disk(monkeypatch):
    """Nothing waits for it: no power is cut here."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


class World:
    """A target of the user's, and a download that is whole."""

    def __init__(self, base, kind):
        self.base, self.kind = base, kind
        base.mkdir()
        self.target, self.data = base / "t", base / ".t.wherry-torrent/data"
        self.put(self.target, "old")
        self.opened().close()
        self.data.parent.mkdir(exist_ok=True)
        self.put(self.data, "new")

    def put(self, path, text):
        if self.kind == "folder":
            (path / "sub").mkdir(parents=True)
            (path / "sub/inner").write_text(text)
            path = path / "file"
        path.write_text(text)

    def at(self, path):
        """Gives what lies there whole; nothing may be there in part."""
        files = [path] if self.kind == "file" else [path / "file", path / "sub/inner"]
        if not os.path.lexists(path):
            return "nothing"
        texts = {file.read_text() if file.is_file() else "lost" for file in files}
        assert len(texts) == 1
        return texts.pop()

    def opened(self):
        return TorrentPlace(str(self.target), IDS)

    def replace(self):
        place = self.opened()
        place.finish(force=True, sync=False)
        place.close()

    def bring_nothing(self):
        self.opened().close()

    def check(self):
        """Looks at what a run that brings nothing leaves, and at what one that ends makes of that."""
        self.bring_nothing()
        found = self.at(self.target)
        if found == "new":
            assert os.listdir(self.base) == ["t"]
            return found
        assert (found, self.at(self.data)) == ("old", "new")
        self.replace()
        assert (self.at(self.target), os.listdir(self.base)) == ("new", ["t"])
        return found


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_while_it_replaces_loses_neither_the_download_nor_what_was_there(tmp_path, monkeypatch, kind, can_exchange):
    """At each step; and again at each step of the run behind it, whatever that brings."""
    if not can_exchange:
        monkeypatch.setattr(safetree, "_rename", without_exchange)
    seen = []
    for first in range(100):
        world = World(tmp_path / f"{first}", kind)
        if not killed(first, world.replace):
            break
        assert world.at(world.data) != "old"  # where a run that does not know would write
        seen.append(world.check())
        for second in range(100):
            world = World(tmp_path / f"{first}-{second}", kind)
            assert killed(first, world.replace)
            if not killed(second, world.bring_nothing):
                break
            assert world.at(world.data) != "old"
            world.check()
    assert (seen[0], seen[-1], world.at(world.target)) == ("old", "new", "new")
    assert seen == sorted(seen, reverse=True)  # and not back again


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_put_where_the_target_was_meanwhile_stays(tmp_path, monkeypatch, kind):
    """By the user, who finds nothing there behind a kill between the two renames."""
    monkeypatch.setattr(safetree, "_rename", without_exchange)
    for step in range(100):
        world = World(tmp_path / f"{step}", kind)
        assert killed(step, world.replace)
        if not os.path.lexists(world.target):
            break
    world.put(world.target, "another")
    world.bring_nothing()
    assert (world.at(world.target), world.at(world.data)) == ("another", "new")
    world.replace()
    assert (world.at(world.target), os.listdir(world.base)) == ("new", ["t"])


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_only_copy_is_not_removed_where_the_exchange_could_not_be_undone(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(safetree, "_rename", without_exchange)
    world, real, moved = World(tmp_path / "w", kind), os.rename, []

    def rename(one, other):
        if moved:
            raise OSError(errno.EIO, "Input/output error", other)
        real(one, other)
        moved.extend([other] if one == str(world.target) else [])

    place = world.opened()
    with monkeypatch.context() as failing:
        failing.setattr(os, "rename", rename)
        with pytest.raises(WherryError, match="cannot give its name"):
            place.finish(force=True, sync=False)
        place.discard()
        place.close()
    assert not os.path.lexists(world.target)
    assert world.check() == "old"


def test_half_of_what_was_replaced_is_not_put_back(tmp_path, monkeypatch):
    """Where the user moves the new one away before the old one is all removed."""
    world = World(tmp_path / "w", "folder")
    killed_at = 0
    while not (world.at(world.target) == "new" and os.path.exists(world.data.parent / "removed")):
        world = World(tmp_path / f"{killed_at}", "folder")
        assert killed(killed_at, world.replace)
        killed_at += 1
    world.target.rename(tmp_path / "elsewhere")
    world.bring_nothing()
    assert os.listdir(world.base) == []
