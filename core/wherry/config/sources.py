"""Reads the two sources of settings, the file and the environment, into one tree of entries (specs/0007 §1, §4).

The environment wins over the file, entry by entry. Nothing is checked here but that the tree has the right shape.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, Final

from wherry.config.model import PROFILE
from wherry.config.problem import Problem, near_miss
from wherry.config.values import Entry
from wherry.units import KiB, MiB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

CONFIG_BYTES_MAX: Final = 1 * MiB  # written by people; bounds everything that is read from it
SECRET_BYTES_MAX: Final = 64 * KiB
PREFIX: Final = "WHERRY_"
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"  # of an instance, a peer or a profile
_NAMES: Final = "letters, digits, '.', '_' and '-'"


class Tree:
    """What was read: plain sections, and tables of plugin instances by kind and name; with what is wrong with its shape."""

    def __init__(
        self,
        sections: Collection[str],
        kinds: Collection[str],
        *,
        profile: str | None = None,
        spoken: Callable[[str], Iterable[str]] = lambda kind: (),  # noqa: ARG005 - nobody knows of any
    ) -> None:
        """``profile`` is the one that is chosen; ``spoken`` gives names of instances that a variable may mean, by kind."""
        self.sections: dict[str, dict[str, Entry]] = {}
        self.instances: dict[tuple[str, str], dict[str, Entry]] = {}
        self.problems: list[Problem] = []
        self.profiles: tuple[str, ...] = ()  # that the file has
        self._profile = profile
        self._spoken = spoken
        self._known = {*sections, *kinds}
        self._kinds = kinds

    def add_file(self, path: Path) -> None:
        """Reads a file into the tree."""
        source, folder = str(path), path.absolute().parent
        found = read_toml(path, self.problems)
        profiles = self._profiles(source, found.pop(PROFILE, {}))
        self.profiles = tuple(profiles)
        self._add_sections(source, folder, found)
        if self._profile is None:
            return
        if self._profile in profiles:
            self._add_sections(source, folder, profiles[self._profile], self._profile)
        else:
            self._unknown_profile(source)

    def _profiles(self, source: str, tables: Any) -> dict[str, dict[str, Any]]:
        """Gives the profiles of a file by name, unread."""
        if not isinstance(tables, dict):
            self.problems.append(Problem(source, PROFILE, "is no table", expected=f"tables [{PROFILE}.NAME.SECTION]"))
            return {}
        for name, table in tables.items():
            if not is_name(name):
                self.problems.append(Problem(source, f"{PROFILE}.{name}", "is no name", expected=_NAMES))
            elif not isinstance(table, dict):
                expected = f"tables [{PROFILE}.{name}.SECTION]"
                self.problems.append(Problem(source, f"{PROFILE}.{name}", "is no table", expected=expected))
        return {name: table for name, table in tables.items() if is_name(name) and isinstance(table, dict)}

    def _unknown_profile(self, source: str) -> None:
        near = near_miss(self._profile or "", self.profiles)
        known = ", ".join(self.profiles) or "none: no file has a profile"
        self.problems.append(Problem(source, "", f"there is no profile {self._profile!r}", near, f"one of: {known}"))

    def _add_sections(self, source: str, folder: Path, tables: Mapping[str, Any], profile: str = "") -> None:
        for section, table in tables.items():
            dotted = f"{PROFILE}.{profile}.{section}" if profile else section
            if section not in self._known:
                self._unknown_section(source, dotted, section)
            elif not isinstance(table, dict):
                self.problems.append(Problem(source, dotted, "is no table", expected=f"[{dotted}]"))
            else:
                self._add_table(Entry(None, source, dotted, folder, profile), section, table)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Reads the variables that are settings over what is there."""
        for variable in sorted(environ):
            if variable.startswith(PREFIX) and "__" in variable:
                self._add_variable(variable, environ[variable])

    def _add_table(self, at: Entry, section: str, table: Mapping[str, Any]) -> None:
        """Adds what stands under ``[SECTION]``; ``at`` says where that is."""
        for key, value in table.items():
            entry = at._replace(value=value, key=f"{at.key}.{key}")
            if section not in self._kinds or not isinstance(value, dict):
                self.sections.setdefault(section, {})[key] = entry
            elif not is_name(key):
                self.problems.append(Problem(entry.source, entry.key, "is no name", expected=_NAMES))
            else:
                self._add_instance(entry, section, key, value)

    def _add_instance(self, at: Entry, kind: str, name: str, table: Mapping[str, Any]) -> None:
        """Adds the table of an instance over what is there of it; one that names another plugin takes its place."""
        rows = {}
        for key, value in table.items():
            entry = at._replace(value=value, key=f"{at.key}.{key}")
            if isinstance(value, dict):  # no option is a table: somebody wrote [command.acme.sync]
                header = f'[{at.key.removesuffix(name)}"{name}.{key}"]'
                self.problems.append(
                    Problem(entry.source, entry.key, "is a table", hint=f"a name with a dot is written {header}")
                )
            else:
                rows[key] = entry
        before = self.instances.get((kind, name), {})
        if "plugin" in rows and rows["plugin"].value != (before["plugin"].value if "plugin" in before else name):
            before = {}
        self.instances[kind, name] = {**before, **rows}

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
            name = _written(name, self._spoken(section)) if name == rest[0] else name
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
    return next((one for one in known if is_variable_of(name, one)), name)


def is_variable_of(written: str, name: str) -> bool:
    """Tells whether ``written`` is how a variable writes ``name``."""
    return re.sub(r"[^a-z0-9]", "_", name.lower()) == written


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
