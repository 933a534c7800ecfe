"""How a run is told things, and how it ends: global options, errors, exit codes, closed pipes, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from wherry import errors
from wherry_cli.app import run
from wherry_cli.invocation import Invocation

ENVIRON = {**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONUNBUFFERED": ""}  # buffered, as a user has it
ERROR_CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.WherryError) and kind is not errors.WherryError
]


def opener_that_raises(problem):
    @asynccontextmanager
    async def opener(**options):
        raise problem
        yield

    return opener


def ending(problem, *argv):
    run_of = Invocation(opener=opener_that_raises(problem))
    return run(["stat", "x", *argv], run_of)


# Global options


def seen(*argv):
    """Runs a verb that needs no session, and gives what its run was told."""
    run_of = Invocation(environ={})
    assert run([*argv], run_of) == 0
    return run_of


@pytest.mark.parametrize("argv", [["--home", "/a", "--json", "version"], ["version", "--home", "/a", "--json"]])
def test_global_options_stand_on_either_side(argv, capsys):
    run_of = seen(*argv)
    assert (run_of.home, run_of.json) == (Path("/a"), True)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["--home", "/a"], ["--home", "/b"], {"home": Path("/b")}),
        (["--home", "/a", "--home", "/c"], [], {"home": Path("/c")}),
        (["--config", "/a"], [], {"config": Path("/a"), "home": None}),
        (["--color", "always"], ["--color", "never"], {"color": "never"}),
        (["--progress", "json"], [], {"progress": "json"}),
        (["-v"], ["-v"], {"verbose": 2}),
        (["-vv"], [], {"verbose": 2}),
        ([], [], {"verbose": 0, "quiet": False, "json": False, "color": "auto", "progress": "auto", "home": None}),
        (["-q"], [], {"quiet": True}),
    ],
)
def test_the_later_of_two_wins_and_verbose_adds_up(before, after, expected, capsys):
    run_of = seen(*before, "version", *after)
    assert {name: getattr(run_of, name) for name in expected} == expected


def test_global_options_stand_after_each_part_of_a_nested_verb(capsys):
    run_of = seen("-v", "plugins", "-v", "list", "-v", "--home", "/a")
    assert (run_of.verbose, run_of.home) == (3, Path("/a"))


def test_two_runs_share_nothing(capsys):
    assert seen("version", "--json", "-v").verbose == 1
    second = seen("version")
    assert (second.json, second.verbose) == (False, 0)


# Errors


@pytest.mark.parametrize("kind", ERROR_CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_gives_its_code_message_and_hint(kind, capsys):
    assert ending(kind("it broke", hint="mend it")) == kind.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: it broke\n  hint: mend it\n"


def test_an_error_as_json(capsys):
    assert ending(errors.IntegrityError("it lies", hint="ask another"), "--json") == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err) == {
        "schema": "wherry/error/1",
        "error": "IntegrityError",
        "message": "it lies",
        "hint": "ask another",
        "exit_code": 5,
    }


def test_names_inside_errors_move_no_cursor(capsys):
    ending(errors.NotFound("no file \x1b[2J\u202egnp.exe\nsecond line", hint="look \x07"))
    text = capsys.readouterr().err
    assert text == "error: no file \\x1b[2J\\u202egnp.exe\nsecond line\n  hint: look \\x07\n"


def test_a_fault_of_ours_is_one_line_and_code_1(capsys):
    assert ending(ZeroDivisionError("division\nby zero")) == 1
    text = capsys.readouterr().err
    assert text.splitlines()[0] == "error: unexpected ZeroDivisionError: division"
    assert "-v -v" in text
    assert "Traceback" not in text


def test_a_fault_of_ours_shows_its_traceback_when_asked(capsys):
    assert ending(ZeroDivisionError("division"), "-vv") == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "in opener" in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nosuch"], "nosuch"),
        (["get"], "CID[/PATH]|NAME|TICKET|TORRENT"),
        (["stat", "x", "--nosuch"], "--nosuch"),
        (["get", "x", "--wait", "soon"], "soon"),
        (["stat", "x", "--color", "pink"], "pink"),
        (["add", "x", "--meta", "novalue"], "KEY=TEXT"),
    ],
)
def test_usage_errors(argv, words, capsys):
    assert run(argv, Invocation()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert "hint: " in captured.err
    assert run([*argv, "--json"], Invocation()) == 2
    found = json.loads(capsys.readouterr().err)
    assert (found["schema"], found["error"], found["exit_code"]) == ("wherry/error/1", "UsageError", 2)


def test_a_verb_that_is_nearly_right_is_named(capsys):
    run(["serv"], Invocation())
    assert "serve" in capsys.readouterr().err


def test_colour_is_for_terminals_or_when_asked(capsys):
    ending(errors.NotFound("x"))
    assert "\x1b" not in capsys.readouterr().err
    ending(errors.NotFound("x"), "--color", "always")
    assert "\x1b[31merror:\x1b[0m x" in capsys.readouterr().err


# Whole processes


@pytest.fixture
def start():
    """Runs code with `go(*argv)`, a command line whose session is ``fake`` in it, in a process of its own."""
    started = []

    def starter(code, *, stdout=subprocess.PIPE):
        started.append(start_process(code, stdout))
        return started[-1]

    yield starter
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def start_process(code, stdout):
    preamble = """
        import asyncio, os, signal, sys
        from contextlib import asynccontextmanager
        from wherry.results import LsEntry
        from wherry_cli.app import run
        from wherry_cli.invocation import Invocation
        def go(*argv):
            @asynccontextmanager
            async def opener(**options):
                yield fake
            sys.exit(run(argv, Invocation(opener=opener)))
    """
    source = textwrap.dedent(preamble) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=ENVIRON,
    )


SLEEPER = """
    class fake:
        async def stat(self, what, *, sources, observe=None):
            print("started", flush=True)
            try:
                await asyncio.sleep(60)
            finally:
                print("cleaned", flush=True)
    fake = fake()
    go("stat", "x")
"""


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_ends_the_verb_cleanly(start, signum, code):
    process = start(SLEEPER)
    assert process.stdout.readline() == b"started\n"
    process.send_signal(signum)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, b"cleaned\n", b"wherry: stopped\n")


def test_the_second_signal_ends_it_at_once(start):
    process = start("""
        class fake:
            async def stat(self, what, *, sources, observe=None):
                print("started", flush=True)
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        print("cleaning for ever", flush=True)
        fake = fake()
        go("stat", "x")
    """)
    assert process.stdout.readline() == b"started\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"cleaning for ever\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_an_interrupted_get_says_that_the_same_command_goes_on(start):
    process = start("""
        class fake:
            async def get(self, what, **options):
                print("started", flush=True)
                await asyncio.sleep(60)
        fake = fake()
        go("get", "x")
    """)
    assert process.stdout.readline() == b"started\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"is kept: the same command goes on" in err


SERVER = """
    class fake:
        @asynccontextmanager
        async def serve(self, paths, *, listen, **options):
            class serving:
                listen = ["http://127.0.0.1:1"]
                async def forever(self): await asyncio.sleep(60)
            try:
                yield serving()
            finally:
                await asyncio.sleep(0.05)
                print("closed", flush=True)
        async def add(self, path, **options):
            print("adding", flush=True)
            await asyncio.sleep(60)
    fake = fake()
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped_ends_well(start, signum):
    process = start(SERVER + '    go("serve")')
    assert process.stdout.readline() == b"http://127.0.0.1:1\n"
    process.send_signal(signum)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"closed\n", b"")


def test_a_share_that_never_got_ready_did_not_end_well(start):
    process = start(SERVER + '    go("share", "x")')
    assert process.stdout.readline() == b"adding\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"closed\n")


LISTER = """
    class fake:
        async def ls(self, what, *, sources, observe=None):
            fields = dict(kind="file", size=1, cid=None, executable=False, mtime=None, target=None, entries=None)
            for _ in range(100000):
                yield LsEntry(name="n" * 100, **fields)
        async def cat(self, what, *, sources, offset, length, observe=None):
            for _ in range(1000):
                yield bytes(100000)
    fake = fake()
"""


@pytest.mark.parametrize("argv", [("ls", "x"), ("ls", "x", "--json"), ("cat", "x")], ids=" ".join)
def test_a_reader_that_goes_away_ends_it_quietly(start, argv):
    process = start(f"{LISTER}    go(*{argv!r})")
    process.stdout.read(1000)
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(timeout=20), err) == (141, b"")


@pytest.mark.parametrize("argv", [("ls", "x"), ("cat", "x")], ids=" ".join)
def test_a_full_disk_behind_standard_output_is_an_error_of_this_machine(start, argv):
    with Path("/dev/full").open("wb") as full:
        process = start(f"{LISTER}    go(*{argv!r})", stdout=full)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert b"writing to standard output: No space left" in err
    assert b"is kept" not in err
    assert b"Traceback" not in err


@pytest.mark.parametrize("argv", [["version"], ["--help"], ["plugins", "list", "--json"]], ids=" ".join)
def test_a_reader_that_was_never_there_ends_it_quietly(argv):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "wherry_cli", *argv],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=ENVIRON,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_piece_that_is_written_in_parts_is_written_whole(monkeypatch, capfd):
    from wherry_cli import pipe

    parts = []

    def write_three(descriptor, piece):
        parts.append(bytes(piece[:3]))
        return len(parts[-1])

    write = pipe._writer()
    monkeypatch.setattr(pipe.os, "write", write_three)
    write(b"abcdefgh")
    monkeypatch.undo()
    assert parts == [b"abc", b"def", b"gh"]


def test_cat_does_not_wait_for_a_reader_that_stands_still(start):
    process = start(f'{LISTER}    go("cat", "x")')
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
