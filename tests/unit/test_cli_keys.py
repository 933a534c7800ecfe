"""`wherry keys`, and the same through a session: what each verb does and prints, and that no secret is ever shown."""

from __future__ import annotations

import base64
import json
import logging
import stat

import pytest

from wherry.sealing import passphrase
from wherry.sealing.keyfile import DomainKey, KeyFile
from wherry.sealing.passphrase import Cost
from wherry.sealing.ring import KeyRing
from wherry_cli.app import run


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """A lock of the default cost takes half a second, and a quarter of a gigabyte."""
    monkeypatch.setitem(KeyRing.__init__.__kwdefaults__, "cost", Cost(1, 8192))


@pytest.fixture
def words(tmp_path):
    """Writes a passphrase file; gives its path."""

    def write(text="correct horse", name="words"):
        path = tmp_path / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return str(path)

    return write


@pytest.fixture
def keys(home, capsys):
    """Runs a line of `wherry keys`; gives its code, standard output and standard error."""

    def line(*argv):
        code = run(["keys", *argv])
        out, err = capsys.readouterr()
        return code, out, err

    return line


@pytest.fixture
def said(keys):
    """Runs a line with --json; gives the object."""

    def line(*argv):
        code, out, err = keys(*argv, "--json")
        assert code == 0, err
        return json.loads(out)

    return line


def test_a_key_is_made_listed_shown_and_deleted(keys, said, home):
    made = said("new", "project")
    assert (made["schema"], made["name"], made["kind"], made["locked"]) == ("wherry/key/1", "project", "domain", False)
    assert len(made["generations"]) == 1
    listed = said("list")
    assert listed["schema"] == "wherry/keys/1"
    assert listed["keys"] == [{name: value for name, value in made.items() if name != "schema"}]
    assert said("show", "project") == made
    assert keys("list", "-q")[1] == "project\n"
    assert "1 generation" in keys("show", "project")[1]
    code, _, err = keys("delete", "project")
    assert (code, "--yes" in err) == (2, True)
    assert said("list")["keys"]
    assert said("delete", "project", "--yes") == {"schema": "wherry/key-delete/1", "name": "project"}
    code, out, err = keys("list")
    assert (code, out, "wherry keys new" in err) == (0, "", True)


def test_an_identity_shows_its_recipient_text_to_copy(keys, said):
    recipient = said("new", "alice", "--kind", "identity")["recipient"]
    assert keys("show", "-q", "alice")[1] == recipient + "\n"
    assert keys("show", "alice")[1].splitlines()[0] == recipient
    assert said("import", "bob", recipient)["kind"] == "recipient"
    assert said("show", "bob")["fingerprint"] == said("show", "alice")["fingerprint"]


def test_a_key_travels_to_another_home(keys, said, words, tmp_path, home):
    said("new", "project")
    exported = tmp_path / "project.key"
    code, out, err = keys("export", "project", "-o", str(exported), "--passphrase-file", words())
    assert (code, out) == (0, "")
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert keys("export", "project", "-o", str(exported), "--passphrase-file", words())[0] == 8  # it is there already
    other = str(tmp_path / "other")
    code, _, err = keys("import", "theirs", str(exported), "--home", other)
    assert (code, "needs a passphrase" in err) == (2, True)
    code, _, err = keys("import", "theirs", str(exported), "--home", other, "--passphrase-file", words("wrong", "wrong"))
    assert (code, "does not unlock" in err) == (12, True)
    taken = said("import", "theirs", str(exported), "--home", other, "--passphrase-file", words())
    assert taken["locked"]
    assert taken["generations"] == said("show", "project")["generations"]


def test_an_export_is_never_plain_by_accident(keys, said, words):
    said("new", "project")
    code, out, err = keys("export", "project")
    assert (code, out, "needs a passphrase" in err) == (2, "", True)
    code, out, _ = keys("export", "project", "--plain")
    assert KeyFile.decode(out.encode()).secret is not None
    assert KeyFile.decode(keys("export", "project", "--passphrase-file", words())[1].encode()).locked is not None
    assert KeyFile.decode(said("export", "project", "--passphrase-file", words())["armored"].encode()).locked is not None


def test_a_locked_key(keys, said, words, home, monkeypatch):
    assert said("new", "project", "--passphrase-file", words())["locked"]
    assert keys("export", "project")[1] == (home / "keys/project.key").read_text()
    assert keys("rotate", "project")[0] == 2
    assert keys("export", "project", "--plain")[0] == 2
    monkeypatch.setenv("WHERRY_PASSPHRASE_FILE", words())
    assert len(said("rotate", "project")["generations"]) == 2
    plain = KeyFile.decode(keys("export", "project", "--plain")[1].encode())
    assert len(plain.key("project").wraps) == 2


def test_rotating_tells_what_datasets_are_called_now(said, tmp_path, capsys):
    said("new", "project")
    (tmp_path / "data").write_bytes(b"hello")
    assert run(["add", "-q", "--encrypt", "project", str(tmp_path / "data")]) == 0
    before = capsys.readouterr().out.strip()
    ((was, now),) = said("rotate", "project")["datasets"]
    assert (was, now != before) == (before, True)
    assert run(["cat", now]) == 0
    assert capsys.readouterr().out == "hello"


def test_two_sources_of_a_passphrase_are_one_too_many(keys, words):
    code, _, err = keys("new", "x", "--passphrase-file", words(), "--passphrase-fd", "9")
    assert (code, "exclude each other" in err) == (2, True)
    assert keys("new", "x", "--passphrase-fd", "nine")[0] == 2


def test_a_passphrase_is_not_an_argument(keys):
    assert keys("new", "x", "--passphrase", "correct horse")[0] == 2  # it is taken for one more name


@pytest.mark.parametrize("argv", [["new", "UP"], ["new", "a/b"], ["show", "../x"], ["new", "x", "--kind", "group"]])
def test_what_makes_no_sense(keys, argv):
    assert keys(*argv)[0] == 2


def test_import_reads_no_more_than_a_key_can_be(keys, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(bytes(1 << 20))
    assert keys("import", "x", str(large))[0] == 5
    assert keys("import", "x", str(tmp_path / "absent"))[0] == 6


def forms(secret):
    """What a secret may look like where it is shown."""
    encoded = base64.b64encode(secret).decode().rstrip("=")
    return [
        secret.hex(),
        secret.hex().upper(),
        repr(secret)[2:-1],
        encoded[:40],
        secret.decode("latin-1"),
        str(list(secret))[1:-1],
    ]


def test_no_verb_shows_a_secret(keys, words, home, tmp_path, caplog):
    """Canaries: every secret of every key, looked for in all that is printed, logged or raised, however much is asked for."""
    caplog.set_level(logging.DEBUG)
    keys("new", "project")
    keys("new", "alice", "--kind", "identity")
    keys("new", "locked", "--passphrase-file", words("CANARY-of-a-passphrase"))
    said = []
    lines = [
        ["list"], ["show", "project"], ["show", "alice"], ["rotate", "project"], ["show", "locked"], ["rotate", "alice"],
        ["rotate", "locked", "--passphrase-file", words("CANARY-of-a-passphrase")], ["new", "project"],
        ["export", "project", "--passphrase-file", words("CANARY-of-a-passphrase")], ["export", "locked"],
        ["rotate", "locked", "--passphrase-file", words("CANARY-that-is-wrong", "wrong")], ["export", "project"],
        ["import", "copy", str(home / "keys/locked.key"), "--passphrase-file", words("CANARY-that-is-wrong", "wrong")],
        ["import", "copy", str(home / "keys/project.key")], ["import", "project", str(home / "keys/alice.key")],
        ["show", "absent"], ["delete", "copy", "--yes"],
    ]  # fmt: skip
    for line in lines:
        for more in (["--json"], ["-v", "-v"]):
            said += keys(*line, *more)[1:]
    (home / "keys/project.key").chmod(0o644)
    (home / "keys/alice.key").write_bytes((home / "keys/alice.key").read_bytes()[:-45])
    for line in lines[:6]:
        for more in (["--json"], ["-v", "-v"]):
            said += keys(*line, *more)[1:]
    (home / "keys/project.key").chmod(0o600)
    shown = "".join([*said, caplog.text])
    assert "does not unlock" in shown
    assert "CANARY" not in shown
    ring = KeyRing(home, lambda what: b"CANARY-of-a-passphrase")
    found = [ring.get("project"), ring.get("locked")]
    secrets = [secret for key in found for secret in (key.content, *(wrap.key for wrap in key.wraps))]
    assert len(secrets) == 8
    for secret in secrets:
        for form in forms(secret):
            assert form not in shown
    text = (home / "keys/project.key").read_text().split("\n")
    assert not [line for line in text[1:-2] if line in shown]


class TestSession:
    """The same through a session; the plain face has these verbs too (tests/unit/test_results.py)."""

    def test_every_verb(self, home, monkeypatch):
        from wherry.sync import Session

        with Session.open(home=home, environ={}) as session:
            made = session.new_key("project", passphrase=b"pw")
            assert [key.name for key in session.keys()] == ["project"]  # noqa: SIM118 - a session is no mapping
            assert session.key("project") == made
            rotated = session.rotate_key("project", passphrase=b"pw")
            assert rotated.generations[1:] == made.generations
            locked, plain = session.export_key("project"), session.export_key("project", passphrase=b"pw", plain=True)
            key = KeyFile.decode(plain).key("project")
            assert isinstance(key, DomainKey)
            assert KeyFile.decode(locked).unlock(b"pw").key("project") == key
            session.delete_key("project")
            assert session.import_key("again", locked, passphrase=b"pw").generations == rotated.generations
            person = session.new_key("alice", kind="identity")
            assert session.import_key("copy", person.recipient.encode()).fingerprint == person.fingerprint
            assert KeyFile.decode(session.export_key("alice", passphrase=b"travel")).unlock(b"travel")

    def test_no_verb_of_a_session_asks_on_a_terminal(self, home, monkeypatch):
        from wherry.errors import KeyProblem
        from wherry.sync import Session

        monkeypatch.setattr(passphrase, "from_terminal", lambda *_, **__: pytest.fail("it asked"))
        with Session.open(home=home, environ={}) as session:
            session.new_key("project", passphrase=b"pw")
            with pytest.raises(KeyProblem, match="nobody is here"):
                session.rotate_key("project")
