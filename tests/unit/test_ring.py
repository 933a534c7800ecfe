"""The key ring of a home: keys are found, unlocked, rotated and handed over, and what does not work is told, not hidden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wherry.errors import DataError, DecodeError, KeyProblem, NotFound, UsageError
from wherry.limits import KEY_FILE_BYTES_MAX
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
