"""What a get replaced, on its way out: under a hidden name of its own, so that no get takes it for its part (specs/0010 §1).

It is the user's: others may have its files open, or hard links to them, so nothing is ever written into it. What has such a
name is only ever removed, by whoever comes by.
"""

from __future__ import annotations

import os
import re
import secrets
from typing import Final

from wherry.errors import local_error
from wherry.safetree import remove_tree, rename_new

_SUFFIX: Final = ".wherry-removed"  # as of versions that go (specs/0034 §7)


def set_aside(found: str, part: str) -> str:
    """Renames what lies at ``found`` to what is removed beside ``part``; gives that path. Raises OSError."""
    name = _name(part)
    try:
        rename_new(found, name)
    except FileExistsError:  # what an earlier get replaced: it cannot be removed, or another process is just at it
        name = f"{name}-{secrets.token_hex(6)}"
        rename_new(found, name)
    return name


def left_beside(part: str) -> list[str]:
    """Lists what gets replaced and did not remove: they were killed, or could not."""
    folder, name = os.path.split(_name(part))
    form = re.compile(re.escape(name) + r"(-[0-9a-f]{12})?")
    try:
        return [os.path.join(folder, found) for found in sorted(os.listdir(folder)) if form.fullmatch(found)]
    except OSError:  # it is not there yet, or may not be listed
        return []


def remove(paths: list[str]) -> list[str]:
    """Removes what was set aside; gives what could not be removed, in words. Blocks: it may be a large tree."""
    problems = []
    for path in paths:
        try:
            remove_tree(path)
        except OSError as problem:
            at = "" if problem.filename in (None, path) else f" (at {problem.filename!r})"
            problems.append(f"{local_error(problem, 'what was replaced stays at', path).message}{at}")
    return problems


def _name(part: str) -> str:
    return part.removesuffix(".wherry-part") + _SUFFIX
