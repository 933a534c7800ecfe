"""What people and programs read: results on standard output, everything else on standard error.

Names of files, peers and errors come from strangers. `safe` is the one place that makes them harmless to a terminal;
JSON is written in ASCII, which is harmless by itself.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Final, Literal

from wherry.errors import WherryError, output_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from wherry.observe import Observe

Color = Literal["auto", "always", "never"]
Style = Literal["bold", "red", "green", "yellow", "dim"]

_CODES: Final = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}
# Control characters, marks of direction, invisible format characters and tags, line separators, lone surrogates.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def safe(text: str) -> str:
    """Gives ``text`` as one line that moves no cursor, colours nothing and keeps its direction."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def safe_lines(text: str) -> str:
    """The same for text of several lines, whose line ends stay."""
    return "\n".join(safe(line) for line in text.split("\n"))


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def to_json(value: object) -> str:
    """Writes one JSON value on one line, in printable ASCII alone."""
    return json.dumps(value, separators=(", ", ": ")).replace("\x7f", "\\u007f")


def many(count: int, what: str, plural: str = "") -> str:
    """Says how many of something there are: ``1 block``, ``1,200 blocks``; ``plural``, where it is not that with an s."""
    return f"{count:,} {what if count == 1 else plural or what + 's'}"


def error_json(problem: WherryError) -> dict[str, object]:
    """The JSON form of an error (schema ``wherry/error/1``)."""
    return {
        "schema": "wherry/error/1",
        "error": type(problem).__name__,
        "message": problem.message,
        "hint": problem.hint,
        "exit_code": problem.exit_code,
    }


def wants_color(mode: Color, stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Tells whether to colour what goes to ``stream``; NO_COLOR (https://no-color.org) counts when nothing is said."""
    if mode != "auto":
        return mode == "always"
    return is_terminal(stream) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO | None) -> bool:
    """Tells whether ``stream`` is an open terminal."""
    return stream is not None and not stream.closed and stream.isatty()


class Out:
    """Standard output and standard error of one run. Texts given to it are made safe by the caller, but for errors."""

    def __init__(self, *, as_json: bool, quiet: bool, color: Color, environ: Mapping[str, str]) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out_color = wants_color(color, sys.stdout, environ)
        self._err_color = wants_color(color, sys.stderr, environ)

    def write(self, text: str) -> None:
        """Writes ``text`` to standard output as it is. Raises BrokenPipeError, or LocalError if it cannot be written."""
        check_stdout()
        try:
            sys.stdout.write(text)
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise output_error(problem) from problem

    def line(self, text: str) -> None:
        """Writes one line of a result."""
        self.write(text + "\n")

    def flush(self) -> None:
        """Sends what was written on its way: whoever waits for a line gets it now."""
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise output_error(problem) from problem

    def result(self, value: Mapping[str, object]) -> None:
        """Writes the one JSON object of a run."""
        self.line(to_json(value))
        self.flush()

    def note(self, text: str) -> None:
        """Says something that a person may want to know, on standard error; silent with --quiet."""
        if not self.quiet:
            self.say(text)

    def warning(self, text: str) -> None:
        """Says that something is not as it should be, on standard error; silent with --quiet."""
        if not self.quiet:
            self.say(f"{self.paint_err('warning:', 'yellow')} {text}")

    def error(self, problem: WherryError) -> None:
        """Says what failed, on what, and what to do, on standard error."""
        if self.as_json:
            self.say(to_json(error_json(problem)))
            return
        self.say(f"{self.paint_err('error:', 'red')} {safe_lines(problem.message)}")
        if problem.hint:
            self.say(f"  {self.paint_err('hint:', 'bold')} {safe_lines(problem.hint)}")

    def say(self, text: str) -> None:
        """Writes a line to standard error. A standard error that is gone is no reason to stop."""
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except OSError:
            pass

    def paint(self, text: str, style: Style) -> str:
        """Colours ``text`` for standard output, if it is coloured."""
        return _painted(text, style) if self._out_color else text

    def paint_err(self, text: str, style: Style) -> str:
        """Colours ``text`` for standard error, if it is coloured."""
        return _painted(text, style) if self._err_color else text


def _painted(text: str, style: Style) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def check_stdout() -> None:
    """Raises LocalError if there is no standard output (``>&-``): a result that nobody gets is none."""
    if getattr(sys.stdout, "name", None) == os.devnull:  # as `prepare_streams` makes it
        raise output_error(OSError(errno.EBADF, os.strerror(errno.EBADF)))


def prepare_streams() -> None:
    """Makes the standard streams fit for any text: absent ones go nowhere, and what they cannot encode is escaped.

    Their descriptors are taken, too: a file of ours that got number 2 would be written into by whoever reports a fault there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    if sys.stdout is None:  # the shell's `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's capture may have none
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """Points standard output at nothing, so that the interpreter's last flush does not meet the broken pipe again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # no such stream any more: then there is no flush either
        pass


def warner(out: Out) -> Observe:
    """Makes an observer that says warnings: of a locator that cannot announce this node."""
    from wherry.observe import Note

    def warn(event: object) -> None:
        if isinstance(event, Note) and event.level == "warning":
            out.warning(safe(event.text))

    return warn
