"""The home: who holds it, and what is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from wherry.errors import HomeBusy, HomeTooNew, LocalError, NoSpace, StoreError, WherryError
from wherry.store.home import Home, default_home

HOLDER = """
import sys, time
from pathlib import Path
from wherry.store.home import Home
with Home(Path(sys.argv[1]), "serve"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the home; killed in the end."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "home")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_full_disk_leaves_nothing_of_the_mark(tmp_path, monkeypatch):
    def full(path, text):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(NoSpace), Home(tmp_path / "home", "add"):
        pass
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["run"]


def test_where_the_home_is():
    assert default_home({"WHERRY_HOME": "/a"}) == Path("/a")
    assert default_home({"WHERRY_HOME": "", "XDG_DATA_HOME": "/b"}) == Path("/b/wherry")
    assert default_home({"WHERRY_HOME": "~/c"}) == Path.home() / "c"
    assert default_home({}) == Path.home() / ".local/share/wherry"


def test_it_is_made_for_its_owner_alone(tmp_path):
    with Home(tmp_path / "a/home", "add"):
        assert stat.S_IMODE((tmp_path / "a/home").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "a/home/lock").stat().st_mode) == 0o600


def test_several_share_it(tmp_path, holder):
    with Home(tmp_path / "home", "add") as home, Home(tmp_path / "home", "get"):
        said = home.holders()
        assert sorted(re.findall(r"`wherry (\w+)` \(pid (\d+), since \d\d:\d\d:\d\d\)", " ".join(said))) == sorted(
            [("serve", str(holder.pid)), ("add", str(os.getpid())), ("get", str(os.getpid()))]
        )
    assert [path.name.split("-")[0] for path in (tmp_path / "home/run").iterdir()] == [str(holder.pid)]


def test_who_must_be_alone_is_told_who_is_there(tmp_path, holder):
    with pytest.raises(HomeBusy, match=rf"`wherry serve` \(pid {holder.pid}") as caught:
        Home(tmp_path / "home", "repair", alone=True)
    assert "stop it" in caught.value.hint
    assert len(list((tmp_path / "home/run").iterdir())) == 1


def test_nobody_comes_in_while_one_is_alone(tmp_path):
    with Home(tmp_path, "repair", alone=True):
        with pytest.raises(HomeBusy, match="wherry repair"):
            Home(tmp_path, "add")
    with Home(tmp_path, "add"):
        pass


def test_what_a_killed_process_left_is_cleared(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert len(list((tmp_path / "home/run").iterdir())) == 1
    with Home(tmp_path / "home", "repair", alone=True) as home:
        assert [line.split("`")[1] for line in home.holders()] == ["wherry repair"]
    assert list((tmp_path / "home/run").iterdir()) == []


def test_a_name_that_makes_no_sense_is_no_obstacle(tmp_path):
    with Home(tmp_path, "add") as home:
        for number, text in enumerate((b"", b"{", b"\xff", b"[]", b'{"verb": 1}', b'{"verb": "x", "pid": 1, "since": 1e300}')):
            path = tmp_path / "run" / f"other-{number}"
            path.write_bytes(text)
            fd = os.open(path, os.O_RDWR)
            fcntl.flock(fd, fcntl.LOCK_EX)
            assert len(home.holders()) == 2
            os.close(fd)


def test_opening_while_others_look_who_is_there(tmp_path):
    """Whoever looks must not take one that is just opening for a dead one, nor stand in its way."""
    stop, errors = threading.Event(), []
    with Home(tmp_path, "watch") as home:

        def look():
            while not stop.is_set():
                home.holders()

        def use():
            try:
                for _ in range(100):
                    with Home(tmp_path, "add") as mine:
                        if not any("wherry add" in line for line in mine.holders()):
                            errors.append("not listed")
            except BaseException as problem:
                errors.append(problem)

        watching, using = threading.Thread(target=look), threading.Thread(target=use)
        watching.start()
        using.start()
        using.join()
        stop.set()
        watching.join()
    assert errors == []


def test_one_that_opens_under_the_name_of_a_dead_one_is_not_taken_for_it(tmp_path, monkeypatch):
    with Home(tmp_path, "watch") as home:
        path = tmp_path / "run" / "zzz"
        path.touch()
        real, opened = fcntl.flock, []

        def flock(fd, how):
            if not opened and os.path.samestat(os.fstat(fd), path.stat()):  # just before a dead one's file is locked
                path.unlink()
                opened.append(os.open(path, os.O_RDWR | os.O_CREAT))
                real(opened[0], fcntl.LOCK_EX)
            real(fd, how)

        monkeypatch.setattr(fcntl, "flock", flock)
        home.holders()
        assert len(home.holders()) == 2
        os.close(opened[0])
        assert len(home.holders()) == 1
        assert not path.exists()


def test_a_home_of_a_newer_wherry(tmp_path):
    (tmp_path / "FORMAT").write_text("wherry-home 2\n")
    with pytest.raises(HomeTooNew, match="wherry-home 2") as caught:
        Home(tmp_path, "add")
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("text", [b"", b"something", b"\xff\xfe\x00" * 100])
def test_a_folder_that_is_not_ours(tmp_path, text):
    (tmp_path / "FORMAT").write_bytes(text)
    with pytest.raises(StoreError, match="not wherry's") as caught:
        Home(tmp_path, "add")
    assert "--home" in caught.value.hint


def test_a_place_that_cannot_be_a_home(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(LocalError, match="home"):
            Home(path, "add")


@pytest.fixture
def passable():
    """A folder below which anybody may read; below pytest's nobody else may."""
    with tempfile.TemporaryDirectory(prefix="wherry-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


def test_a_home_that_may_not_be_written(passable):
    tmp_path = passable
    with Home(tmp_path / "home", "add"):
        pass
    code = """
import os, sys
from pathlib import Path
from wherry.store.home import Home
from wherry.errors import LocalError, Unwritable
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with Home(Path(sys.argv[1]), "ls") as home:
    print(home.writable, home.holders(), os.listdir(home.path / "run"))
    try:
        home.must_be_writable()
    except Unwritable as problem:
        print(problem.message, problem.hint)
try:
    Home(Path(sys.argv[1]), "repair", alone=True)
except Unwritable as problem:
    print(problem.message)
try:
    Home(Path(sys.argv[2]), "add")
except LocalError as problem:
    print(type(problem).__name__, problem.hint)
"""
    (tmp_path / "no-home").mkdir()
    (tmp_path / "no-home").chmod(0o555)
    for path in (tmp_path / "home").iterdir():
        path.chmod(0o555)
    (tmp_path / "home").chmod(0o555)
    places = [str(tmp_path / "home"), str(tmp_path / "no-home")]
    done = subprocess.run([sys.executable, "-c", code, *places], capture_output=True, text=True, check=False)
    (tmp_path / "home").chmod(0o700)
    (tmp_path / "no-home").chmod(0o700)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert lines[0] == "False [] []"
    assert "is read-only, and can be read and served only check the permissions" in lines[1]
    assert "is read-only" in lines[2]  # nobody repairs what he may not write
    assert lines[3] == "Unwritable check the permissions and the mount, or give --home"  # there is no home to read


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """All below is on a read-only mount from here on, as far as `os.open` and `os.access` tell."""
    real = os.open

    def opened(path, flags, *words, **options):
        if str(path).startswith(str(tmp_path)) and flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *words, **options)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)


def test_a_home_on_a_mount_that_is_read_only(tmp_path, request):
    with Home(tmp_path / "home", "add"):
        pass
    request.getfixturevalue("read_only")
    with Home(tmp_path / "home", "ls") as home:
        assert not home.writable
        assert home._lock >= 0  # a repair that runs by another mount is waited for


def test_who_repairs_a_home_is_seen_by_who_reads_it_by_a_read_only_mount(tmp_path, request):
    with Home(tmp_path / "home", "repair", alone=True):
        request.getfixturevalue("read_only")
        with pytest.raises(HomeBusy, match="wherry repair"):
            Home(tmp_path / "home", "ls")


def test_a_home_without_its_lock_is_read_too(tmp_path, request):
    with Home(tmp_path / "home", "add"):
        pass
    (tmp_path / "home" / "lock").unlink()  # a copy, or a snapshot, of what matters
    request.getfixturevalue("read_only")
    with Home(tmp_path / "home", "ls") as home:
        assert not home.writable


def test_closing_twice_is_no_error(tmp_path):
    home = Home(tmp_path, "add")
    home.close()
    home.close()
    assert issubclass(HomeBusy, WherryError)
