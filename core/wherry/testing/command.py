"""The contract of a command as tests (specs/0006 §12). Subclass, say how to make one, and let pytest run it::

    class TestAcmeSync(CommandContract):
        arguments = ("--dry-run",)  # with which it succeeds in a home that is new and empty

        def make_command(self):
            return AcmeSync()

A command is run in this process, as the command line does it; what it writes to standard output and error is caught.
"""

from __future__ import annotations

import io
import json
import os
import signal
import time
from abc import ABC, abstractmethod
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from wherry.abc.command import Invocation
from wherry.errors import WherryError
from wherry.testing.expect import ContractBroken, expect
from wherry.testing.outcome import leftovers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wherry.abc.command import Command

_SETTLE_S: Final = 2.0
_NONSENSE: Final = "--no-such-option-as-this"


class Outcome(NamedTuple):
    """What came of one run."""

    code: object  # as given, by `run` or by SystemExit
    out: str
    err: str


class CommandContract(ABC):
    """What every command must do."""

    arguments: ClassVar[Sequence[str]] = ()  # with which it succeeds in a home that is new and empty

    @abstractmethod
    def make_command(self) -> Command:
        """Makes a command."""

    def run_in(self, folder: Path, *arguments: str, **changes: Any) -> Outcome:
        """Runs a new command in a new home in ``folder``; ``changes`` are fields of its Invocation."""
        return _run(self.make_command(), arguments, replace(Invocation(home=folder / "home"), **changes))

    def test_it_explains_itself(self, tmp_path: Path) -> None:
        """``--help`` prints something on standard output, and is a success."""
        done = self.run_in(tmp_path, "--help")
        expect(_code(done) == 0, f"--help ends with {done.code!r}, must be 0")
        expect(bool(done.out.strip()), "--help prints nothing on standard output")

    def test_an_unknown_option_is_a_usage_error(self, tmp_path: Path) -> None:
        """It ends with 2 or a UsageError, and prints no result: a slip must not pass for success."""
        try:
            done = self.run_in(tmp_path, _NONSENSE)
        except WherryError as problem:
            expect(problem.exit_code == 2, f"{_NONSENSE} raises {problem!r}, must be a UsageError")
            return
        expect(_code(done) == 2, f"{_NONSENSE} ends with {done.code!r}, must be 2")
        expect(not done.out, f"{_NONSENSE} prints on standard output: {done.out[:100]!r}")

    def test_it_succeeds(self, tmp_path: Path) -> None:
        """It gives the exit code 0; None, True or a word is none."""
        done = self.run_in(tmp_path, *self.arguments)
        expect(type(done.code) is int and done.code == 0, f"it ends with {done.code!r}, must be 0; it says {done.err[-300:]!r}")

    def test_it_may_run_again(self, tmp_path: Path) -> None:
        """Twice by one object, the second time in a home that is no longer new."""
        command, invocation = self.make_command(), Invocation(home=tmp_path / "home")
        codes = [_code(_run(command, self.arguments, invocation)) for _ in range(2)]
        expect(codes[1] == codes[0], f"first it ends with {codes[0]!r}, then with {codes[1]!r}")

    def test_json_is_one_object(self, tmp_path: Path) -> None:
        """With ``json``, standard output has one JSON object with a "schema", and nothing else."""
        done = self.run_in(tmp_path, *self.arguments, json=True)
        try:
            said = json.loads(done.out)
        except ValueError as problem:
            raise ContractBroken(f"with --json it prints no JSON: {done.out[:200]!r}") from problem
        expect(isinstance(said, dict) and isinstance(said.get("schema"), str), "what it prints as JSON has no schema")

    def test_quiet_is_quiet(self, tmp_path: Path) -> None:
        """With ``quiet``, a success says nothing on standard error."""
        done = self.run_in(tmp_path, *self.arguments, quiet=True)
        expect(not done.err, f"with --quiet it says on standard error: {done.err[:200]!r}")

    def test_a_home_that_is_none(self, tmp_path: Path) -> None:
        """Where the home should be there is a file: that ends in a WherryError or an exit code, not in a traceback."""
        (tmp_path / "home").write_text("no home")
        try:
            done = self.run_in(tmp_path, *self.arguments)
        except WherryError:
            return
        except Exception as problem:
            raise ContractBroken(f"with a home that is a file it raises {problem!r}") from problem
        expect(isinstance(_code(done), int), f"with a home that is a file it ends with {done.code!r}")

    def test_it_leaves_the_process_as_it_was(self, tmp_path: Path) -> None:
        """The folder, the environment, the handlers of signals; no thread and no descriptor is left."""
        before, left = _state(), leftovers()
        self.run_in(tmp_path, *self.arguments)
        for what, value in _state().items():
            expect(value == before[what], f"it changed {what}")
        end = time.monotonic() + _SETTLE_S
        while True:
            threads, files = leftovers()
            threads, files = threads - left[0], files - left[1]
            if not threads and not files:
                return
            expect(time.monotonic() < end, f"left behind: threads {threads}, descriptors {files}")
            time.sleep(0.02)


def _run(command: Command, arguments: Sequence[str], invocation: Invocation) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code: object = command.run(arguments, invocation)
        except SystemExit as ended:
            code = ended.code or 0
    return Outcome(code, out.getvalue(), err.getvalue())


def _code(done: Outcome) -> object:
    return 1 if isinstance(done.code, str) else done.code  # as Python itself ends for SystemExit("words")


def _state() -> dict[str, object]:
    return {
        "the current folder": os.getcwd(),
        "the environment": dict(os.environ),
        "the handlers of signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "the umask": _umask(),
    }


def _umask() -> int:
    mask = os.umask(0o077)  # there is no way to look at it alone
    os.umask(mask)
    return mask
