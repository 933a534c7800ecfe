"""The hidden folder of a torrent's get: whose it is when several want it (specs/0036 §9)."""

from __future__ import annotations

import os

import pytest

from wherry.errors import TargetBusy
from wherry.transfer.torrent_place import TorrentPlace


def test_a_folder_is_nobodys_who_locked_it_when_it_was_gone(tmp_path, monkeypatch):
    """The owner is done just before the next one locks, and a third one begins at once."""
    target, ids, opened = str(tmp_path / "got"), ["a" * 40], os.open
    owner, third = TorrentPlace(target, ids), []

    def late(path, *rest, **named):
        fd = opened(path, *rest, **named)
        if str(path).endswith("/lock") and not third:
            monkeypatch.undo()
            owner.discard()
            third.append(TorrentPlace(target, ids))
            owner.close()  # and leaves the folder of the third alone
        return fd

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(TargetBusy):
        TorrentPlace(target, ids)
    assert sorted(os.listdir(third[0].folder)) == ["id", "lock"]
    third[0].close()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_goes_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    target, ids, opened = str(tmp_path / "got"), ["a" * 40], os.open
    for when in ("before", "after"):
        owners = [TorrentPlace(target, ids)]

        def late(path, *rest, when=when, owners=owners, **named):
            if not (str(path).endswith("/lock") and owners):
                return opened(path, *rest, **named)
            fd = opened(path, *rest, **named) if when == "after" else -1
            owner = owners.pop()
            owner.discard()
            owner.close()
            return fd if when == "after" else opened(path, *rest, **named)

        monkeypatch.setattr(os, "open", late)
        place = TorrentPlace(target, ids)
        monkeypatch.undo()
        assert sorted(os.listdir(place.folder)) == ["id", "lock"]
        place.close()
