"""What even ``--force`` does not replace (specs/0010 §1): a directory goes with all that is in it, and some are never meant."""

from __future__ import annotations

import os

from wherry.errors import TargetError
from wherry.manifest import DIR


def check_replace(path: str, kind: str) -> None:
    """Looks at what lies at ``path`` (absolute) before content of that ``kind`` replaces it; blocks its thread.

    Raises TargetError for the directory that this process works in, the user's own, or one above these; for the root of a file
    system; and for a directory with anything in it where the content is no directory.
    """
    if not os.path.isdir(path) or os.path.islink(path):
        return
    hint = "choose another -o"
    if _holds(path, os.path.expanduser("~")):
        raise TargetError(f"{path!r} is your home directory, or above it: it is not replaced", hint=hint)
    if _holds(path, os.curdir):
        leave = f"{hint}, or leave it first: it would be moved away below you"
        raise TargetError(f"{path!r} is the directory that you are in, or above it: it is not replaced", hint=leave)
    if os.path.ismount(path):
        raise TargetError(f"{path!r} is the root of a file system: it is not replaced", hint=hint)
    if kind != DIR and os.listdir(path):
        raise TargetError(f"{path!r} is a directory with files in it, and the content is a single file", hint=inside_hint(path))


def inside_hint(path: str) -> str:
    """Says how a file is put into a directory."""
    return f"give -o {os.path.join(path, 'NAME')} to put it there"


def _holds(path: str, place: str) -> bool:
    """Tells whether ``place`` is the directory ``path``, or lies in it."""
    try:
        above, below = os.path.realpath(path), os.path.realpath(place)
    except OSError:  # this process works in a directory that is gone
        return False
    return os.path.commonpath([above, below]) == above
