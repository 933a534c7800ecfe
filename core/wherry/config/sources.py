"""Reads the two sources of settings, the file and the environment, into one tree of entries (specs/0007 §1, §4).

The environment wins over the file, entry by entry. Nothing is checked here but that the tree has the right shape.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, Final

from wherry.config.problem import Problem, near_miss
from wherry.config.values import Entry
from wherry.units import KiB, MiB

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

CONFIG_BYTES_MAX: Final = 1 * MiB  # written by people; bounds everything that is read from it
SECRET_BYTES_MAX: Final = 64 * KiB
PREFIX: Final = "WHERRY_"
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"  # of an instance or a peer


class Tree:
    """What was read: plain sections, and tables of plugin instances by kind and name; with what is wrong with its shape."""

    def __init__(self, sections: Collection[str], kinds: Collection[str]) -> None:
        self.sections: dict[str, dict[str, Entry]] = {}
        self.instances: dict[tuple[str, str], dict[str, Entry]] = {}
        self.problems: list[Problem] = []
        self._known = {*sections, *kinds}
        self._kinds = kinds

    def add_file(self, path: Path) -> None:
        """Reads a file into the tree."""
        source, folder = str(path), path.absolute().parent
        for section, table in read_toml(path, self.problems).items():
            if section not in self._known:
                self._unknown_section(source, section, section)
            elif not isinstance(table, dict):
                self.problems.append(Problem(source, section, "is no table", expected=f"[{section}]"))
            else:
                self._add_table(source, folder, section, table)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Reads the variables that are settings over what is there."""
        for variable in sorted(environ):
            if variable.startswith(PREFIX) and "__" in variable:
                self._add_variable(variable, environ[variable])

    def _add_table(self, source: str, folder: Path, section: str, table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            dotted = f"{section}.{key}"
            if section not in self._kinds or not isinstance(value, dict):
                self.sections.setdefault(section, {})[key] = Entry(value, source, dotted, folder)
            elif not is_name(key):
                self.problems.append(Problem(source, dotted, "is no name", expected="letters, digits, '.', '_' and '-'"))
            else:
                rows = {name: Entry(row, source, f"{dotted}.{name}", folder) for name, row in value.items()}
                self.instances[section, key] = rows

    def _add_variable(self, variable: str, value: str) -> None:
        section, *rest = variable.removeprefix(PREFIX).lower().split("__")
        entry = Entry(value, "environment", variable)
        if section not in self._known:
            self._unknown_section("environment", variable, section)
        elif len(rest) == 1 and rest[0]:
            rows = self.sections.setdefault(section, {})
            rows[_written(rest[0], rows)] = entry
        elif len(rest) == 2 and all(rest) and section in self._kinds:
            name = _written(rest[0], self._names(section))
            self.instances.setdefault((section, name), {})[rest[1]] = entry
        else:
            forms = f"{PREFIX}{section.upper()}__KEY"
            if section in self._kinds:
                forms += f" or {PREFIX}{section.upper()}__NAME__KEY"
            self.problems.append(Problem("environment", variable, "is no setting", expected=forms))

    def _names(self, kind: str) -> list[str]:
        """Gives the instances of a kind that are spoken of anywhere."""
        names = [name for its_kind, name in self.instances if its_kind == kind]
        use = self.sections.get(kind, {}).get("use")
        if use is None:
            return names
        return names + [name for name in (use.value if isinstance(use.value, list) else [use.value]) if isinstance(name, str)]

    def _unknown_section(self, source: str, key: str, section: str) -> None:
        near = near_miss(section, self._known)
        self.problems.append(Problem(source, key, "unknown section", near, None if near else ", ".join(sorted(self._known))))


def is_name(text: str) -> bool:
    """Tells whether an instance or a peer may be called so."""
    return re.fullmatch(NAME, text, re.ASCII) is not None


def _written(name: str, known: Iterable[str]) -> str:
    """Finds the known name that a variable means: it may have signs that a variable can't, as ``my-mirror`` has."""
    return next((one for one in known if re.sub(r"[^a-z0-9]", "_", one.lower()) == name), name)


def read_toml(path: Path, problems: list[Problem]) -> dict[str, Any]:
    """Reads a TOML file; {} and a problem if it cannot be."""
    import tomllib  # costs a fifth of the start; most commands run without a file

    try:
        return tomllib.loads(read_bounded(path, CONFIG_BYTES_MAX).decode())
    except OSError as problem:
        problems.append(Problem(str(path), "", f"cannot be read: {problem.strerror or problem}"))
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        problems.append(Problem(str(path), "", f"is not UTF-8 (at line {line})"))
    except RecursionError:
        problems.append(Problem(str(path), "", "nests too deep"))
    except ValueError as problem:
        problems.append(Problem(str(path), "", f"is not TOML: {problem}"))
    return {}


def read_bounded(path: Path, bytes_max: int) -> bytes:
    """Reads a regular file of at most ``bytes_max``. Raises OSError, also for what is no file or too large."""
    # Without O_NONBLOCK a FIFO of that name would hold the program.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(bytes_max + 1)
    finally:
        os.close(descriptor)
    if len(data) > bytes_max:
        raise OSError(f"larger than {bytes_max} bytes")
    return data
