"""What the get of a torrent replaces: nothing is written into it."""

from __future__ import annotations

import errno

import pytest
from faketorrent import DATA, MAGNET, RULES, Fake, get
from torrents import BIG

from wherry import safetree
from wherry.errors import LocalError, TargetExists
from wherry.transfer import torrent_place


def test_what_was_replaced_is_never_where_the_next_run_would_write(tmp_path, monkeypatch):
    """Whatever a get that was killed left: others may have hard links to it."""
    torrent = tmp_path / "x.torrent"
    torrent.write_bytes(DATA)
    target, data = tmp_path / "got", tmp_path / ".got.wherry-torrent/data"
    target.mkdir()
    (target / "old").write_text("mine")
    seen, real = [], safetree._rename

    def renaming(*given):
        real(*given)
        seen.append((data / "old").exists())

    monkeypatch.setattr(safetree, "_rename", renaming)
    get(str(torrent), target, Fake(), RULES._replace(force=True))
    assert seen == [False]
    assert ((target / "a").read_bytes(), data.parent.exists()) == (BIG, False)

    def fails(one, other, aside):
        raise OSError(errno.EIO, "Input/output error", other)

    (target / "a").write_text("changed")
    monkeypatch.setattr(torrent_place, "swap_in", fails)
    with pytest.raises(LocalError, match="cannot give its name"):
        get(str(torrent), target, Fake(), RULES._replace(force=True))
    assert (data / "a").read_bytes() == BIG  # to go on from


@pytest.mark.parametrize("what", ["a torrent", "a magnet link"])
def test_what_is_put_back_is_seen_before_anything_is_downloaded(tmp_path, what):
    """Behind a kill between two renames the target was not there when the get began."""
    torrent = tmp_path / "x.torrent"
    torrent.write_bytes(DATA)
    target, folder = tmp_path / "got", tmp_path / ".got.wherry-torrent"
    (folder / "data-older").mkdir(parents=True)
    (folder / "data-older/old").write_text("mine")
    fake = Fake()
    with pytest.raises(TargetExists, match="is there already, and not what the torrent says"):
        get(str(torrent) if what == "a torrent" else MAGNET, target, fake)
    assert ((target / "old").read_text(), fake.calls) == ("mine", int(what != "a torrent"))
