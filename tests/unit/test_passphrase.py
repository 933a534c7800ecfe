"""Passphrases come from a file, a descriptor or a terminal, in one form; and a lock never costs more than is allowed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest

from wherry.errors import KeyProblem, LimitExceeded, NotFound
from wherry.limits import PASSPHRASE_BYTES_MAX
from wherry.sealing import passphrase
from wherry.sealing.passphrase import MODERATE, Locked, asker, from_fd, from_file, lock, unlock


@pytest.fixture
def file(tmp_path):
    """Writes a passphrase file of mode 600."""

    def write(data, mode=0o600):
        path = tmp_path / "passphrase"
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"correct horse", b"correct horse"),
        (b"correct horse\n", b"correct horse"),
        (b"correct horse\r\n", b"correct horse"),
        (b" kept as it is \n", b" kept as it is "),
        (unicodedata.normalize("NFD", "Brücke").encode(), unicodedata.normalize("NFC", "Brücke").encode()),
        (b"x" * PASSPHRASE_BYTES_MAX + b"\n", b"x" * PASSPHRASE_BYTES_MAX),
    ],
)
def test_a_passphrase_is_one_line(file, data, found):
    assert from_file(file(data)) == found


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "there is no passphrase"),
        (b"\n", "there is no passphrase"),
        (b"secret\nwords\n", "more than one line"),
        (b"secret\n\n", "more than one line"),
        (b"a\0b", "more than one line"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * (PASSPHRASE_BYTES_MAX + 1), "more than 1024 bytes"),
        (b"x" * 100_000, "more than 1024 bytes"),
    ],
)
def test_what_is_no_passphrase(file, data, said):
    with pytest.raises(KeyProblem, match=said) as caught:
        from_file(file(data))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_of_ours_that_others_may_open_is_refused(file, mode):
    with pytest.raises(KeyProblem, match="open to other users") as caught:
        from_file(file(b"x", mode))
    assert caught.value.hint.startswith("chmod 600 ")


def test_a_file_that_is_not_there():
    with pytest.raises(NotFound):
        from_file("/nonexistent/passphrase")


def test_a_descriptor_is_read_to_its_end_and_left_open(file):
    ours, theirs = os.pipe()
    os.write(theirs, b"correct ")
    writer = threading.Thread(target=lambda: (os.write(theirs, b"horse\n"), os.close(theirs)))
    writer.start()
    assert from_fd(ours) == b"correct horse"
    writer.join()
    os.close(ours)


def test_a_descriptor_that_is_not_open():
    with pytest.raises(Exception, match="descriptor 987"):
        from_fd(987)


class TestAsker:
    def test_the_file_goes_before_the_environment(self, file, tmp_path):
        ask = asker({"WHERRY_PASSPHRASE_FILE": str(tmp_path / "absent")}, file=file(b"given"))
        assert ask("key x") == b"given"

    def test_the_environment_names_a_file(self, file):
        assert asker({"WHERRY_PASSPHRASE_FILE": file(b"there")})("key x") == b"there"

    def test_a_descriptor_is_read_once_however_often_it_is_asked(self):
        ours, theirs = os.pipe()
        os.write(theirs, b"once")
        os.close(theirs)
        ask = asker({"WHERRY_PASSPHRASE_FILE": "/nonexistent"}, fd=ours)
        os_read = os.read
        assert [ask("key x"), ask("key y")] == [b"once", b"once"]
        assert os_read(ours, 1) == b""
        os.close(ours)

    def test_nobody_is_asked_without_a_terminal(self):
        assert asker({})("key x") is None

    def test_the_value_of_a_variable_is_no_passphrase(self):
        assert asker({"WHERRY_PASSPHRASE": "secret"})("key x") is None


def on_terminal(typed, code):
    """Runs ``code`` in a process whose terminal is ours; gives what it wrote there, and its exit code."""
    ours, theirs = os.openpty()
    lines = f"import os, sys\nos.open({os.ttyname(theirs)!r}, os.O_RDWR)  # now it is the session's terminal\n{code}"
    process = subprocess.Popen([sys.executable, "-c", lines], start_new_session=True)
    try:
        shown = b""
        for line in typed:
            while not shown.endswith(b": "):
                shown += os.read(ours, 1)
            os.write(ours, line + b"\n")
            shown += b"\n"
        code = process.wait(30)
        os.set_blocking(ours, False)
        with suppress(BlockingIOError):
            shown += os.read(ours, 10_000)
        return shown, code
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


ASK = "from wherry.sealing import passphrase\n"


def test_a_terminal_is_asked_unseen():
    code = ASK + "sys.exit(passphrase.from_terminal('Passphrase: ') != b'correct horse')"
    shown, code = on_terminal([b"correct horse"], code)
    assert code == 0
    assert b"Passphrase: " in shown
    assert b"horse" not in shown


def test_a_new_passphrase_is_asked_for_twice():
    code = ASK + "sys.exit(passphrase.asker({}, terminal=True, again=True)('the key') != b'correct horse')"
    shown, ended = on_terminal([b"correct horse", b"correct horse"], code)
    assert ended == 0
    assert b"Passphrase of the key: " in shown
    code = f"{ASK}from wherry.errors import KeyProblem\ntry: passphrase.asker({{}}, terminal=True, again=True)('the key')\n"
    code += "except KeyProblem as problem: sys.exit(7 if 'not the same' in problem.message else 8)"
    assert on_terminal([b"correct horse", b"another"], code)[1] == 7


def test_the_default_cost_is_the_documented_one():
    assert MODERATE == (4, 48 << 20)
    assert "4 passes over 48 MiB" in (Path(__file__).parents[2] / "specs/0021-keys.md").read_text()
    assert unlock(lock(b"data", b"x"), b"x") == b"data"


@pytest.mark.parametrize(("ops", "memory"), [(11, 8192), (1, (1 << 30) + 1), (1 << 62, 1 << 62)])
def test_what_would_stop_the_machine_is_refused_before_it_begins(ops, memory, monkeypatch):
    monkeypatch.setattr(passphrase, "_stretched", lambda *_: pytest.fail("it began"))
    with pytest.raises(LimitExceeded):
        Locked.read({"alg": "argon2id", "ops": ops, "memory": memory, "salt": bytes(16), "box": bytes(40)})


def test_memory_that_the_machine_does_not_give(monkeypatch):
    from nacl import bindings
    from nacl.exceptions import RuntimeError as LibraryError

    def refuse(*_):
        raise LibraryError("key derivation failed")

    monkeypatch.setattr(bindings, "crypto_pwhash_alg", refuse)
    with pytest.raises(KeyProblem, match="takes 48 MiB of memory"):
        lock(b"data", b"x")
