"""What the verbs of the daemon ask, print and end with, over a daemon that only notes what it is asked."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager

import pytest

from wherry.daemon import places
from wherry.errors import LocalError, TargetExists
from wherry_cli import daemon_process, detached
from wherry_cli.app import run
from wherry_cli.control import client
from wherry_cli.daemon_process import Orders, command
from wherry_cli.invocation import Invocation
from wherry_cli.verbs import up

ONE = {
    "schema": "wherry/transfer/1", "id": "t1", "state": "running", "what": "bafy", "output": "/o\x1b", "traffic_class": "high",
    "priority": 2, "seed": True, "limit_up": 1 << 20, "limit_down": None, "sources": ["http://h:1"],
    "added": 1.0, "changed": 2.0,
    "bytes_done": 1 << 20, "bytes_total": 4 << 20, "fetched_bytes": 5, "rate": 1048576.0, "seconds_left": 3.0,
    "sources_alive": 1, "failures": 1, "retry_at": 9e9, "failure":
    {"error": "NoSource", "message": "gone", "hint": "look", "exit_code": 7}, "waits_for": "data comes in",
}  # fmt: skip
WHY = {
    "elapsed": 3.5, "idle": 1.5, "current": "moving", "current_seconds": 2.0, "text": "data comes in",
    "spent": [{"reason": "moving", "seconds": 2.0, "text": "data comes in"}], "last": [],
}  # fmt: skip
STATUS = {
    "schema": "wherry/status/1", "pid": 77, "since": time.time() - 5, "version": "1", "home": "/h", "listen": ["http://a:1"],
    "transfers": {"running": 2}, "down_rate": 1.0, "up_rate": 2.0, "down_bytes": 3, "up_bytes": 4, "peers": 5, "sources": 6,
    "names": [
        {"name": "k51a", "key": "self", "until": "2027-01-15T08:00:00.5Z", "renews": None, "warnings": ["not \x1b now"]},
        {"name": "k51b", "key": "b", "until": "2027-01-15T08:00:00.5Z", "renews": "2027-01-14T08:00:00.5Z", "warnings": []},
    ],
}  # fmt: skip


class Asked:
    """Notes what it is asked."""

    def __init__(self):
        self.calls = []
        self.lines = []
        self.answers = {
            "transfers": {"schema": "wherry/transfers/1", "transfers": [ONE]},
            "why": {"schema": "wherry/transfer-why/1", "id": "t1", "state": "running", "why": WHY},
            "limits": {"schema": "wherry/limits/1", "limits": [{"scope": "node", "up": 1 << 20, "down": None}]},
            "status": STATUS, "stop": STATUS,
        }  # fmt: skip
        for name, of in {"limit": "limits", "unlimit": "limits"}.items():
            self.answers[name] = self.answers[of]

    def __getattr__(self, name):
        async def method(*arguments, **options):
            self.calls.append((name, arguments, options))
            return self.answers.get(name, ONE)

        return method

    async def events(self):
        for line in self.lines:
            yield line


@pytest.fixture
def asked(monkeypatch):
    found = Asked()

    @asynccontextmanager
    async def connected(home):
        found.home = home
        yield found

    monkeypatch.setattr(client, "connected", connected)
    return found


@pytest.fixture
def go(tmp_path):
    def line(*argv, **options):
        return run(argv, Invocation(environ={"WHERRY_HOME": str(tmp_path / "home")}, **options))

    return line


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("transfers", ("transfers", (), {})),
        ("transfers list", ("transfers", (), {})),
        ("transfers show t1", ("show", ("t1",), {})),
        ("transfers pause t1", ("act", ("t1", "pause"), {})),
        ("transfers resume t1", ("act", ("t1", "resume"), {})),
        ("transfers cancel t1", ("act", ("t1", "cancel"), {})),
        ("transfers set t1 --class bulk --priority -3 --no-seed --limit-up 1MB/s --limit-down 0",
         ("set", ("t1",), {"traffic_class": "bulk", "priority": -3, "seed": False, "limit_up": 10**6, "limit_down": 0})),
        ("transfers add bafy -o /o --from lab", ("add", (), {"what": "bafy", "output": "/o", "sources": ["lab"]})),
        ("transfers add bafy -o null: --seed", ("add", (), {"what": "bafy", "output": "null:", "sources": [], "seed": True})),
        ("limit", ("limits", (), {})),
        ("limit show", ("limits", (), {})),
        ("limit up 10MB", ("limit", (), {"scope": "node", "up": 10**7})),
        ("limit down 1KiB --class bulk", ("limit", (), {"scope": "class:bulk", "down": 1024})),
        ("limit up 0 --transfer t1", ("limit", (), {"scope": "transfer:t1", "up": 0})),
        ("limit up 5 --peer", ("limit", (), {"scope": "peer", "up": 5})),
        ("limit down 5kB --of-peer 192.0.2.7", ("limit", (), {"scope": "peer:192.0.2.7", "down": 5000})),
        ("limit off", ("unlimit", (), {})),
        ("status", ("status", (), {})),
        ("why t1", ("why", ("t1",), {})),
    ],
)  # fmt: skip
def test_what_a_verb_asks_and_prints(asked, go, capsys, line, call):
    assert go(*line.split()) == 0
    assert asked.calls == [call]
    assert asked.home.name == "home"
    text = capsys.readouterr().out
    assert text
    assert "\x1b" not in text
    assert go(*line.split(), "--json") == 0
    assert json.loads(capsys.readouterr().out)["schema"].startswith("wherry/")
    assert go(*line.split(), "-q") == 0


def test_where_a_transfer_goes_when_it_is_not_told(asked, go, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert go("transfers", "add", "bafy") == 0
    assert asked.calls[0][2]["output"] == str(tmp_path / "bafy")


def test_a_transfer_is_shown_with_all_that_is_known(asked, go, capsys):
    assert go("transfers", "show", "t1") == 0
    text = capsys.readouterr().out
    for word in (
        "t1 ",
        "running",
        "25%",
        "1.0 MiB/s",
        "3.0s left",
        r"/o\x1b",
        "http://h:1",
        "priority",
        "NoSource: gone",
        "look",
    ):
        assert word in text


def test_why_of_all(asked, go, capsys):
    assert go("why") == 0
    assert [call[0] for call in asked.calls] == ["transfers", "why"]
    text = capsys.readouterr().out
    assert "2.0 s: data comes in" in text
    assert "3.5 s in all, 1.5 s of them idle" in text
    assert go("why", "--json") == 0
    assert json.loads(capsys.readouterr().out)["transfers"][0]["why"]["elapsed"] == 3.5
    asked.answers["transfers"]["transfers"] = []
    assert go("why") == 0
    assert "no transfer" in capsys.readouterr().err
    assert go("transfers") == 0
    assert "There are no transfers" in capsys.readouterr().err
    asked.answers["limits"]["limits"].insert(0, {"scope": "timetable", "up": None, "down": 1 << 20})
    assert go("limit") == 0
    assert "timetable  up free, down 1.0 MiB/s  (holds now, in the place of node's" in capsys.readouterr().out
    asked.answers["limits"]["limits"] = []
    assert go("limit") == 0
    assert "no limit" in capsys.readouterr().err


def event(**changes):
    return {"schema": "wherry/event/1", "event": "transfer", **ONE, **changes}


def test_watching_all(asked, go, capsys):
    asked.lines = [event(), event(), event(state="paused"), {"event": "listed"}, {"event": "forgotten", "id": "t1"}]
    assert go("transfers", "--watch") == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["running", "paused"]
    assert go("transfers", "list", "--watch", "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_watching_one_ends_with_it(asked, go, capsys):
    asked.lines = [event(id="t2", state="failed"), event(), event(state="complete"), event(state="queued")]
    assert go("transfers", "show", "t1", "--watch", "-q") == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == "complete"
    failure = {"error": "TargetExists", "message": "there is one", "hint": None, "exit_code": 9}
    asked.lines = [event(state="failed", failure=failure)]
    assert go("transfers", "add", "bafy", "--watch") == TargetExists.exit_code
    assert "there is one" in capsys.readouterr().err
    asked.lines = []
    assert go("transfers", "show", "t1", "--watch") == 7


def test_wrong_lines(asked, go, capsys):
    assert go("limit", "up", "10MB", "--class", "bulk", "--transfer", "t1") == 2
    assert go("limit", "up", "fast") == 2
    assert go("transfers", "add", "bafy", "--class", "huge") == 2
    assert asked.calls == []
    assert "exclude each other" in capsys.readouterr().err


def test_without_a_daemon_every_verb_says_how_to_start_one(go, capsys):
    for line in ("status", "down", "transfers", "why", "limit"):
        assert go(line) == 6
        assert "wherry up" in capsys.readouterr().err


def test_down_waits_until_the_daemon_is_gone(asked, go, capsys, tmp_path, monkeypatch):
    with places.taken(tmp_path / "home"):
        monkeypatch.setattr("wherry_cli.verbs.down.DRAIN_S", -5.0)
        assert go("down") == 10
    assert "does not end" in capsys.readouterr().err
    assert go("down", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pid"] == 77


def test_up_starts_no_second_one(go, capsys, tmp_path):
    with places.taken(tmp_path / "home"):
        assert go("up") == 10
    assert str(os.getpid()) in capsys.readouterr().err


def test_a_daemon_that_runs_is_said_to_keep_its_token(go, capsys, tmp_path):
    (tmp_path / "new").write_text("s3cret")
    with places.taken(tmp_path / "home"):
        for line, keeps in ((("up",), False), (("up", "--token-file", str(tmp_path / "new")), True)):
            assert go(*line) == 10
            assert ("keeps the token" in capsys.readouterr().err) is keeps


class Process:
    """Stands for a daemon that says ``said`` and ends or stays."""

    returncode = None

    def __init__(self, line, *, said, pass_fds, **options):
        self.line = line
        self.ended = []
        if said is not None:
            os.write(pass_fds[0], said)
            self.fd = -1
        else:
            self.fd = os.dup(pass_fds[0])  # says nothing, and stays

    def wait(self):
        if self.fd >= 0:
            os.close(self.fd)
        return 3

    def terminate(self):
        self.ended.append(True)


@pytest.fixture
def spawned(monkeypatch):
    made = []

    def says(said):
        def popen(line, **options):
            made.append(Process(line, said=said, **options))
            return made[-1]

        monkeypatch.setattr(detached.subprocess, "Popen", popen)
        return made

    return says


def test_up_in_the_background_passes_its_options_on(spawned, go, capsys, tmp_path):
    made = spawned(json.dumps({"schema": "wherry/up/1", "pid": 5, "listen": ["http://a:1"], "home": "h"}).encode())
    (tmp_path / "c.toml").write_text("")
    token = tmp_path / "tok"
    token.write_text("secret")
    line = ["up", "--listen", "http://127.0.0.1:0", "--allow-public", "--token-file", str(token), "--profile", "p", "-v"]
    assert go(*line, "--config", str(tmp_path / "c.toml")) == 0
    assert capsys.readouterr().out == "http://a:1\n"
    *words, told = made[0].line
    assert words == [sys.executable, "-P", "-m", "wherry_cli.daemon_process"]
    orders = Orders(**json.loads(told))
    assert orders.overrides == {f"transport.{name}.token_file": str(token) for name in ("http", "tcp")}
    assert (orders.listen, orders.allow_public, orders.profile, orders.verbose) == (["http://127.0.0.1:0"], True, "p", 1)
    assert (orders.home, orders.config) == (str(tmp_path / "home"), str(tmp_path / "c.toml"))
    assert isinstance(orders.ready_fd, int)
    assert go("up", "--json") == 0
    assert json.loads(capsys.readouterr().out)["log"] == str(tmp_path / "home/logs/daemon.log")


def test_up_in_the_foreground_becomes_the_daemon(monkeypatch, go, tmp_path, capsys):
    became = []

    def execve(path, line, environ):
        became.append((path, line, environ))
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(up.os, "execve", execve)
    assert go("up", "--foreground", "--listen", "http://a:1", "--json", "-q") == LocalError.exit_code
    assert "cannot start" in capsys.readouterr().err
    ((path, line, environ),) = became
    orders = Orders(**json.loads(line[-1]))
    assert (path, environ) == (sys.executable, {"WHERRY_HOME": str(tmp_path / "home")})
    assert (orders.json, orders.quiet, orders.ready_fd, orders.allow_public) == (True, True, None, False)
    made = orders.run()
    assert (made.home, made.json, made.quiet, made.config) == (None, True, True, None)  # as the environment says


def test_the_daemon_loads_no_command_line():
    code = "import sys, wherry_cli.daemon_process, wherry_cli.detached; print(*sys.modules, sep=chr(10))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "wherry_cli.invocation" in loaded
    assert not {"typer", "click", "rich"} & set(loaded)


def test_what_the_daemon_cannot_start_with_is_said_and_is_its_exit_code(tmp_path, capsys):
    (tmp_path / "wherry.toml").write_text("[nonsense]\n")
    orders = Orders(home=str(tmp_path), json=True)
    assert daemon_process.main([command(orders)[-1]]) == 3
    assert json.loads(capsys.readouterr().err)["exit_code"] == 3


@pytest.mark.parametrize(("said", "word"), [(b"", "code 3"), (b"[]", "code 3"), (b"Traceback", "code 3")])
def test_a_daemon_that_ends_without_a_word(spawned, go, capsys, said, word):
    spawned(said)
    assert go("up") == LocalError.exit_code
    assert word in capsys.readouterr().err


def test_a_daemon_that_fails_says_with_what(spawned, go, capsys):
    spawned(b'{"schema": "wherry/error/1", "error": "UsageError", "message": "no", "hint": null, "exit_code": 2}')
    assert go("up") == 2
    assert "no" in capsys.readouterr().err


def test_a_daemon_that_is_never_ready_is_ended(spawned, go, capsys, monkeypatch):
    monkeypatch.setattr(detached, "_READY_S", 0.05)
    made = spawned(None)
    assert go("up") == LocalError.exit_code
    assert "not ready" in capsys.readouterr().err
    assert made[0].ended


def test_a_log_that_cannot_be_written(go, tmp_path, capsys):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/logs").write_text("")
    assert go("up") == LocalError.exit_code
    assert "log" in capsys.readouterr().err


def test_who_started_a_daemon_may_be_gone():
    read, write = os.pipe()
    os.close(read)
    detached.tell(write, {"a": 1})
    detached.tell(None, {"a": 1})


def test_a_daemon_that_does_not_end_is_ended(monkeypatch):
    codes, ended = [], threading.Event()
    monkeypatch.setattr(detached, "DRAIN_S", 0.01)
    monkeypatch.setattr(detached.os, "_exit", lambda code: (codes.append(code), ended.set()))
    detached.end_soon()
    assert ended.wait(20)
    assert codes == [0]


def test_status_says_until_when_names_are_valid_and_what_is_wrong_with_one(asked, go, capsys):
    assert go("status") == 0
    said = capsys.readouterr()
    assert "k51a (key self) until 2027-01-15T08:00:00Z\n" in said.out
    assert "k51b (key b) until 2027-01-15T08:00:00Z, renewed at 2027-01-14T08:00:00Z\n" in said.out
    assert "not \\x1b now" in said.err
