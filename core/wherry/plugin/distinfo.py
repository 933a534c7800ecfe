"""What one installed distribution says of itself, read from its ``.dist-info`` folder (PyPA: core metadata, entry points).

importlib.metadata tells the same for every way of installing, and brings the parsers of e-mail, ZIP and CSV with it: 3 MB and
15 ms of each process that uses a plugin. So wherry's own entry points are read here where that is easy, and there elsewhere.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_INFO: Final = ".dist-info"


class DistInfo(NamedTuple):
    """A distribution: its version, and the entry points of one group."""

    version: str
    entries: list[tuple[str, str]]  # name and value, in the order of the file


def read(name: str, group: str, path: Iterable[str] | None = None) -> DistInfo | None:
    """Reads what is installed as ``name`` (lower case, without punctuation) of the entry points of ``group``.

    ``path`` is `sys.path` by default. None: it is not there, or not in a form that can be told without doubt; ask
    importlib.metadata then. Raises nothing.
    """
    folder = _folder(name, sys.path if path is None else path)
    if folder is None:
        return None
    try:
        with open(os.path.join(folder, "METADATA"), encoding="utf-8") as metadata:
            version = _version(metadata)
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8") as points:
            entries = _entries(points, group)
    except (OSError, ValueError):
        return None
    return DistInfo(version, entries) if version and entries is not None else None


def load(value: str) -> object:
    """Imports what the value of an entry point names, ``module`` or ``module:attribute``. Raises what importing does."""
    module, _, attribute = value.partition(":")
    found: object = import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        found = getattr(found, part)
    return found


def _folder(name: str, path: Iterable[str]) -> str | None:
    """Finds the folder of the first distribution on the path that is named so; None if anything there is unusual."""
    for place in path:
        try:
            names = os.listdir(place or ".")
        except FileNotFoundError:
            continue
        except OSError:  # an archive, perhaps, in which it may be
            return None
        found = [one for one in names if one.lower() == name or one.lower().startswith((f"{name}-", f"{name}."))]
        infos = [one for one in found if one.endswith(_INFO)]
        if any(one.endswith((".egg", ".egg-info", ".egg-link")) for one in found) or len(infos) > 1:
            return None
        if infos:
            return os.path.join(place, infos[0])
    return None


def _version(lines: Iterable[str]) -> str:
    """Finds the version in the head of a METADATA file; "" if there is none."""
    for line in lines:
        key, _, value = line.partition(":")
        if key.lower() == "version":
            return value.strip()
        if not line.strip():
            break
    return ""


def _entries(lines: Iterable[str], group: str) -> list[tuple[str, str]] | None:
    """Reads the entry points of a group; None for a line that is no such."""
    inside, found = False, []
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("["):
            inside = text == f"[{group}]"
        elif inside:
            name, equals, value = text.partition("=")
            if not equals or "[" in value:  # extras of an entry point are importlib.metadata's to read
                return None
            found.append((name.strip(), value.strip()))
    return found
