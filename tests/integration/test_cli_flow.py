"""The command line as a user has it: real processes, real homes, HTTP on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from wherry.ticket import Ticket
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def share(start, tree, tmp_path):
    process = start("share", tree, "--home", tmp_path / "home-a", "--listen", "http://127.0.0.1:0", "--json")
    return process, process.said()


def test_share_and_get_give_the_same_tree(share, wherry, tree, tmp_path):
    process, said = share
    target = tmp_path / "copy"
    done = wherry("get", said["cid"], "--from", said["listen"][0], "-o", target, "--json")
    got = json.loads(done.stdout)
    assert list(compare(tree, target)) == []
    assert (got["schema"], got["cid"], got["bytes"]) == ("wherry/get/1", said["cid"], said["bytes"])
    assert got["fetched_bytes"] > 0
    again = json.loads(wherry("get", said["cid"], "--from", said["listen"][0], "-o", target, "--json").stdout)
    assert again["fetched_bytes"] == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def test_the_lines_that_share_prints_work_as_they_are(start, environ, tree, tmp_path):
    process = start("share", tree, "--home", tmp_path / "home-a", "--listen", "http://127.0.0.1:0")
    cid, line, with_ticket = (process.line() for _ in range(3))
    for number, pasted in enumerate((line, with_ticket)):
        folder = tmp_path / f"machine-{number}"
        folder.mkdir()
        script = f'wherry() {{ "{sys.executable}" -m wherry_cli "$@"; }}; {pasted}'
        of_machine = {**environ, "WHERRY_HOME": str(folder / "home")}
        done = subprocess.run(["sh", "-c", script], cwd=folder, env=of_machine, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        assert list(compare(tree, folder / tree.name)) == []
    assert str(Ticket.parse(with_ticket.split()[2]).cid) == cid
    assert cid in line


@pytest.mark.parametrize("scheme", ["http", "tcp", "tcps"])
def test_a_token_file_guards_every_transport(scheme, start, wherry, tree, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret-of-the-server\n")
    said = start(
        "share", tree, "--home", tmp_path / "home-a", "--listen", f"{scheme}://127.0.0.1:0", "--token-file", secret, "--json"
    ).said()
    line = ["get", said["cid"], "--from", said["listen"][0], "-o", tmp_path / "copy"]
    refused = wherry(*line, "--wait", "1s", code=7)
    assert b"token" in refused.stderr
    wherry(*line, "--token-file", secret)
    assert list(compare(tree, tmp_path / "copy")) == []


def test_serve_says_when_it_is_ready_and_stops_cleanly(start, wherry, tree, tmp_path):
    process = start("serve", tree, "--listen", "http://127.0.0.1:0", "--json")
    said = process.said()
    assert said["schema"] == "wherry/serve/1"
    assert said["added"][0]["cid"] == wherry("add", "-q", tree).stdout.decode().strip()  # while it serves, on the same home
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


def test_a_public_address_is_refused_with_the_way_to_allow_it(wherry):
    done = wherry("serve", "--listen", "http://0.0.0.0:0", code=2)
    assert b"--allow-public" in done.stderr
    assert done.stdout == b""


def test_cat_ls_stat_and_verify_over_the_network(share, wherry, tree, tmp_path):
    _, said = share
    cid, source = said["cid"], ("--from", said["listen"][0])
    data = (tree / "data/large.bin").read_bytes()
    assert wherry("cat", f"{cid}/data/large.bin", *source).stdout == data
    piece = wherry("cat", f"{cid}/data/large.bin", "--offset", "1048570", "--length", "20", *source).stdout
    assert piece == data[1048570:1048590]
    names = {entry["name"]: entry for entry in json.loads(wherry("ls", "--json", cid, *source).stdout)["entries"]}
    assert set(names) == set(os.listdir(tree))
    assert wherry("ls", "-l", cid, *source).stdout.count(b"\n") == len(names)
    assert json.loads(wherry("stat", "--json", cid, *source).stdout)["bytes"] == said["bytes"]
    assert b"ok" in wherry("verify", cid, tree, *source).stdout
    (tree / "readme.txt").write_bytes(b"HELLO\n")
    done = wherry("verify", cid, tree, *source, code=11)
    assert b"readme.txt" in done.stderr
    assert done.stdout == b""


def test_a_source_that_was_never_there_ends_in_time(wherry, share, tmp_path):
    _, said = share
    begin = time.monotonic()
    done = wherry("get", said["cid"], "--from", "http://127.0.0.1:9", "-o", tmp_path / "x", "--json", code=7)
    assert time.monotonic() - begin < 32
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == 7
    assert done.stdout == b""
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("get", "Qm" + "x" * 44), 5),
        (("get", "wherry:!!"), 5),
        (("add", "/nonexistent/x"), 6),
        (("stat", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku0"), 5),
        (("config", "check", "--config", "/nonexistent/x"), 3),
        (("plugins", "info", "nosuch"), 4),
    ],
)
def test_bad_input_is_an_error_with_its_code(wherry, words, code):
    done = wherry(*words, "--json", code=code)
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == code


def test_an_interrupted_get_goes_on(share, start, wherry, tree, tmp_path):
    _, said = share
    target = tmp_path / "copy"
    words = ("get", said["cid"], "--from", said["listen"][0], "-o", target, "--json")
    process = start(*words)
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) in (0, 130)  # it may have been quicker
    wherry(*words)
    assert list(compare(tree, target)) == []


def test_the_configuration_of_a_fresh_user_is_right(wherry):
    assert wherry("config", "check").stderr == b""
    assert json.loads(wherry("config", "show", "--json").stdout)["schema"] == "wherry/config/1"
    names = {each["name"] for each in json.loads(wherry("plugins", "list", "--json").stdout)["plugins"]}
    assert {"http", "file", "disk"} <= names
    assert json.loads(wherry("doctor", "--json").stdout)["ok"] is True
    wherry("repair")


def test_the_demo(wherry, tmp_path):
    found = json.loads(wherry("demo", "--size", "8MiB", "--dir", tmp_path, "--json").stdout)
    assert (found["schema"], found["identical"]) == ("wherry/demo/1", True)
    assert found["bytes"] > 6 << 20
    assert 0 < found["get_peak_rss_bytes"] < 150 << 20
    assert 0 < found["share_peak_rss_bytes"] < 150 << 20
    assert not list(tmp_path.glob("wherry-demo-*"))


def test_the_demo_of_a_directory_with_links_that_lead_out(wherry, tree):
    (tree / "out").symlink_to("/etc/passwd")
    found = json.loads(wherry("demo", tree, "--json").stdout)
    assert (found["identical"], found["links_left_out"]) == (True, 1)
