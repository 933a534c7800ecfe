"""The log: one bounded line an event, without secrets, in a file that nobody else may read and that does not grow for ever."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import threading
from contextlib import closing
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import LocalError, NoSpace
from wherry.observe import Began, CacheUsed, Ended, Fetched, Note, PeerFailed, Progress
from wherry.redaction import redacted
from wherry.testing.observer import EVENTS
from wherry_observe.log import LogObserver
from wherry_observe.options import LogOptions
from wherry_observe.outlet import FileOutlet, StreamOutlet
from wherry_observe.words import LINE_BYTES_MAX, line_of


@pytest.fixture
def file(tmp_path):
    return tmp_path / "wherry.log"


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def logged(file, events, **options):
    observer = LogObserver(LogOptions(file=file, **options))
    try:
        observer.take(list(events))
    finally:
        observer.close()
    return lines_of(file)


def test_a_line_has_the_fields_of_the_event(file):
    fetched = Fetched(scheme="http", blocks=4, bytes=4 << 20, wire_bytes=4 << 20, seconds=1 / 3)
    begun, ended, batch, note = logged(
        file,
        [Began("get"), Ended(verb="get", seconds=2.0, bytes=7, error="NoSource"), fetched, Note("warning", "gone")],
        level="debug",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", begun.pop("time"))
    assert begun == {"schema": "wherry/log/1", "level": "info", "event": "began", "verb": "get"}
    assert (ended["event"], ended["level"], ended["error"], ended["bytes"]) == ("ended", "warning", "NoSource", 7)
    assert (batch["event"], batch["level"], batch["scheme"], batch["seconds"]) == ("fetched", "debug", "http", 0.333333)
    assert (note["event"], note["level"], note["text"]) == ("note", "warning", "gone")


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("info", 2), ("warning", 1)]
)  # fmt: skip
def test_levels(file, level, count):
    events = [
        Began("get"),
        CacheUsed(hits=1, misses=1),
        Progress(verb="get", phase="fetch"),
        PeerFailed(scheme="http", error="X"),
    ]
    assert len(logged(file, events, level=level)) == count


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer <secret>"),
        ("authorization: basic dXNlcg==", "authorization: basic <secret>"),
        ("GET /x?token=abc&n=1", "GET /x?token=<secret>&n=1"),
        ("?X-Amz-Signature=abc&X-Amz-Credential=def", "?X-Amz-Signature=<secret>&X-Amz-Credential=<secret>"),
        ('{"password": "abc", "n": 1}', '{"password": "<secret>", "n": 1}'),
        ("access_token = abc;", "access_token = <secret>;"),
        ("WHERRY_TOKEN=abc", "WHERRY_TOKEN=<secret>"),
        ("http://user:abc@host/", "http://<secret>@host/"),
        ("a token is needed; bearer of news", "a token is needed; bearer <secret> news"),
        ("http://10.0.0.7:4290 answers 403", "http://10.0.0.7:4290 answers 403"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text, clean):
    assert redacted(text) == clean


@pytest.mark.parametrize("piece", ["token", "token ", "token=", "Bearer ", "bearer\t\t", "://", "a@", "=\"'", "é", "password:"])
def test_no_text_makes_the_search_slow(piece):
    """Doubling the text must about double the time; going over it again and again would make it four times as long."""
    import time

    def seconds(text):
        best = 9.0
        for _ in range(5):
            began = time.perf_counter()
            redacted(text)
            best = min(best, time.perf_counter() - began)
        return best

    short, long = (seconds(piece * (count // len(piece))) for count in (1024, 8192))
    assert long < 40 * short + 0.001


@given(st.dictionaries(st.sampled_from(["text", "verb", "error", "scheme", "reason", "phase"]), st.text(max_size=6000)))
def test_any_text_makes_one_bounded_line_of_plain_ascii(words):
    line = line_of({"schema": "wherry/log/1", "time": "2026-01-01T00:00:00.000Z", "level": "warning", "event": "note", **words})
    assert len(line) <= LINE_BYTES_MAX
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    found = json.loads(line)
    assert set(found) == {"schema", "time", "level", "event", *words}
    for name, text in words.items():
        assert len(json.dumps(redacted(text))) > 100 or found[name] == redacted(text)


def test_the_longest_words_make_a_whole_line():
    for char in ("\U0001f6a2", "\0", "x", '"'):
        line = line_of(dict.fromkeys(["text", "verb", "error", "scheme", "reason", "phase"], char * 100_000))
        assert LINE_BYTES_MAX / 2 < len(line) <= LINE_BYTES_MAX
        assert json.loads(line)["text"].endswith("…")


def test_the_file_is_for_its_owner_alone(file):
    logged(file, EVENTS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    nested = file.parent / "a/b/wherry.log"
    logged(nested, EVENTS)
    assert stat.S_IMODE(nested.parent.stat().st_mode) == 0o700


def test_a_full_file_is_set_aside(file):
    outlet = FileOutlet(file, 100, keep=2)
    for number in range(20):
        outlet.write([b"%024d\n" % number] * 2)
    outlet.close()
    names = sorted(path.name for path in file.parent.iterdir())
    assert names == ["wherry.log", "wherry.log.1", "wherry.log.2"]
    for name in names:
        path = file.parent / name
        assert path.stat().st_size <= 100
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = b"".join((file.parent / name).read_bytes() for name in reversed(names)).split()
    assert kept == [b"%024d" % (number // 2) for number in range(28, 40)]


def test_a_file_may_be_set_aside_and_kept_nowhere(file):
    outlet = FileOutlet(file, 100, keep=0)
    outlet.write([b"%024d\n" % number for number in range(9)])
    outlet.close()
    assert [path.name for path in file.parent.iterdir()] == ["wherry.log"]
    assert file.read_bytes() == b"%024d\n" % 8


def test_several_may_share_a_file_and_no_line_is_lost_or_torn(file):
    def write(number):
        outlet = FileOutlet(file, 20_000, keep=90)
        for count in range(300):
            outlet.write([b'{"who":%d,"count":%d}\n' % (number, count)])
        outlet.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [line for path in file.parent.iterdir() for line in lines_of(path)]
    assert sorted((line["who"], line["count"]) for line in found) == [(who, count) for who in range(4) for count in range(300)]


def test_a_file_that_was_renamed_is_left_alone(file):
    outlet = FileOutlet(file, 1 << 20, keep=1)
    outlet.write([b"1\n"])
    file.rename(file.with_suffix(".old"))  # as logrotate does
    outlet.write([b"2\n"])
    outlet.close()
    assert (file.read_bytes(), file.with_suffix(".old").read_bytes()) == (b"2\n", b"1\n")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/hostname", path)])
def test_what_is_no_file_is_refused(file, make):
    make(file)
    with pytest.raises(LocalError):
        LogObserver(LogOptions(file=file))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="make the folder of"):
        LogObserver(LogOptions(file=tmp_path / "file" / "wherry.log"))


def test_a_full_disk_is_an_error_of_its_kind():
    with open("/dev/full", "wb") as full, pytest.raises(NoSpace):
        StreamOutlet(full.fileno()).write([b"x\n"])


def test_standard_error_that_is_gone_is_an_error_of_its_kind():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(LocalError):
            StreamOutlet(writing).write([b"x\n"])
    finally:
        os.close(writing)


def test_a_pipe_that_does_not_block_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = [b"x" * 4000 + b"\n"] * 100
    found = []

    def read():
        with open(reading, "rb") as pipe:
            found.append(pipe.read())

    thread = threading.Thread(target=read)
    thread.start()
    StreamOutlet(writing).write(data)
    os.close(writing)
    thread.join()
    assert found == [b"".join(data)]


@pytest.fixture
def full(monkeypatch):
    """A disk that is full while `room` is 0, and has `room` bytes otherwise; None: there is enough."""
    real, disk = os.write, SimpleNamespace(room=None, tries=0)

    def write(fd, data):
        disk.tries += 1
        if disk.room is None:
            return real(fd, data)
        if disk.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(fd, data[: disk.room])
        disk.room -= count
        return count

    monkeypatch.setattr("wherry_observe.outlet.os.write", write)
    return disk


def test_what_a_full_disk_takes_is_counted_and_the_log_goes_on(file, full, monkeypatch, caplog):
    monkeypatch.setattr("wherry_observe.log.AGAIN_S", 0.0)
    with closing(LogObserver(LogOptions(file=file))) as observer:
        observer.take([Began("add")])
        full.room = 120  # a whole line, and a part of the next
        observer.take([Began("get"), Began("cat"), Began("ls")])
        observer.take([Began("verify")])
        full.room = None
        observer.take([Began("share")])
        observer.take([Began("gc")])
    _, _, torn, *_ = text = file.read_text().splitlines()
    with pytest.raises(ValueError, match="Unterminated|Expecting"):
        json.loads(torn)
    found = [json.loads(line) for line in text if line != torn]
    assert [line.get("verb", line.get("events")) for line in found] == ["add", "get", 3, "share", "gc"]
    assert (found[2]["event"], found[2]["level"]) == ("dropped", "warning")
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "No space left" in said[0]
    assert "3 lines are lost" in said[1]


def test_a_disk_that_stays_full_is_tried_each_second_and_at_the_end(file, full, caplog):
    with closing(LogObserver(LogOptions(file=file))) as observer:
        full.room = 0
        for _ in range(50):
            observer.take([Began("get")])
        assert full.tries == 1
        full.room = None
    (line,) = lines_of(file)
    assert (line["event"], line["events"]) == ("dropped", 50)
    assert len(caplog.records) == 2


def test_a_disk_that_is_still_full_at_the_end_is_no_error(file, full):
    with closing(LogObserver(LogOptions(file=file))) as observer:
        full.room = 0
        observer.take([Began("get")])
    assert lines_of(file) == []


def test_a_folder_that_is_away_for_a_while(file, monkeypatch):
    monkeypatch.setattr("wherry_observe.log.AGAIN_S", 0.0)
    folder = file.parent / "logs"
    with closing(LogObserver(LogOptions(file=folder / "wherry.log"))) as observer:
        folder.rename(file.parent / "away")
        observer.take([Began("get")])
        observer.take([Began("get")])
        folder.mkdir()
        observer.take([Began("ls")])
    assert [line.get("verb", line.get("events")) for line in lines_of(folder / "wherry.log")] == [2, "ls"]


def test_who_cannot_set_a_file_aside_keeps_no_lock(file):
    outlet, other = FileOutlet(file, 100, keep=1), FileOutlet(file, 100, keep=1)
    (file.parent / "wherry.log.1").mkdir()
    outlet.write([b"%090d\n" % 1])
    for one in (outlet, other, outlet):
        with pytest.raises(LocalError):
            one.write([b"%090d\n" % 2])
    (file.parent / "wherry.log.1").rmdir()
    other.write([b"%090d\n" % 3])
    assert file.read_bytes() == b"%090d\n" % 3
    outlet.close()
    other.close()
