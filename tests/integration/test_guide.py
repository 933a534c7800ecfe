"""What the guide for authors of plugins shows is what runs: the same files, a green suite, and data by a real sshd."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tokenize
from pathlib import Path

import pytest
from strangers import install

from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests/examples/acme-ssh"
GUIDE = (ROOT / "specs/0022-write-a-plugin.md").read_text()
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(path):
    """Lines of a module with code on them: no blank ones, comments or docstrings."""
    text = path.read_text()
    words = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    docs = {line for node in words for line in range(node.lineno, node.end_lineno + 1)}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docs)


def test_the_guide_shows_the_files_as_they_are():
    shown = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```\n", GUIDE, re.DOTALL))
    assert set(shown) == {"acme_ssh/plugin.py", "acme_ssh/transport.py", "pyproject.toml", "conftest.py", "test_ssh.py"}
    for name, text in shown.items():
        (path,) = EXAMPLE.rglob(name)
        assert text == path.read_text(), name


def test_it_has_a_hundred_lines():
    assert sum(code_lines(path) for path in (EXAMPLE / "acme_ssh").glob("*.py")) <= 100


def test_its_suite_is_green():
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    environ["PYTHONPATH"] = os.pathsep.join([str(EXAMPLE), *(path for path in sys.path if path)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=EXAMPLE, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20


@pytest.fixture
def installed(tmp_path, environ):
    """The example, on the path of the processes that ``wherry`` runs."""
    site = install(tmp_path / "site", "acme-ssh", {"acme.ssh": "acme_ssh.plugin"}, {})
    environ["PYTHONPATH"] = os.pathsep.join([str(site), str(EXAMPLE), environ["PYTHONPATH"]])


@pytest.fixture
def sshd(tmp_path):
    """A real sshd on loopback for this user; gives the words of the ssh that reaches it, and its port."""
    program = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    if program is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("openssh-server is not installed here")
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # where it wants to separate privileges
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": tmp_path / "host", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": tmp_path / "user.pub", "StrictModes": "no", "PermitRootLogin": "yes",
    }  # fmt: skip
    (tmp_path / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    with (tmp_path / "sshd.log").open("wb") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=log)
    try:
        wait_for(port, server, tmp_path / "sshd.log")
        client = ["ssh", "-T", "-F", "none", "-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oLogLevel=ERROR"]
        yield [*client, f"-oUserKnownHostsFile={tmp_path / 'known'}", "-i", str(tmp_path / "user")], port
    finally:
        server.kill()
        server.wait()


def wait_for(port, server, log):
    """Waits until sshd answers; skips the test if it ends instead."""
    end = time.monotonic() + 20
    while server.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.skip(f"sshd cannot be started here: {log.read_text().strip()[-300:]}")


def got(wherry, tree, tmp_path, command, address):
    """Gets the tree: what it is from a home, whose files are gone; its bytes by ssh. Gives the bytes of each source."""
    a, b = tmp_path / "a", tmp_path / "b"
    cid = json.loads(wherry("add", tree, "--home", a, "--json").stdout)["cid"]
    copy = tree.rename(tmp_path / "plain copy")
    b.mkdir()
    options = f'use = ["file", "acme.ssh"]\n[transport."acme.ssh"]\ncommand = {json.dumps(command)}\n'
    (b / "wherry.toml").write_text(f"[transport]\n{options}")
    sources = ["--from", f"file://{a}", "--from", f"{address}{copy}"]
    said = json.loads(wherry("get", cid, "--home", b, "-o", tmp_path / "got", *sources, "--json").stdout)
    assert list(compare(copy, tmp_path / "got")) == []
    return {each["address"]: each["bytes"] for each in said["sources"]}


def test_data_arrives_by_a_shell(installed, wherry, tree, tmp_path):
    sources = got(wherry, tree, tmp_path, ["sh", "-c", 'exec "$1"'], "ssh://here")
    assert sources[f"ssh://here{tmp_path / 'plain copy'}"] > 5 << 20


def test_data_arrives_by_a_real_sshd(installed, sshd, wherry, tree, tmp_path):
    command, port = sshd
    sources = got(wherry, tree, tmp_path, command, f"ssh://127.0.0.1:{port}")
    assert sources[f"ssh://127.0.0.1:{port}{tmp_path / 'plain copy'}"] > 5 << 20
