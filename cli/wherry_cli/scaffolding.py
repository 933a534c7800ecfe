"""Writes a new plugin's package from the modules of `wherry_cli.scaffold`, renamed to the author's own.

What is written works as it is: it builds, installs, passes its tests and moves data. The author changes what it does.
"""

from __future__ import annotations

import os
import re
import string
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from wherry.errors import UsageError, local_error
from wherry.plugin.hookspecs import KINDS
from wherry.plugin.providers import API_VERSION
from wherry.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"([a-z][a-z0-9-]{0,62})\.([a-z][a-z0-9-]{0,62})", re.ASCII)  # specs/0006 §2
_OWN_VENDOR: Final = "wherry"  # a package called wherry_http would be taken for one of ours
_COMMON: Final = {
    "project.toml": "pyproject.toml",  # by other names here, so that no tool takes them for this folder's own
    "README.md": "README.md",
    "LICENSE": "LICENSE",
    "gitignore": ".gitignore",
    "tests.yml": ".github/workflows/tests.yml",
}
_NEEDS: Final = {"cipher": ("pynacl>=1.6.2,<2",)}  # libraries besides wherry, by kind


@dataclass(frozen=True, slots=True)
class NewPlugin:
    """The names that a new plugin goes by. Make one with `parse`."""

    kind: str
    name: str  # of the plugin: acme.fast
    dist: str  # of the distribution and its folder: acme-fast
    package: str  # that is imported: acme_fast

    @classmethod
    def parse(cls, kind: str, name: str) -> NewPlugin:
        """Takes a kind and a name from the command line. Raises UsageError, with the near miss."""
        from difflib import get_close_matches

        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, 1)
            hint = f'did you mean "{near[0]}"?' if near else "kinds: " + ", ".join(KINDS)
            raise UsageError(f"there is no kind of plugin {kind!r}", hint=hint)
        match = _NAME.fullmatch(name)
        if match is None or name.endswith("-") or "-." in name:
            hint = "write VENDOR.NAME, each of lower-case letters, digits and '-', such as acme.fast"
            raise UsageError(f"{name!r} is no name of a plugin", hint=hint)
        if match[1] == _OWN_VENDOR:
            raise UsageError(f"{name!r}: the vendor {_OWN_VENDOR!r} is wherry's own", hint="write your own name before the dot")
        dist = name.replace(".", "-")
        return cls(kind, name, dist, dist.replace("-", "_"))

    def files(self) -> Iterator[tuple[str, str]]:
        """Gives every file of the package: its path, "/"-separated, and its text."""
        root = files("wherry_cli") / "scaffold"
        about = self._renamed((root / self.kind / "about.md").read_text("utf-8"))
        needs = (f"wherry>={__version__},<{int(__version__.partition('.')[0]) + 1}", *_NEEDS.get(self.kind, ()))
        values = {
            "about": about,
            "api": str(API_VERSION),
            "dependencies": ", ".join(f'"{need}"' for need in needs),
            "dist": self.dist,
            "kind": self.kind,
            "name": self.name,
            "package": self.package,
            "title": f"The {self.kind} {self.name}",
        }
        for source, path in _COMMON.items():
            yield path, string.Template((root / "common" / source).read_text("utf-8")).substitute(values)
        yield f"{self.package}/py.typed", ""
        for path, text in _modules(root / self.kind):
            folder = "" if path.startswith("tests/") else f"{self.package}/"
            if path != "tests/__init__.py":  # the author's tests are no package
                yield f"{folder}{path}", self._renamed(text)

    def _renamed(self, text: str) -> str:
        pairs = {
            f"wherry_cli.scaffold.{self.kind}": self.package,
            "vendor.name": self.name,
            "vendor-name": self.dist,
            "vendor_name": self.package,
        }
        return re.sub("|".join(map(re.escape, pairs)), lambda match: pairs[match[0]], text)


def _modules(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _modules(item, f"{above}{item.name}/")
        elif item.name.endswith(".py"):
            yield f"{above}{item.name}", item.read_text("utf-8")


def write(new: NewPlugin, directory: str) -> list[str]:
    """Writes the package as a new folder ``new.dist`` of ``directory``; gives the paths of its files inside it, sorted.

    Raises UsageError if that folder exists, and LocalError and its kinds.
    """
    root = os.path.join(directory, new.dist)
    try:
        os.makedirs(directory, exist_ok=True)
        os.mkdir(root)
        written = []
        for path, text in new.files():
            place = os.path.join(root, *path.split("/"))
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "x", encoding="utf-8") as file:
                file.write(text)
            written.append(path)
    except FileExistsError as problem:
        raise UsageError(f"{root!r} exists already", hint="choose another --dir, or another name") from problem
    except OSError as problem:
        raise local_error(problem, "write", root) from problem
    return sorted(written)
