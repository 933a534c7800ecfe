"""The folder of key files: nobody else may open them, they are whole after any crash, and two at once lose nothing."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from wherry.errors import DataError, KeyProblem, LimitExceeded, NoSpace, UsageError, WherryError
from wherry.limits import KEY_FILE_BYTES_MAX
from wherry.sealing.folder import KeyFolder
from wherry.sealing.keyfile import DomainKey
from wherry.sealing.ring import KeyRing


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


class TestFiles:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
    def test_nobody_else_may_open_them_whatever_the_umask(self, tmp_path, umask):
        before = os.umask(umask)
        try:
            ring = KeyRing(tmp_path)
            ring.new("project")
            ring.new("alice", "identity")
            ring.rotate("project")
        finally:
            os.umask(before)
        assert mode(tmp_path / "keys") == 0o700
        assert {mode(path) for path in (tmp_path / "keys").glob("*.key")} == {0o600}

    def test_no_other_user_could_ever_open_them(self, tmp_path, monkeypatch):
        """Not for a moment: the modes are given when files are made, and never loose."""
        made = []
        real = os.open

        def noted(path, flags, mode=0o777, **options):
            if flags & os.O_CREAT:
                made.append((Path(path).name, mode, bool(flags & os.O_EXCL)))
            return real(path, flags, mode, **options)

        monkeypatch.setattr(os, "open", noted)
        KeyRing(tmp_path).new("project")
        assert made == [("lock", 0o600, False), ("fresh", 0o600, True)]

    @pytest.mark.parametrize("loose", [0o640, 0o604, 0o602, 0o660, 0o777])
    def test_a_file_that_others_may_open_is_refused_with_the_command_that_closes_it(self, ring, tmp_path, loose):
        ring.new("project")
        path = tmp_path / "keys/project.key"
        path.chmod(loose)
        for use in (ring.get, ring.rotate, ring.describe, lambda name: ring.export(name, b"x")):
            with pytest.raises(KeyProblem, match=f"open to other users \\(mode {loose:o}\\)") as caught:
                use("project")
            assert caught.value.hint == f"chmod 600 {path}"
        assert "open to other users" in ring.list()[0].problem
        path.chmod(0o600)
        assert ring.get("project")

    @pytest.mark.parametrize("loose", [0o750, 0o705, 0o711, 0o777])
    def test_so_is_the_folder(self, ring, tmp_path, loose):
        ring.new("project")
        (tmp_path / "keys").chmod(loose)
        for use in (ring.list, lambda: ring.get("project"), lambda: ring.new("other"), lambda: list(ring.domains())):
            with pytest.raises(KeyProblem, match="open to other users") as caught:
                use()
            assert caught.value.hint == f"chmod 700 {tmp_path / 'keys'}"

    def test_links_pipes_and_folders_are_no_key_files(self, ring, tmp_path):
        ring.new("project")
        folder = tmp_path / "keys"
        (folder / "link.key").symlink_to(folder / "project.key")
        os.mkfifo(folder / "pipe.key", 0o600)
        (folder / "folder.key").mkdir(0o700)
        for name in ("link", "pipe", "folder"):
            with pytest.raises(WherryError):
                ring.get(name)
        assert [key.problem is None for key in ring.list()] == [False, False, False, True]

    def test_a_file_that_is_too_large_is_not_read(self, ring, tmp_path):
        ring.new("project")
        path = tmp_path / "keys/project.key"
        path.write_bytes(bytes(KEY_FILE_BYTES_MAX + 1))
        with pytest.raises(LimitExceeded):
            ring.get("project")

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../x", "a/b", ".hidden", "-dash", "A", "a b", "x" * 65, "a\n", "ä", "a\0", "lock/../x"]
    )
    def test_names_that_lead_elsewhere_are_refused(self, ring, tmp_path, name):
        for use in (ring.new, ring.get, ring.rotate, ring.delete, lambda name: ring.import_(b"", name)):
            with pytest.raises((UsageError, DataError)):
                use(name)
        assert not list(tmp_path.rglob("*.key"))

    def test_nothing_but_key_files_is_listed(self, ring, tmp_path):
        ring.new("project")
        for stray in ("fresh", "README", ".hidden.key", "UPPER.key", "project.key.bak"):
            (tmp_path / "keys" / stray).write_bytes(b"")
        assert [key.name for key in ring.list()] == ["project"]

    def test_a_home_without_keys_is_not_written_to(self, tmp_path):
        assert KeyRing(tmp_path).list() == []
        assert list(KeyRing(tmp_path).domains()) == []
        assert list(tmp_path.iterdir()) == []


class TestCrashes:
    """A crash is looked at as the disk would be found: the call does not come back, and no clean-up runs."""

    class Crash(BaseException):
        pass

    @pytest.mark.parametrize("at", ["open", "write", "fchmod", "fsync", "replace"])
    def test_the_old_file_or_the_new_one(self, ring, tmp_path, monkeypatch, at):
        before = ring.new("project")
        path = tmp_path / "keys/project.key"
        old = path.read_bytes()

        def crash(*_, **__):
            raise self.Crash

        with monkeypatch.context() as patch:
            if at == "replace":
                patch.setattr(Path, "replace", crash)
            elif at == "open":
                real = os.open
                patch.setattr(os, "open", lambda path, *rest: crash() if str(path).endswith("fresh") else real(path, *rest))
            else:
                patch.setattr(os, at, crash)
            with pytest.raises(self.Crash):
                ring.rotate("project")
        assert path.read_bytes() == old
        assert ring.get("project") == before
        assert len(ring.rotate("project").wraps) == 2

    def test_what_a_killed_process_left_is_taken_away(self, ring, tmp_path):
        ring.new("project")
        (tmp_path / "keys/fresh").write_bytes(b"half a ke")
        assert len(ring.rotate("project").wraps) == 2
        assert not (tmp_path / "keys/fresh").exists()

    def test_a_full_disk_changes_nothing(self, ring, tmp_path, monkeypatch):
        ring.new("project")
        old = (tmp_path / "keys/project.key").read_bytes()

        def full(fd, data):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for use in (lambda: ring.rotate("project"), lambda: ring.new("other")):
                with pytest.raises(NoSpace):
                    use()
        assert (tmp_path / "keys/project.key").read_bytes() == old
        assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["lock", "project.key"]

    def test_it_is_on_the_disk_before_it_is_there_and_the_folder_after(self, ring, monkeypatch):
        ring.new("project")
        done = []
        sync, replace = os.fsync, Path.replace
        monkeypatch.setattr(
            os, "fsync", lambda fd: done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file") or sync(fd)
        )
        monkeypatch.setattr(Path, "replace", lambda path, to: done.append("rename") or replace(path, to))
        ring.rotate("project")
        assert done == ["file", "rename", "folder"]


class TestAtOnce:
    def test_two_makers_of_one_name(self, tmp_path):
        results = []

        def make():
            try:
                results.append(KeyRing(tmp_path).new("project"))
            except KeyProblem as problem:
                results.append(problem.message)

        (tmp_path / "keys").mkdir(0o700)
        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made = [result for result in results if isinstance(result, DomainKey)]
        assert len(made) == 1
        assert KeyRing(tmp_path).get("project") == made[0]
        assert {result for result in results if isinstance(result, str)} == {"there is a key 'project' already"}

    def test_no_generation_is_lost_when_many_rotate(self, tmp_path):
        KeyRing(tmp_path).new("project")
        kept, lock = [], threading.Lock()

        def rotate():
            for _ in range(5):
                try:
                    key = KeyRing(tmp_path).rotate("project")
                except KeyProblem as problem:
                    assert "changed meanwhile" in problem.message
                else:
                    with lock:
                        kept.append(key.wraps[0])

        threads = [threading.Thread(target=rotate) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = KeyRing(tmp_path).get("project")
        assert set(kept) | {found.wraps[-1]} == set(found.wraps)
        assert len(found.wraps) == 1 + len(kept)


def test_the_folder_swaps_only_what_it_was_told(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    folder.swap("a", None, b"1")
    for old, new in ((None, b"2"), (b"0", b"2"), (b"0", None)):
        with pytest.raises(KeyProblem):
            folder.swap("a", old, new)
    assert folder.read("a") == b"1"
    folder.swap("a", b"1", b"2")
    assert folder.read("a") == b"2"
    folder.swap("a", b"2", None)
    assert folder.names() == []
    with pytest.raises(KeyProblem, match="changed meanwhile"):
        folder.swap("a", b"2", b"3")
