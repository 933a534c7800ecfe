"""Names from strangers on a terminal, JSON, and progress in its forms."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.observe import Note, Progress
from wherry_cli.progress import BarWatcher, JsonWatcher, LineWatcher, Rate, Watcher, describe, make_watcher
from wherry_cli.render import Out, many, safe, safe_lines, to_json, wants_color

BIDI = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.txt", "plain.txt"),
        ("Größe 日本語 🚢", "Größe 日本語 🚢"),
        ("a\u200db", "a\u200db"),  # joins letters in some scripts and emoji; moves nothing
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b31m", "\\x9b31m"),
        ("\x7f", "\\x7f"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_safe(name, shown):
    assert safe(name) == shown


@given(st.text(alphabet=st.characters(codec=None)))
def test_safe_text_is_one_line_that_any_terminal_can_show(text):
    shown = safe(text)
    assert not set(shown) & set(BIDI)
    assert not [char for char in shown if ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000]
    assert safe(shown) == shown
    assert len(shown.splitlines()) <= 1


def test_lines_keep_their_ends_and_nothing_else():
    assert safe_lines("a\nb\x07\n") == "a\nb\\x07\n"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_json_is_printable_ascii_and_reads_back(value):
    text = to_json(value)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("mode", "terminal", "environ", "colored"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_when_to_colour(mode, terminal, environ, colored):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    assert wants_color(mode, stream, environ) is colored


# Progress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def out(*, quiet=False):
    return Out(as_json=False, quiet=quiet, color="never", environ={})


def event(done, total=None, **more):
    return Progress(verb="get", phase=more.pop("phase", "fetch"), bytes_done=done, bytes_total=total, **more)


def fed(rate, clock, *samples, phase="fetch"):
    for seconds, done in samples:
        clock.now = 100.0 + seconds
        rate.take(event(done, 1000, phase=phase, wire_bytes=done))
    return rate


def test_the_rate_leaves_out_what_was_there_before():
    clock = Clock()
    rate = Rate(clock)
    for seconds, done, came in ((0, 0, 0), (1, 900, 0), (2, 950, 50)):  # 900 are found at once
        clock.now = 100.0 + seconds
        rate.take(event(done, 1000, wire_bytes=came))
    assert rate.bytes_a_second() == 25.0
    assert rate.seconds_left(event(950, 1000)) == 2.0


def test_the_rate_is_that_of_the_last_seconds():
    clock = Clock()
    rate = fed(
        Rate(clock), clock, *[(second, second * 100) for second in range(50)], *[(second, 4900) for second in range(50, 70)]
    )
    assert rate.bytes_a_second() == 0.0
    assert rate.seconds_left(event(4900, 5000)) is None


def test_the_rate_leaves_out_what_was_thrown_away():
    clock = Clock()
    rate = Rate(clock)
    for seconds, done, came in ((0, 0, 0), (1, 0, 900), (2, 50, 950)):  # 900 were wrong
        clock.now = 100.0 + seconds
        rate.take(event(done, 100, wire_bytes=came))
    assert rate.bytes_a_second() == 25.0
    assert rate.seconds_left(event(50, 100)) == 2.0


def test_the_time_left_is_steady_where_bytes_come_in_bursts():
    clock, said, done = Clock(), [], 0
    rate = Rate(clock)
    for second in range(120):  # 100 bytes a second for 8 s, then 10 a second for 8 s: 55 a second
        clock.now = 100.0 + second
        done += 100 if second % 16 < 8 else 10
        rate.take(event(done, 20_000, wire_bytes=done))
        if second >= 40:
            said.append(rate.seconds_left(event(done, 20_000)) * 55 / (20_000 - done))
    assert min(said) > 0.75
    assert max(said) < 1.35


def test_another_phase_begins_anew():
    clock = Clock()
    rate = fed(Rate(clock), clock, (0, 0), (1, 500))
    fed(rate, clock, (2, 0), phase="verify")
    assert rate.bytes_a_second() is None


def test_what_is_said():
    clock = Clock()
    rate = fed(Rate(clock), clock, (0, 0), (2, 2 << 20))
    text = describe(event(2 << 20, 4 << 20, files_done=3, files_total=1200, sources_alive=2), rate)
    assert text == "fetching 2.0 MiB of 4.0 MiB (50%), 1.0 MiB/s, 2.0s left, 3 of 1,200 files, 2 sources"
    assert describe(event(5, phase="scan", files_done=7), Rate(clock)) == "scanning 5 B, 7 files"
    assert describe(event(0, 0, phase="hash"), Rate(clock)) == "reading 0 B of 0 B (100%)"


def test_of_one_it_is_not_said_as_of_many():
    assert [many(1, "file"), many(0, "file"), many(1200, "file")] == ["1 file", "0 files", "1,200 files"]
    assert [many(1, "leaf", "leaves"), many(2, "leaf", "leaves")] == ["1 leaf", "2 leaves"]
    text = describe(event(5, files_done=1, sources_alive=1), Rate(Clock()))
    assert text == "fetching 5 B, 1 file, 1 source"


def test_lines_come_every_few_seconds(capsys):
    clock = Clock()
    watcher = LineWatcher(out(), clock)
    for tenth in range(120):
        clock.now = 100.0 + tenth / 10
        watcher(event(tenth, 120))
    watcher.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(",")[0] for line in captured.err.splitlines()] == [
        "get: fetching 50 B of 120 B (41%)",
        "get: fetching 100 B of 120 B (83%)",
    ]


def test_json_progress_is_one_object_a_line(capsys):
    clock = Clock()
    watcher = JsonWatcher(out(), clock)
    watcher(event(0, 100, wire_bytes=7, sources_alive=1))
    clock.now += 2
    watcher(event(50, 100, wire_bytes=57))
    watcher(Note("warning", "source \x1b lost"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["schema"] for line in lines} == {"wherry/progress/1"}
    assert (
        lines[0] | {"bytes_done": 0, "bytes_total": 100, "phase": "fetch", "wire_bytes": 7, "bytes_per_second": None}
        == lines[0]
    )
    assert (lines[1]["bytes_per_second"], lines[1]["seconds_left"]) == (25.0, 2.0)
    assert lines[2] == {"schema": "wherry/progress/1", "event": "note", "level": "warning", "text": "source \x1b lost"}


def test_notes_are_shown_safely_and_remembered(capsys):
    watcher = LineWatcher(out())
    watcher(Note("warning", "lost \x1b[2J"))
    watcher(Note("info", "found"))
    assert capsys.readouterr().err == "warning: lost \\x1b[2J\nfound\n"
    assert watcher.said("found")
    assert not watcher.said("other")


def test_quiet_says_nothing(capsys):
    watcher = make_watcher("none", out(quiet=True), color="auto", environ={})
    watcher(Note("warning", "lost"))
    watcher(event(1, 2))
    watcher.close()
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_the_words_and_a_note_above_it(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    watcher = make_watcher("auto", out(), color="auto", environ={"TERM": "xterm"})
    assert isinstance(watcher, BarWatcher)
    watcher(event(1 << 20, 2 << 20, sources_alive=1))
    watcher(Note("warning", "lost [bold]x[/bold] \x1b[2J"))
    watcher.close()
    text = terminal.getvalue()
    assert "fetching 1.0 MiB of 2.0 MiB (50%)" in text
    assert "warning: lost [bold]x[/bold] \\x1b[2J" in text


def test_a_bar_that_met_no_event_leaves_the_terminal_alone(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    make_watcher("auto", out(), color="auto", environ={"TERM": "xterm"}).close()
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("mode", "environ", "terminal", "kind"),
    [
        ("auto", {"TERM": "xterm"}, False, LineWatcher),
        ("auto", {"TERM": "dumb"}, True, LineWatcher),
        ("plain", {"TERM": "xterm"}, True, LineWatcher),
        ("json", {"TERM": "xterm"}, True, JsonWatcher),
        ("none", {"TERM": "xterm"}, True, Watcher),
        ("auto", {"TERM": "xterm"}, True, BarWatcher),
    ],
)
def test_which_watcher(monkeypatch, mode, environ, terminal, kind):
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    assert type(make_watcher(mode, out(), color="auto", environ=environ)) is kind
