"""Two machines, as far as one can show: two homes and two processes that share nothing but loopback and the printed line."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys

import pytest

from wherry.ticket import Ticket
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def machine(environ, tmp_path):
    """Runs a pasted line in a shell of another machine: other folder, other home."""
    count = 0

    def run(pasted):
        nonlocal count
        count += 1
        folder = tmp_path / f"machine-{count}"
        folder.mkdir()
        script = f'wherry() {{ {shlex.quote(sys.executable)} -m wherry_cli "$@"; }}; {pasted}'
        of_machine = {**environ, "WHERRY_HOME": str(folder / "home")}
        done = subprocess.run(["sh", "-c", script], cwd=folder, env=of_machine, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return folder, done

    return run


@pytest.mark.parametrize("name", ["tree", "with space", "-dash", "it's $HOME; `x`", "ünï 🚢"])
def test_the_printed_lines_work_as_they_are(start, machine, tree, name):
    root = tree.rename(tree.with_name(name))
    process = start("share", "--listen", "http://127.0.0.1:0", "--", root)
    cid, by_address, by_ticket = (process.line() for _ in range(3))
    assert cid in by_address
    assert str(Ticket.parse(by_ticket.split()[2]).cid) == cid
    for pasted in (by_address, by_ticket):
        folder, _ = machine(pasted)
        assert list(compare(root, folder / name)) == []
    assert process.stop(signal.SIGINT)[0] == 0


def test_a_file_is_shared_as_a_file(start, machine, tree):
    process = start("share", tree / "data/large.bin", "--listen", "http://127.0.0.1:0", "--json")
    said = process.said()
    for pasted in (said["command"], f"wherry get {said['ticket']}"):
        folder, _ = machine(pasted)
        assert (folder / "large.bin").read_bytes() == (tree / "data/large.bin").read_bytes()


def test_the_second_machine_hands_on_what_it_got(start, machine, tree, tmp_path):
    """B seeds from the copy that it made; A is gone."""
    first = start("share", tree, "--listen", "http://127.0.0.1:0", "--json")
    said = first.said()
    folder, _ = machine(said["command"])
    assert first.stop(signal.SIGTERM)[0] == 0
    second = start("serve", "--home", folder / "home", "--listen", "http://127.0.0.1:0", "--json")
    source = second.said()["listen"][0]
    third, done = machine(f"wherry get {said['cid']} --from {source} -o copy --json")
    assert list(compare(tree, third / "copy")) == []
    assert json.loads(done.stdout)["fetched_bytes"] > 0


def test_reading_verbs_over_the_network(start, machine, tree, wherry, tmp_path):
    said = start("share", tree, "--listen", "http://127.0.0.1:0", "--json", "--home", tmp_path / "a").said()
    cid, source = said["cid"], ("--from", said["listen"][0])
    data = (tree / "data/large.bin").read_bytes()
    for offset, length in ((0, 1), (1048575, 2), (1048576, 1048576), (4194304, 99999)):
        piece = wherry("cat", f"{cid}/data/large.bin", "--offset", offset, "--length", length, *source).stdout
        assert piece == data[offset : offset + length]
    assert wherry("ls", f"{cid}/deep", *source).stdout == b"a/\nup@\n"
    assert json.loads(wherry("stat", f"{cid}/readme.txt", "--json", *source).stdout)["bytes"] == 6
    for words in (("cat", f"{cid}/nothing"), ("ls", f"{cid}/readme.txt/x"), ("stat", f"{cid}/data/x")):
        assert b"no" in wherry(*words, *source, code=6).stderr
    assert b"directory" in wherry("cat", cid, *source, code=2).stderr


def test_a_wide_directory_is_listed_to_its_end_or_to_the_readers(start, wherry, environ, tmp_path):
    root = tmp_path / "wide"
    root.mkdir()
    names = [f"{number:04}" for number in range(3000)]
    for name in names:
        (root / name).write_bytes(b"")
    said = start("share", root, "--listen", "http://127.0.0.1:0", "--json", "--home", tmp_path / "a").said()
    listed = wherry("ls", said["cid"], "--from", said["listen"][0]).stdout.decode().split()
    assert listed == names
    line = f"{shlex.quote(sys.executable)} -m wherry_cli ls -l {said['cid']} | head -n 2"
    done = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, check=False, timeout=60)
    assert (done.stdout.count(b"\n"), done.stderr) == (2, b"")


def test_verify_says_what_differs_and_where(start, wherry, tree, tmp_path):
    cid = wherry("add", "-q", tree).stdout.decode().strip()
    assert b"ok" in wherry("verify", cid, tree).stdout
    (tree / "readme.txt").write_bytes(b"HELLO\n")
    (tree / "extra\x1b[31m").write_bytes(b"")
    (tree / "empty").unlink()
    done = wherry("verify", cid, tree, code=11)
    assert done.stdout == b""
    said = done.stderr.decode()
    assert "readme.txt: differs" in said
    assert "empty: is missing" in said
    assert "extra" in said
    assert "\x1b" not in said
    done = wherry("verify", cid, tree, "--json", code=11)
    found = json.loads(done.stdout)
    assert (found["ok"], len(found["differences"])) == (False, 3)
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == 11
    alone = wherry("add", "-q", tree / "data/large.bin").stdout.decode().strip()
    assert f"{tree}/readme.txt: has" in wherry("verify", alone, tree / "readme.txt", code=11).stderr.decode()
