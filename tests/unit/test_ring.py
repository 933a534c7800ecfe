"""The key ring of a home: files that nobody else may open, whole after any crash; keys found, rotated and handed over."""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wherry.errors import DataError, DecodeError, KeyProblem, LimitExceeded, NoSpace, NotFound, UsageError, WherryError
from wherry.limits import KEY_FILE_BYTES_MAX
from wherry.sealing.folder import KeyFolder
from wherry.sealing.identity import Identity, Recipient
from wherry.sealing.keyfile import DomainKey, KeyFile
from wherry.sealing.passphrase import Cost
from wherry.sealing.ring import KeyRing

CHEAP = Cost(1, 8192)


class Asked:
    """Answers with what the test put in, and notes what was asked."""

    def __init__(self, answer=None):
        self.answer = answer
        self.for_what = []

    def __call__(self, what):
        self.for_what.append(what)
        return self.answer


@pytest.fixture
def asked():
    return Asked(b"pw")


@pytest.fixture
def ring(tmp_path, asked):
    return KeyRing(tmp_path, asked, cost=CHEAP)


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


class TestUse:
    def test_a_domain(self, ring):
        key = ring.new("project")
        assert ring.get("project") == ring.domain("project") == key
        assert (len(key.content), len(key.wraps), len(key.wraps[0].key), len(key.wraps[0].id)) == (32, 1, 32, 8)
        assert key.content != key.wraps[0].key
        assert list(ring.domains()) == [key]
        assert list(ring.identities()) == []
        with pytest.raises(KeyProblem, match="no identity"):
            ring.identity("project")
        with pytest.raises(KeyProblem, match="nobody's"):
            ring.recipient("project")

    def test_an_identity_and_its_recipient(self, ring):
        identity = ring.new("alice", "identity")
        assert ring.identity("alice").recipient == identity.recipient == ring.recipient("alice")
        assert ring.recipient(str(identity.recipient)) == identity.recipient
        assert [each.recipient for each in ring.identities()] == [identity.recipient]
        with pytest.raises(KeyProblem, match="no key of a domain"):
            ring.domain("alice")
        with pytest.raises(UsageError, match="not rotated"):
            ring.rotate("alice")

    def test_a_recipient_is_imported_by_its_text(self, ring):
        recipient = Identity.make().recipient
        report = ring.import_(f"{recipient}\n".encode(), "bob")
        assert (report.kind, report.recipient, report.locked) == ("recipient", str(recipient), False)
        assert ring.get("bob") == ring.recipient("bob") == recipient
        assert ring.export("bob") == ring.export("bob", plain=True)
        assert isinstance(KeyFile.decode(ring.export("bob")).key("bob"), Recipient)
        assert list(ring.identities()) == []

    def test_keys_of_two_rings_are_never_equal(self, tmp_path):
        for name in "ab":
            (tmp_path / name).mkdir()
        first, second = (KeyRing(tmp_path / name).new("project") for name in "ab")
        assert not {first.content, first.wraps[0].key} & {second.content, second.wraps[0].key}

    def test_a_name_is_taken_once(self, ring):
        key = ring.new("project")
        with pytest.raises(KeyProblem, match="there is a key 'project' already"):
            ring.new("project", "identity")
        assert ring.get("project") == key

    def test_a_key_that_is_not_there(self, ring):
        ring.new("project")
        with pytest.raises(NotFound, match="no key 'projekt'") as caught:
            ring.get("projekt")
        assert caught.value.hint == 'did you mean "project"?'

    def test_deleting(self, ring, tmp_path):
        ring.new("project")
        (tmp_path / "keys/broken.key").touch(0o600)
        ring.delete("project")
        ring.delete("broken")
        assert ring.list() == []
        with pytest.raises(NotFound):
            ring.delete("project")

    def test_damage_is_told_where_it_is_and_hides_nothing_else(self, ring, tmp_path):
        ring.new("project")
        ring.new("second")
        path = tmp_path / "keys/project.key"
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(DecodeError, match="^key 'project': key file: "):
            ring.get("project")
        assert [(key.name, key.problem is None) for key in ring.list()] == [("project", False), ("second", True)]
        notes = []
        assert [key.name for key in KeyRing(tmp_path, note=notes.append).domains()] == ["second"]
        assert re.match("key 'project' was not tried: ", notes[0])
        assert len(notes) == 1


class TestLocked:
    def test_it_is_asked_for_once(self, ring, asked):
        key = ring.new("project", passphrase=b"pw")
        assert [ring.get("project"), ring.get("project"), *ring.domains()] == [key] * 3
        assert asked.for_what == ["key 'project'"]

    def test_what_is_public_needs_no_passphrase(self, ring, asked):
        identity = ring.new("alice", "identity", b"pw")
        assert ring.recipient("alice") == identity.recipient
        assert (ring.describe("alice").locked, ring.list()[0].recipient) == (True, str(identity.recipient))
        assert asked.for_what == []

    def test_nobody_to_ask(self, tmp_path):
        KeyRing(tmp_path, cost=CHEAP).new("project", passphrase=b"pw")
        for ring in (KeyRing(tmp_path), KeyRing(tmp_path, Asked(None))):
            with pytest.raises(KeyProblem, match="is locked, and nobody is here"):
                ring.get("project")

    def test_those_that_need_none_come_first_and_the_others_are_skipped_with_a_note(self, tmp_path):
        maker = KeyRing(tmp_path, cost=CHEAP)
        maker.new("a", passphrase=b"pw")
        maker.new("b", passphrase=b"other")
        maker.new("c")
        notes, asked = [], Asked(b"pw")
        keys = KeyRing(tmp_path, asked, notes.append).domains()
        assert next(keys).name == "c"
        assert asked.for_what == []
        assert [key.name for key in keys] == ["a"]
        assert notes == ["key 'b' was not tried: the passphrase does not unlock this key"]

    def test_a_wrong_passphrase_is_not_remembered(self, ring, asked):
        ring.new("project", passphrase=b"pw")
        asked.answer = b"wrong"
        for _ in range(2):
            with pytest.raises(KeyProblem, match="does not unlock"):
                ring.get("project")
        asked.answer = b"pw"
        assert ring.get("project")

    def test_rotating_keeps_the_passphrase(self, ring, asked, tmp_path):
        key = ring.new("project", passphrase=b"pw")
        rotated = ring.rotate("project")
        assert rotated.wraps[1:] == key.wraps
        assert ring.describe("project").locked
        assert KeyRing(tmp_path, Asked(b"pw")).get("project") == rotated
        asked.for_what.clear()
        assert ring.get("project") == rotated
        assert asked.for_what == []
        with pytest.raises(KeyProblem, match="does not unlock"):
            ring.rotate("project", b"wrong")
        assert ring.get("project") == rotated

    def test_unlocking_beforehand(self, tmp_path):
        key = KeyRing(tmp_path, cost=CHEAP).new("project", passphrase=b"pw")
        ring = KeyRing(tmp_path)
        with pytest.raises(KeyProblem, match="does not unlock"):
            ring.unlock("project", b"wrong")
        ring.unlock("project", b"pw")
        assert ring.get("project") == key


class TestHandingOver:
    def test_an_export_is_locked(self, ring, tmp_path):
        key = ring.new("project")
        with pytest.raises(UsageError, match="its export needs one"):
            ring.export("project")
        text = ring.export("project", b"travel")
        assert KeyFile.decode(text).locked is not None
        assert key.content not in text
        (tmp_path / "other").mkdir()
        other = KeyRing(tmp_path / "other", cost=CHEAP)
        for wrong in (None, b"wrong"):
            with pytest.raises(KeyProblem):
                other.import_(text, "project", wrong)
        assert other.list() == []
        assert other.import_(text, "project", b"travel").locked
        assert KeyRing(tmp_path / "other", Asked(b"travel")).get("project") == key

    def test_unless_one_says_plain(self, ring, tmp_path):
        key = ring.new("alice", "identity", b"pw")
        text = ring.export("alice", plain=True)
        assert KeyFile.decode(text).key("alice").recipient == key.recipient
        assert not ring.import_(b"\r\n" + text.replace(b"\n", b"\r\n"), "copy").locked

    def test_a_locked_key_is_exported_as_it_is_or_under_another_passphrase(self, ring, asked, tmp_path):
        ring.new("project", passphrase=b"pw")
        assert ring.export("project") == (tmp_path / "keys/project.key").read_bytes()
        assert asked.for_what == []
        again = KeyFile.decode(ring.export("project", b"travel"))
        assert again.unlock(b"travel").key("project") == ring.get("project")

    def test_a_name_that_is_taken_is_not_written_over(self, ring):
        key = ring.new("project")
        with pytest.raises(KeyProblem, match="already"):
            ring.import_(ring.export("project", plain=True), "project")
        assert ring.get("project") == key

    def test_what_is_no_key_is_not_taken_in(self, ring):
        for data in (b"", b"hello", b"wherry-to1xyz", "wherry-to1ä".encode(), b"\xff" * 100, bytes(KEY_FILE_BYTES_MAX + 1)):
            with pytest.raises(DataError):
                ring.import_(data, "x")
        assert ring.list() == []


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


class RingMachine(RuleBasedStateMachine):
    """Any sequence of calls leaves exactly the keys that it should, with all generations, behind their passphrases."""

    names = st.sampled_from(["a", "b", "c"])
    passphrases = st.sampled_from([None, b"one", b"two"])

    def __init__(self):
        super().__init__()
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory()
        self.keys = {}

    def ring(self, passphrase=None):
        return KeyRing(Path(self.folder.name), Asked(passphrase), lambda note: None, cost=CHEAP)

    @rule(name=names, passphrase=passphrases, kind=st.sampled_from(["domain", "identity"]))
    def new(self, name, passphrase, kind):
        try:
            self.keys.setdefault(name, (self.ring().new(name, kind, passphrase), passphrase))
        except KeyProblem:
            assert name in self.keys

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def rotate(self, data):
        name = data.draw(st.sampled_from(sorted(self.keys)))
        key, passphrase = self.keys[name]
        if isinstance(key, DomainKey):
            rotated = self.ring(passphrase).rotate(name)
            assert rotated.wraps[1:] == key.wraps
            self.keys[name] = (rotated, passphrase)

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), to=names, travel=st.sampled_from([b"travel", None]))
    def hand_over(self, data, to, travel):
        name = data.draw(st.sampled_from(sorted(self.keys)))
        key, passphrase = self.keys[name]
        text = self.ring(passphrase).export(name, travel, plain=travel is None)
        try:
            self.ring().import_(text, to, travel)
        except KeyProblem:
            assert to in self.keys
        else:
            self.keys[to] = (key, travel)

    @rule(name=names)
    def delete(self, name):
        try:
            self.ring().delete(name)
        except NotFound:
            assert name not in self.keys
        else:
            del self.keys[name]

    @invariant()
    def all_are_there(self):
        assert [report.name for report in self.ring().list()] == sorted(self.keys)
        for name, (key, passphrase) in self.keys.items():
            found = self.ring(passphrase).get(name)
            if isinstance(key, Identity):
                assert found.recipient == key.recipient
            else:
                assert (found.content, found.wraps) == (key.content, key.wraps)

    def teardown(self):
        self.folder.cleanup()


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
