"""Where a run ends: every error becomes words on standard error and an exit code here."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Final

from wherry.errors import LocalError, WherryError
from wherry_cli.render import error_json, safe, silence_stdout, to_json

if TYPE_CHECKING:
    from wherry_cli.invocation import Invocation

PIPE_CLOSED: Final = 141  # the shell's code for a process that SIGPIPE ended


def ended(run_of: Invocation, problem: BaseException) -> int:
    """Says what a run ended with, and gives its exit code. Raises nothing but SystemExit."""
    if isinstance(problem, RuntimeError) and isinstance(problem.__cause__, KeyboardInterrupt):
        problem = problem.__cause__  # Python 3.11 wraps what is raised while a class is being made, as in an import
    if isinstance(problem, BrokenPipeError):
        silence_stdout()
        return PIPE_CLOSED
    if isinstance(problem, WherryError):
        _explain(run_of, problem)
        return problem.exit_code
    encoding = sys.getfilesystemencoding()
    if isinstance(problem, UnicodeEncodeError) and encoding != "utf-8":  # a path that a run in UTF-8 wrote down, most of all
        said = f"{problem.object!a} is no file name here, where their encoding is {encoding}"
        local = LocalError(said, hint="set LANG=C.UTF-8, or PYTHONUTF8=1, and run the same command again")
        local.__cause__ = problem
        return ended(run_of, local)
    return _ended_otherwise(run_of, problem)


def _explain(run_of: Invocation, problem: BaseException) -> None:
    if run_of.verbose >= 2:
        run_of.out().say("\n".join(safe(line) for line in "".join(traceback.format_exception(problem)).split("\n")))
    if isinstance(problem, WherryError):
        run_of.out().error(problem)


def stopped(run_of: Invocation, code: int) -> str:
    """Gives the line of a run that a signal ends."""
    words = f"stopped; {run_of.kept}" if run_of.kept else "stopped"
    if run_of.json:
        return to_json({**error_json(WherryError(words)), "error": "Interrupted", "exit_code": code})
    return f"wherry: {words}"


def _ended_otherwise(run_of: Invocation, problem: BaseException) -> int:
    """Ends on what no verb raises on purpose: signals, and faults in wherry itself."""
    if isinstance(problem, SystemExit):
        raise problem
    code = 130 if isinstance(problem, KeyboardInterrupt) else getattr(problem, "exit_code", None)
    from wherry_cli.signals import Interrupted

    if isinstance(problem, (KeyboardInterrupt, Interrupted)):
        code = code if isinstance(code, int) else 130
        run_of.out().say(stopped(run_of, code))
        return code
    _explain(run_of, problem)
    first = str(problem).split("\n", 1)[0]
    words = f"{type(problem).__name__}: {first}" if first else type(problem).__name__
    hint = None if run_of.verbose >= 2 else "this is a fault in wherry; run with -v -v for the traceback"
    run_of.out().error(WherryError(f"unexpected {words}", hint=hint))
    return 1
