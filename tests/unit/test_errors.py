"""The error tree is as drawn, each error exits as documented, and the operating system's errors find their type."""

from __future__ import annotations

import errno
import inspect
import os
import re

import pytest

from wherry import errors
from wherry.errors import PeerError, WherryError, in_words, local_error, output_error

CLASSES = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, WherryError)
}  # fmt: skip
DRAWN = re.compile(r"^(?P<lead>[ │├└]*)(?P<name>[A-Z]\w+) *(?P<code>\d+)?(?: |$)", re.MULTILINE)


def drawn_tree():
    """Reads (name, parent, exit code) from the drawing in the module's docstring."""
    path: list[tuple[int, str]] = []
    drawing = inspect.cleandoc(errors.__doc__).split("\n\n")[1]
    for match in DRAWN.finditer(drawing):
        depth = len(match["lead"])
        while path and path[-1][0] >= depth:
            path.pop()
        yield match["name"], path[-1][1] if path else "Exception", int(match["code"]) if match["code"] else None
        path.append((depth, match["name"]))


def test_the_drawing_shows_every_class_under_its_parent():
    drawn = {name: parent for name, parent, _ in drawn_tree()}
    assert drawn == {name: kind.__base__.__name__ for name, kind in CLASSES.items()}


def test_the_drawing_shows_every_exit_code():
    codes = {}
    for name, parent, code in drawn_tree():
        codes[name] = code or codes.get(parent, 1)
    assert codes == {name: kind.exit_code for name, kind in CLASSES.items()}


def test_exit_codes_tell_the_classes_apart():
    codes = [kind.exit_code for kind in WherryError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert all(1 < code < 64 for code in codes)  # 1: anything else; from 64 on, other programs' conventions begin


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_each_says_what_and_what_next(kind):
    assert inspect.getdoc(kind)
    assert kind.retry in ("same", "other", "never")
    problem = kind("it broke", hint="mend it")
    assert (problem.message, problem.hint) == ("it broke", "mend it")
    assert str(problem) == "it broke\n  hint: mend it"
    assert str(kind("it broke")) == "it broke"
    assert kind("it broke").args == ("it broke",)


def test_an_error_of_a_peer_names_it():
    assert PeerError("no answer", peer="http://a:1").peer == "http://a:1"
    assert PeerError("no answer").peer == ""


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.NoSpace), (errno.EDQUOT, errors.NoSpace), (errno.EFBIG, errors.NoSpace),
        (errno.ENOENT, errors.NotFound), (errno.EACCES, errors.Unwritable), (errno.EPERM, errors.Unwritable),
        (errno.EROFS, errors.Unwritable), (errno.EIO, errors.Unwritable), (errno.ENOTDIR, errors.Unwritable),
        (errno.ENAMETOOLONG, errors.Unwritable), (errno.EMFILE, errors.LocalError), (errno.ESTALE, errors.LocalError),
        (errno.EADDRINUSE, errors.LocalError), (errno.EADDRNOTAVAIL, errors.LocalError),
    ],
)  # fmt: skip
def test_errors_of_the_operating_system(number, kind):
    problem = local_error(OSError(number, os.strerror(number)), "writing", "/a/b\n")
    assert type(problem) is kind
    assert problem.message == f"writing '/a/b\\n': {os.strerror(number)}"
    assert (problem.hint is None) == (number == errno.ESTALE)  # of which nobody knows what to do


def test_of_what_is_not_kept_it_is_not_said_to_be():
    full = OSError(errno.ENOSPC, "full")
    assert "what is done is kept" in local_error(full, "writing", "x").hint
    assert "is kept" not in local_error(full, "writing", "x", kept=False).hint
    problem = output_error(full)
    assert (type(problem), problem.message) == (errors.NoSpace, "writing to standard output: full")
    assert "is kept" not in problem.hint
    assert type(output_error(OSError(errno.EIO, "odd"))) is errors.LocalError


def test_an_operating_system_error_without_a_number():
    assert local_error(OSError("odd"), "reading", "x").message == "reading 'x': odd"


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset by peer"),
        (OSError("no number"), "no number"),
        (ValueError("two\n  lines\x1b[31m"), "two lines [31m"),
        (ValueError(), "ValueError"),
        (EOFError("\0\n"), "EOFError"),
        (ValueError("long" * 100), "long" * 50),
    ],
)
def test_errors_of_libraries_are_said_on_one_short_line(problem, said):
    assert in_words(problem) == said
