"""Observers in real processes: a real Prometheus scrapes a node that serves, the log is a file, a stranger's are fenced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

pytestmark = pytest.mark.integration

PATIENCE_S = 40


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def read(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read().decode()


def until(what, process=None):
    """Asks again until there is an answer."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            if found := what():
                return found
        except OSError:
            pass
        assert time.monotonic() < end, "it took too long"
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.1)


def configured(tmp_path, text):
    path = tmp_path / "wherry.toml"
    path.write_text(text)
    return path


@pytest.fixture
def scraped(tmp_path, start):
    """A node that serves a small dataset with its metrics on a port; gives (ticket's CID, address, port)."""
    pytest.importorskip("prometheus_client", reason="needs wherry[prometheus]")
    port = free_port()
    config = configured(tmp_path, f'[observer]\nuse = ["prometheus"]\n[observer.prometheus]\nlisten = "127.0.0.1:{port}"\n')
    (tmp_path / "data").mkdir()
    for number in range(4):
        (tmp_path / f"data/{number}").write_bytes(os.urandom(3 << 20))
    node = start("share", "--json", "--config", config, "--listen", "http://127.0.0.1:0", tmp_path / "data")
    said = node.said()
    return said["cid"], said["listen"][0], port


def test_a_scrape_shows_what_was_served(scraped, wherry, tmp_path):
    from prometheus_client.parser import text_string_to_metric_families

    cid, address, port = scraped
    wherry("get", cid, "--from", address, "-o", tmp_path / "got", "--home", tmp_path / "there", "--quiet")

    def figures():
        found = {}
        for family in text_string_to_metric_families(read(f"http://127.0.0.1:{port}/metrics")):
            for sample in family.samples:
                found[sample.name, *sorted(sample.labels.values())] = sample.value
        return found if found.get(("wherry_served_bytes_total", "http"), 0) >= 12 << 20 else None

    found = until(figures)
    assert found["wherry_served_bytes_total", "http"] < (12 << 20) + 10_000
    assert found["wherry_verbs_total", "add", "ok"] == 1
    assert found["wherry_verbs_running", "serve"] == 1
    assert found["wherry_verb_bytes_total", "add"] == 12 << 20


def test_a_real_prometheus_scrapes_a_node(scraped, wherry, tmp_path):
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("there is no prometheus here (apt install prometheus)")
    cid, address, port = scraped
    own = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "scrape_configs:\n  - job_name: wherry\n    scrape_interval: 1s\n"
        f"    static_configs:\n      - targets: ['127.0.0.1:{port}']\n"
    )
    options = {"config.file": config, "storage.tsdb.path": tmp_path / "tsdb", "web.listen-address": f"127.0.0.1:{own}"}
    line = [prometheus, *(f"--{name}={value}" for name, value in options.items())]
    log = tmp_path / "prometheus.log"
    with log.open("wb") as out, subprocess.Popen(line, stdout=out, stderr=out) as process:
        try:

            def ask(query):
                found = json.loads(read(f"http://127.0.0.1:{own}/api/v1/query?query={urllib.parse.quote(query)}"))
                return [float(row["value"][1]) for row in found["data"]["result"]]

            until(lambda: ask('up{job="wherry"}') == [1.0])
            wherry("get", cid, "--from", address, "-o", tmp_path / "got", "--home", tmp_path / "there", "--quiet")
            served = until(
                lambda: (found := ask('wherry_served_bytes_total{scheme="http"}')) and found[0] >= 12 << 20 and found
            )
            assert served[0] < (12 << 20) + 10_000
            assert ask("count({__name__=~'wherry_.*'})")[0] < 200
            kinds = json.loads(read(f"http://127.0.0.1:{own}/api/v1/metadata?metric=wherry_served_bytes_total"))["data"]
            assert kinds["wherry_served_bytes_total"][0]["type"] == "counter"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, log.read_text()


def test_a_port_that_is_taken_stops_no_command(scraped, wherry, tmp_path):
    cid, address, _ = scraped
    done = wherry(
        "get", cid, "--from", address, "-o", tmp_path / "got", "--config", tmp_path / "wherry.toml", "--home", tmp_path / "b"
    )
    assert b"the observer 'prometheus' cannot start and is left out" in done.stderr
    assert (tmp_path / "got/3").stat().st_size == 3 << 20


def test_the_log_of_a_get(tmp_path, wherry):
    log = tmp_path / "log/wherry.log"
    config = configured(
        tmp_path,
        f'[observer]\nuse = ["log"]\n[observer.log]\nfile = "{log}"\n[profile.loud.observer.log]\nlevel = "debug"\n',
    )
    (tmp_path / "data").write_bytes(os.urandom(5 << 20))
    cid = json.loads(wherry("add", "--json", tmp_path / "data", "--config", config).stdout)["cid"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    home = os.environ["WHERRY_HOME"]
    there = ["--home", tmp_path / "there", "--config", config]
    wherry("get", cid, "--from", f"file://{home}", "-o", tmp_path / "got", *there, "--profile", "loud")
    nowhere = ["--from", f"file://{tmp_path}/none", "-o", tmp_path / "got2", "--home", tmp_path / "c", "--wait", "1s"]
    wherry("get", cid, *nowhere, "--config", config, code=7)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = [
        (line["event"], line.get("verb"), line.get("error")) for line in lines if "verb" in line and line["event"] != "progress"
    ]
    assert kinds == [
        ("began", "add", None), ("ended", "add", None), ("began", "get", None), ("ended", "get", None), ("began", "get", None),
        ("ended", "get", "NoSource"),
    ]  # fmt: skip
    assert sum(line["bytes"] for line in lines if line["event"] == "fetched") >= 5 << 20
    assert {line["error"] for line in lines if line["event"] == "peer_failed"} == {"PeerUnreachable"}
    assert cid not in "".join(json.dumps(line) for line in lines if line["event"] != "note")


PACKAGE = '''
"""Observers that do wrong, and commands, as a stranger's package."""
import sys, time
from dataclasses import dataclass
from wherry.abc.command import Command
from wherry.abc.observer import Observer
from wherry.plugin import hookimpl, option, provider

@dataclass(frozen=True)
class Options:
    how: str = option("raise", help="what it does")

class Bad(Observer):
    def __init__(self, options):
        self.how = options.how
    def take(self, events):
        if self.how == "raise":
            raise RuntimeError("what a day")
        if self.how == "exit":
            sys.exit(3)
        if self.how == "hang":
            time.sleep(3600)
        if self.how == "lie":
            for event in list(events):
                for name in ("bytes", "verb"):
                    try:
                        setattr(event, name, 0)
                    except Exception:
                        pass
            events.clear()
    def close(self):
        if self.how == "close":
            raise OSError("cannot close")

class Where(Command):
    def run(self, arguments, invocation):
        if arguments == ["fail"]:
            raise LookupError("nowhere")
        print(invocation.home)
        return 0

def build(options, env):
    return Where()

@hookimpl
def wherry_register_observers():
    return [provider("acme.bad", options=Options, build=lambda options, env: Bad(options), summary="Does wrong.")]

@hookimpl
def wherry_register_commands():
    return [provider("acme.where", options=Options, build=build, summary="Print the home.")]
'''


@pytest.fixture
def stranger(tmp_path, environ):
    """Installs a stranger's package for the processes of this test."""
    site = tmp_path / "site"
    info = site / "acme_things-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "acme_things.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wherry]\nacme = acme_things\n")
    environ["PYTHONPATH"] = f"{site}:{environ['PYTHONPATH']}"


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("how", ["raise", "exit", "hang", "lie", "close"])
def test_a_strangers_observer_costs_no_data(how, tmp_path, wherry):
    log = tmp_path / "wherry.log"
    config = configured(
        tmp_path,
        f'[observer]\nuse = ["acme.bad", "log"]\n[observer."acme.bad"]\nhow = "{how}"\n[observer.log]\nfile = "{log}"\n',
    )
    data = tmp_path / "data"
    data.write_bytes(os.urandom(3 << 20))
    cid = json.loads(wherry("add", "--json", data).stdout)["cid"]
    began = time.monotonic()
    done = wherry("get", cid, "--from", f"file://{os.environ['WHERRY_HOME']}", "-o", tmp_path / "got", "--home", tmp_path / "b",
                  "--config", config)  # fmt: skip
    assert time.monotonic() - began < PATIENCE_S
    assert (tmp_path / "got").read_bytes() == data.read_bytes()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["bytes"] for line in lines if line["event"] == "ended"] == [3 << 20]
    said = done.stderr.decode()
    words = {
        "raise": "the observer 'acme.bad' failed and is left out: RuntimeError: what a day", "lie": "",
        "exit": "the observer 'acme.bad' failed and is left out: SystemExit: 3",
        "hang": "the observer 'acme.bad' does not end; it is left behind",
        "close": "the observer 'acme.bad' failed at its end and is left out: OSError: cannot close",
    }  # fmt: skip
    assert words[how] in said
    assert said.count("acme.bad") == (how != "lie")


@pytest.mark.usefixtures("stranger")
def test_a_strangers_command(wherry, home):
    assert wherry("acme.where").stdout.decode().strip() == str(home)
    said = wherry("acme.where", "fail", code=4).stderr.decode()
    assert said.startswith("error: the command acme.where of acme-things failed: LookupError: nowhere\n")
    assert "Commands of plugins:\n  acme.where  Print the home." in wherry("--help").stdout.decode()
    assert "'acme.where'" in wherry("acme.were", code=2).stderr.decode()


def test_the_process_that_has_no_observers_loads_none(tmp_path, environ):
    (tmp_path / "data").write_bytes(b"x")
    code = (
        "import sys; from wherry_cli.app import run; run(['add', sys.argv[1]]);"
        "print([name for name in sys.modules if 'prometheus' in name or 'observing' in name or name == 'wherry_observe.log'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, env=environ, check=True)
    assert done.stdout.decode().splitlines()[-1] == "[]"
