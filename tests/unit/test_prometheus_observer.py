"""The metrics: what is counted, that its size is bounded, and who may read it."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="needs wherry[prometheus]")

from prometheus_client.parser import text_string_to_metric_families

from wherry.errors import ConfigError, LocalError, NotFound
from wherry.observe import (
    Began,
    CacheUsed,
    Connected,
    Dropped,
    Ended,
    Fetched,
    Note,
    PeerFailed,
    Progress,
    Refused,
    Rejected,
    Served,
)
from wherry.version import __version__
from wherry_observe import endpoint
from wherry_observe.endpoint import parse_listen
from wherry_observe.metrics import METRICS, SERIES_MAX
from wherry_observe.options import PrometheusOptions
from wherry_observe.prometheus import PrometheusObserver

SPEC = Path(__file__).parents[2] / "specs/0019-observers.md"


@pytest.fixture
def observer():
    with closing(PrometheusObserver(PrometheusOptions(listen="127.0.0.1:0"))) as observer:
        yield observer


def samples(text):
    """Reads the exposition as Prometheus does: (name, labels) to value."""
    families = list(text_string_to_metric_families(text))
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def figure(observer, name, **labels):
    return samples(observer.text().decode()).get((name, tuple(sorted(labels.items()))))


def test_what_is_counted(observer):
    fetched = Fetched(scheme="http", blocks=4, bytes=400, wire_bytes=300, seconds=0.5)
    served = Served(scheme="https", blocks=2, bytes=20, wire_bytes=30, seconds=0.25)
    observer.take([
        Began("get"), Connected("http"), fetched, fetched, Rejected(scheme="http", error="IntegrityError", blocks=3),
        PeerFailed(scheme="http", error="PeerTimeout"), CacheUsed(hits=3, misses=1), Note("warning", "gone"), Dropped(9),
        Progress(verb="get", phase="fetch", sources_alive=2), served, Refused("http", "denied"), Began("get"),
    ])  # fmt: skip
    assert figure(observer, "wherry_verbs_running", verb="get") == 2
    assert figure(observer, "wherry_sources_alive") == 2
    observer.take([Ended(verb="get", seconds=2.0, bytes=800), Ended(verb="get", seconds=1.0, error="NoSource")])
    found = {
        "wherry_verbs_total": {("get", "ok"): 1, ("get", "error"): 1}, "wherry_verbs_running": {("get",): 0},
        "wherry_verb_seconds_total": {("get",): 3}, "wherry_verb_bytes_total": {("get",): 800},
        "wherry_errors_total": {("NoSource",): 1}, "wherry_fetched_blocks_total": {("http",): 8},
        "wherry_fetched_bytes_total": {("http",): 800}, "wherry_fetched_wire_bytes_total": {("http",): 600},
        "wherry_fetch_seconds_total": {("http",): 1}, "wherry_rejected_blocks_total": {("http",): 3},
        "wherry_peer_connections_total": {("http",): 1}, "wherry_peer_failures_total": {("http",): 1},
        "wherry_served_blocks_total": {("https",): 2}, "wherry_served_bytes_total": {("https",): 20},
        "wherry_served_wire_bytes_total": {("https",): 30}, "wherry_serve_seconds_total": {("https",): 0.25},
        "wherry_answers_total": {("https", "ok"): 1}, "wherry_refused_requests_total": {("denied",): 1},
        "wherry_cache_hits_total": {(): 3}, "wherry_cache_misses_total": {(): 1}, "wherry_notes_total": {("warning",): 1},
        "wherry_observer_dropped_events_total": {(): 9}, "wherry_sources_alive": {(): 0},
    }  # fmt: skip
    assert set(found) | {"wherry_build_info", "wherry_last_verb_end_timestamp_seconds"} == set(METRICS)
    for name, values in found.items():
        for words, value in values.items():
            assert figure(observer, name, **dict(zip(METRICS[name].labels, words, strict=True))) == value, (name, words)
    assert abs(figure(observer, "wherry_last_verb_end_timestamp_seconds") - time.time()) < 60


def test_the_version_of_this_wherry_is_told(observer):
    assert figure(observer, "wherry_build_info", version=__version__.partition("+")[0]) == 1
    assert __version__[0].isdigit()


def test_every_metric_is_exported_with_its_help_and_kind(observer):
    everything(observer, 1)
    families = {family.name: family for family in text_string_to_metric_families(observer.text().decode())}
    assert set(families) == {name.removesuffix("_total") for name in METRICS}
    for name, metric in METRICS.items():
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert {frozenset(sample.labels) for sample in family.samples} == {frozenset(metric.labels)}


def test_the_specification_lists_exactly_what_is_exported():
    rows = re.findall(r"^\| `(wherry_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", SPEC.read_text(), re.MULTILINE)
    listed = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), help_text.strip()) for name, kind, labels, help_text in rows}
    assert listed == {metric.name: (metric.kind, metric.labels, metric.help) for metric in METRICS.values()}


def test_names_have_their_units():
    for name, metric in METRICS.items():
        assert re.fullmatch(r"wherry_[a-z_]+", name)
        assert name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")


def everything(observer, count, word="{}"):
    for number in range(count):
        name = word.format(number)
        observer.take([
            Began(name), Ended(verb=name, seconds=1, error=name), Ended(verb=name, seconds=1), Connected(name), Note(name, "x"),
            PeerFailed(scheme=name, error=name), Rejected(scheme=name, error=name, blocks=1), Refused(name, name),
            Fetched(scheme=name, blocks=1, bytes=1, wire_bytes=1, seconds=1), Dropped(1), CacheUsed(hits=1, misses=1),
            Served(scheme=name, blocks=1, bytes=1, wire_bytes=1, seconds=1, ok=bool(number % 2)),
        ])  # fmt: skip


@pytest.mark.parametrize("word", ["name{}", "{}", "\ud800{}", 'a"\n{}\\', "x" * 70 + "{}", "ünï{}", "http://host/{}"])
def test_hostile_names_make_no_more_series(observer, word):
    everything(observer, 1000, word)
    found = samples(observer.text().decode())
    assert len(found) < SERIES_MAX
    for _, labels in found:
        for label, value in labels:
            assert re.fullmatch(r"[A-Za-z0-9_.+-]{1,64}", value) or label == "version"
    assert sum(value for (name, _), value in found.items() if name == "wherry_verbs_total") == 2000


def test_words_that_came_first_are_counted_for_ever(observer):
    observer.take([Ended(verb="get", seconds=1)])
    everything(observer, 100, "name{}")
    observer.take([Ended(verb="get", seconds=1)])
    assert figure(observer, "wherry_verbs_total", verb="get", outcome="ok") == 2
    assert figure(observer, "wherry_verbs_total", verb="other", outcome="ok") > 80


def test_counters_do_not_fall(observer):
    observer.take([Dropped(5), Dropped(-3)])
    assert figure(observer, "wherry_observer_dropped_events_total") == 5


# Who may read it


def ask(observer, method="GET", path="/metrics", **headers):
    port = int(observer.address.rpartition(":")[2].partition("/")[0])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())


def test_a_scrape(observer):
    status, body, headers = ask(observer)
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(body.decode()) == samples(observer.text().decode())
    assert ask(observer, "HEAD")[:2] == (200, b"")
    assert ask(observer, path="/metrics?name=x")[0] == 200


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (403, {"Origin": "http://evil.example"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
        (200, {"Sec_Fetch_Site": "none"}),
        (403, {"Host": "evil.example"}),
        (403, {"Host": "evil.example:9290"}),
        (200, {"Host": "localhost:9290"}),
        (200, {"Host": "[::1]:9290"}),
        (404, {"path": "/"}),
        (404, {"path": "/metrics/../x"}),
        (405, {"method": "POST"}),
    ],
)
def test_who_may_ask_what(observer, status, how):
    assert ask(observer, **how)[0] == status


def raw(observer, data):
    port = int(observer.address.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while piece := sock.recv(65_536):
                found += piece
        except ConnectionResetError:
            return found
        return found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics SMTP\r\n\r\n",
        b"x" * 9000,
        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 500,
    ],
)
def test_nonsense_gets_no_metrics(observer, data):
    assert b"wherry_" not in raw(observer, data)
    assert ask(observer)[0] == 200


def test_those_who_say_nothing_hold_up_nobody_for_long(observer, monkeypatch):
    monkeypatch.setattr(endpoint, "_DEADLINE_S", 0.3)
    port = int(observer.address.rpartition(":")[2].partition("/")[0])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        end = time.monotonic() + 20
        while True:
            try:
                if ask(observer)[0] == 200:
                    return
            except (ConnectionError, http.client.HTTPException):
                assert time.monotonic() < end
                time.sleep(0.05)
    finally:
        for sock in silent:
            sock.close()


def test_closing_cuts_short_who_is_being_answered():
    observer = PrometheusObserver(PrometheusOptions(listen="127.0.0.1:0"))
    port = int(observer.address.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n")
        while not [thread for thread in threading.enumerate() if thread.name == "wherry-metrics-answer"]:
            time.sleep(0.005)
        began = time.monotonic()
        observer.close()
        assert time.monotonic() - began < endpoint._DEADLINE_S
        assert sock.recv(10) == b""


def test_an_address_that_is_taken_is_this_machines_fault(observer):
    with pytest.raises(LocalError, match="show the metrics on"):
        PrometheusObserver(PrometheusOptions(listen=observer.address.split("/")[2]))


@pytest.mark.parametrize(
    "text", ["", "9290", "host:", ":9290", "host:99999", "http://host:1", "h ost:1", "::1:9290", "host:1/metrics"]
)
def test_what_is_no_address(text):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_listen(text, allow_public=True)


def test_other_machines_are_let_in_only_on_purpose():
    for text in ("0.0.0.0:0", "[::]:0", "192.0.2.7:9290", "example.org:9290"):
        with pytest.raises(ConfigError, match="whoever does may read"):
            parse_listen(text, allow_public=False)
        assert parse_listen(text, allow_public=True)
    assert parse_listen("[::1]:0", allow_public=False) == ("::1", 0)
    assert parse_listen("localhost:1", allow_public=False) == ("localhost", 1)


# The text file


def test_a_text_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "wherry.prom"
    observer = PrometheusObserver(PrometheusOptions(textfile=path))
    assert observer.address is None
    assert ("wherry_sources_alive", ()) in samples(path.read_text())
    observer.take([Ended(verb="get", seconds=1.0, bytes=7)])
    assert 'verb="get"' not in path.read_text()
    observer.close()
    assert samples(path.read_text())["wherry_verb_bytes_total", (("verb", "get"),)] == 7
    assert [one.name for one in tmp_path.iterdir()] == ["wherry.prom"]


def test_a_text_file_is_written_from_time_to_time(tmp_path, monkeypatch):
    monkeypatch.setattr("wherry_observe.prometheus._EVERY_S", 0.0)
    path = tmp_path / "wherry.prom"
    with closing(PrometheusObserver(PrometheusOptions(textfile=path))) as observer:
        observer.take([Ended(verb="get", seconds=1.0, bytes=7)])
        assert 'wherry_verb_bytes_total{verb="get"} 7' in path.read_text()


def test_a_text_file_that_cannot_be_written(tmp_path):
    with pytest.raises(NotFound, match="write the metrics to"):
        PrometheusObserver(PrometheusOptions(textfile=tmp_path / "none" / "wherry.prom"))


def test_a_text_file_that_cannot_be_written_for_a_while_has_all_afterwards(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("wherry_observe.prometheus._EVERY_S", 0.0)
    path = tmp_path / "metrics" / "wherry.prom"
    path.parent.mkdir()
    with closing(PrometheusObserver(PrometheusOptions(textfile=path))) as observer:
        path.parent.rename(tmp_path / "away")
        for _ in range(3):
            observer.take([Began("get")])
        path.parent.mkdir()
        observer.take([Began("get")])
        assert 'wherry_verbs_running{verb="get"} 4.0' in path.read_text()
    stale, again = [record.message for record in caplog.records]
    assert "metrics are stale" in stale
    assert "written again" in again
