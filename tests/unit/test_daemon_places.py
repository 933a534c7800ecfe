"""Who is the daemon of a home, and its socket."""

from __future__ import annotations

import json
import os
import socket
import stat

import pytest

from wherry.daemon import places
from wherry.errors import HomeBusy, NotFound, Unwritable, UsageError


def talk(home):
    """Dials the socket; raises OSError where nobody listens."""
    with places.dialable(home) as path, socket.socket(socket.AF_UNIX) as dialled:
        dialled.connect(path)


def test_one_daemon_a_home_and_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_LOOK_S", 0.05)
    assert places.running(tmp_path) is None
    with pytest.raises(NotFound, match="no daemon runs"):
        talk(tmp_path)
    with places.taken(tmp_path):
        assert places.running(tmp_path).pid == os.getpid()
        with pytest.raises(HomeBusy, match=f"pid {os.getpid()}"):
            with places.taken(tmp_path):
                pass
        (tmp_path / "daemon/lock").write_text("nonsense")
        assert places.running(tmp_path) == (0, 0.0)
        with pytest.raises(HomeBusy, match=r"already\n"):
            with places.taken(tmp_path):
                pass
    assert places.running(tmp_path) is None
    with places.taken(tmp_path):
        assert json.loads((tmp_path / "daemon/lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("name", ["home", "h" * 90], ids=["short", "long"])
def test_the_socket_is_the_users_own_and_takes_the_place_of_a_dead_ones(tmp_path, name):
    home = tmp_path / name
    for _ in range(2):
        with places.taken(home) as seat:
            listener = seat.listen()
            path = home / "daemon/control.sock"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            talk(home)
            listener.close()  # and the socket's file stays, as after a kill
    with places.taken(home) as seat:
        seat.listen().close()
        seat.leave()
        seat.leave()
        assert not path.exists()


def test_a_long_path_where_descriptors_have_no_names(tmp_path, monkeypatch):
    monkeypatch.setattr(places.os.path, "isdir", lambda path: False)
    with places.taken(tmp_path / ("h" * 100)) as seat, pytest.raises(UsageError, match="too long"):
        seat.listen()


def test_a_folder_that_others_can_read_is_closed(tmp_path):
    folder = tmp_path / "daemon"
    folder.mkdir()
    folder.chmod(0o755)
    with places.taken(tmp_path):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="daemon's folder"):
        with places.taken(tmp_path / "file"):
            pass


def test_a_socket_that_cannot_be_made(tmp_path):
    with places.taken(tmp_path) as seat:
        (tmp_path / "daemon/control.sock").mkdir()
        with pytest.raises(Exception, match="listen on"):
            seat.listen()
