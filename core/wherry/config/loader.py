"""Puts a configuration together: reads, checks every value, and reports everything that is wrong at once (specs/0007 §5)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from wherry.address import ADDRESS, without_user
from wherry.config.model import FILE_NAME, KINDS, SECTIONS, SELECTIONS, Config, Instance, Selection
from wherry.config.problem import ConfigProblems, Problem, near_miss
from wherry.config.sources import SECRET_BYTES_MAX, Tree, is_name, is_variable_of, read_bounded
from wherry.config.values import Entry, Refused, convert
from wherry.errors import PluginError, UsageError
from wherry.limits import ADDRESS_CHARS_MAX, TICKET_ADDRESSES_MAX
from wherry.plugin.options import Option, options_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.plugin.manager import Manager

PEERS: Final = "peers"
GIVEN: Final = "the command line"  # the source of what stands in no file
PROFILE_VARIABLE: Final = "WHERRY_PROFILE"
USES_MAX: Final = 64  # plugins of one kind side by side
_PATH: Final = Option(name="", form="path", many=False, optional=False, default=None, help="")

T = TypeVar("T")

_MORE: Final = "there may be more: `wherry config check` looks at the options of plugins and at all profiles, too"


def load(explicit: Path | None, home: Path, environ: Mapping[str, str], manager: Manager | None = None) -> Config:
    """Reads the configuration: ``explicit``, or the file that WHERRY_CONFIG names, or ``home/wherry.toml`` if there is one.

    WHERRY_PROFILE chooses one of the file's profiles. With a ``manager``, the plugins that are in use or have a table are
    looked up and their options checked; without one, no plugin is imported and `resolve` does it later. Raises
    ConfigProblems, which lists all problems.
    """
    assembly = _Assembly(environ, manager)
    config = assembly.config(_file(explicit, home, environ), home)
    if assembly.problems:
        raise ConfigProblems(assembly.problems, hint=_MORE if manager is None else None)
    return config


def check(explicit: Path | None, home: Path, environ: Mapping[str, str], manager: Manager | None = None) -> list[Problem]:
    """Gives everything that is wrong with the configuration, also with profiles that are not chosen; [] if nothing is."""
    file = _file(explicit, home, environ)
    assembly = _Assembly(environ, manager)
    config = assembly.config(file, home)
    problems = dict.fromkeys(assembly.problems)
    for profile in config.profiles:
        assembly = _Assembly({**environ, PROFILE_VARIABLE: profile}, manager)
        assembly.config(file, home)
        problems.update(dict.fromkeys(assembly.problems))
    return list(problems)


def resolve(
    config: Config,
    kind: str,
    name: str,
    manager: Manager,
    environ: Mapping[str, str],
    *,
    given: Mapping[str, str] | None = None,
) -> tuple[Instance, Any]:
    """Gives an instance and its options, for its provider's ``build``, also where `load` was given no manager.

    A ``name`` that is not configured stands for the plugin of that name with its defaults. ``given`` are options as text,
    which go before the configured ones. Raises ConfigProblems, and PluginError if there is no such plugin.
    """
    instance = config.instances.get((kind, name)) or _by_variables(config, kind, name)
    if instance.options is not None and not given:
        return instance, instance.options
    assembly = _Assembly(environ, manager)
    entries = dict(instance.entries)
    entries.update({key: Entry(value, GIVEN, f"{name}.{key}") for key, value in (given or {}).items()})
    options = assembly.fill(manager.get(kind, instance.plugin).options, f"{kind}.{name}", entries)
    if assembly.problems:
        raise ConfigProblems(assembly.problems)
    return instance, options


def _by_variables(config: Config, kind: str, name: str) -> Instance:
    """Gives an instance that only variables speak of, which cannot write a dot: ``acme_sync`` may be ``acme.sync``."""
    for its_kind, written in config.instances:
        entries = config.instances[its_kind, written].entries
        if its_kind == kind and is_variable_of(written, name) and all(entry.is_text for entry in entries.values()):
            return Instance(kind=kind, name=name, plugin=name, entries=entries)
    return Instance(kind=kind, name=name, plugin=name)


def use_option(selection: Selection) -> Option:
    """Describes the ``use`` of a kind as an option."""
    default = selection.default if selection.many else selection.default[0]
    return Option(name="use", form="text", many=selection.many, optional=False, default=default, help=selection.help)


def _file(explicit: Path | None, home: Path, environ: Mapping[str, str]) -> Path | None:
    """Chooses the one file that is read; it must exist if somebody named it."""
    if explicit is not None:
        return explicit
    if named := environ.get("WHERRY_CONFIG"):
        return Path(named).expanduser()
    usual = home / FILE_NAME
    return usual if os.path.lexists(usual) else None


class _Assembly:
    """One reading of a configuration: gathers problems and origins on the way, and uses the default for what is wrong."""

    def __init__(self, environ: Mapping[str, str], manager: Manager | None) -> None:
        self.problems: list[Problem] = []
        self._origins: dict[str, str] = {}
        self._environ = environ
        self._manager = manager

    def config(self, file: Path | None, home: Path) -> Config:
        """Reads everything."""
        profile = self._environ.get(PROFILE_VARIABLE) or None
        tree = Tree({*SECTIONS, PEERS}, KINDS, profile=profile, spoken=self._spoken)
        tree.problems = self.problems
        if file is not None:
            tree.add_file(file)
        elif profile is not None:
            expected = f"a file that has it, such as {home / FILE_NAME}"
            self.problems.append(
                Problem("environment", PROFILE_VARIABLE, f"there is no profile {profile!r}", expected=expected)
            )
        tree.add_environment(self._environ)
        sections = {name: self.fill(cls, name, tree.sections.get(name, {})) for name, cls in SECTIONS.items()}
        use = {kind: self._use(selection, tree) for kind, selection in SELECTIONS.items()}
        return Config(
            file=file,
            home=home,
            use=MappingProxyType(use),
            instances=MappingProxyType(self._instances(use, tree)),
            peers=MappingProxyType(self._peers(tree.sections.get(PEERS, {}))),
            profile=profile,
            profiles=tree.profiles,
            origins=MappingProxyType(self._origins),
            **sections,
        )

    def _spoken(self, kind: str) -> list[str]:
        """Gives the commands that are installed, if somebody can tell: no `use` names them."""
        return self._manager.names(kind) if self._manager is not None and kind not in SELECTIONS else []

    def fill(self, cls: type[T], where: str, entries: Mapping[str, Entry]) -> T:
        """Makes an options object of ``entries``."""
        options = {option.name: option for option in options_of(cls)}
        values: dict[str, Any] = {}
        for key, entry in entries.items():
            if key in options:
                self._set(values, options[key], entry, where)
            elif (secret := options.get(key.removesuffix("_file"))) is not None and secret.secret:
                self._set_from_file(values, secret, entry, where)
            else:
                known = [f"{name}_file" if option.secret else name for name, option in options.items()]
                near = near_miss(key, known)
                expected = None if near else ", ".join(known) or "no option at all"
                hint = f"it is chosen by `use` in [{key}], and set in [{key}.NAME]" if key in SELECTIONS else None
                self.problems.append(Problem(entry.source, entry.key, "unknown option", near, expected, hint))
        for option in options.values():
            own = (entries.get(option.name), entries.get(f"{option.name}_file") if option.secret else None)
            if option.env and option.env in self._environ and not any(entry is not None and entry.is_text for entry in own):
                self._set(values, option, Entry(self._environ[option.env], "environment", option.env), where)
        try:
            return cls(**values)
        except (ValueError, TypeError) as problem:  # a check across fields, in the class's own __post_init__
            source = next((entry.source for entry in entries.values()), "defaults")
            named = options.get(str(problem).partition(" ")[0])
            if named is not None and named.secret:  # which no file of the configuration has: its variable, or its own file
                source = self._origins.get(f"{where}.{named.name}", source).removeprefix("file ")
            self.problems.append(Problem(source, where, str(problem)))
            return cls()

    def _complain(self, entry: Entry, what: str, near: str | None = None, expected: str | None = None) -> None:
        self.problems.append(Problem(entry.source, entry.key, what, near, expected))

    def _set(self, values: dict[str, Any], option: Option, entry: Entry, where: str) -> None:
        if option.secret and not entry.is_text:
            variable = option.env or re.sub(r"[^A-Z0-9_]", "_", f"WHERRY_{where.replace('.', '__', 1)}__{option.name}".upper())
            hint = f"put it into a file of its own and write {option.name}_file = PATH, or set {variable}"
            self.problems.append(Problem(entry.source, entry.key, "is a secret and must not be written here", hint=hint))
            return
        try:
            values[option.name] = convert(option, entry)
        except Refused as refused:
            choices = [str(choice) for choice in option.choices]
            near = near_miss(entry.value, choices) if choices and isinstance(entry.value, str) else None
            self._complain(entry, str(refused), near, option.expected)
        else:
            self._origins[f"{where}.{option.name}"] = entry.origin

    def _set_from_file(self, values: dict[str, Any], option: Option, entry: Entry, where: str) -> None:
        """Reads the secret that ``<name>_file`` leads to; one given directly goes before it."""
        why = None
        try:
            path = convert(_PATH, entry)
            secret = read_bounded(path, SECRET_BYTES_MAX).decode().rstrip("\r\n")
            if not secret:
                raise Refused("names a file that is empty: it would be as if no secret were asked for")
            value = convert(option, Entry(secret, "environment", str(path)))
        except Refused as refused:
            why = str(refused)
        except UnicodeDecodeError:
            why = "names a file that is not UTF-8"
        except OSError as problem:
            why = f"names a file that cannot be read: {problem.strerror or problem}"
        else:
            values.setdefault(option.name, value)
            self._origins.setdefault(f"{where}.{option.name}", f"{entry.origin}, which names {path}")
        if why is not None:
            self._complain(entry, why, expected="the path of a file that holds the secret")

    def _use(self, selection: Selection, tree: Tree) -> tuple[str, ...]:
        """Reads ``[KIND] use``; complains of anything else in that section."""
        kind, option = selection.kind, use_option(selection)
        chosen = selection.default
        for key, entry in tree.sections.get(kind, {}).items():
            if key != "use":
                near = near_miss(key, ["use"])
                self._complain(entry, "unknown option", near, None if near else f'"use", or a table [{kind}.{key}]')
                continue
            try:
                value = convert(option, entry)
            except Refused as refused:
                self._complain(entry, str(refused), expected=option.expected)
                continue
            names = value if selection.many else (value,)
            if (not names and selection.default) or not all(is_name(name) for name in names):
                self._complain(entry, "names no plugin", expected=option.expected)
            elif len(names) > USES_MAX or len(set(names)) < len(names):
                self._complain(entry, f"names a plugin twice, or more than {USES_MAX}")
            else:
                chosen = names
                self._origins[f"{kind}.use"] = entry.origin
        return chosen

    def _instances(self, use: Mapping[str, tuple[str, ...]], tree: Tree) -> dict[tuple[str, str], Instance]:
        keys = dict.fromkeys((kind, name) for kind, names in use.items() for name in names)
        keys.update(dict.fromkeys(tree.instances))
        for kind in set(KINDS) - set(SELECTIONS):
            for entry in tree.sections.get(kind, {}).values():
                self._complain(entry, "is no table", expected=f'a table [{kind}."vendor.name"]')
        return {(kind, name): self._instance(kind, name, tree) for kind, name in keys}

    def _instance(self, kind: str, name: str, tree: Tree) -> Instance:
        entries = dict(tree.instances.get((kind, name), {}))
        plugin, chosen = name, entries.pop("plugin", None) if kind in SELECTIONS else None
        if chosen is not None:
            if isinstance(chosen.value, str) and chosen.value:
                plugin = chosen.value
                self._origins[f"{kind}.{name}.plugin"] = chosen.origin
            else:
                self._complain(chosen, "is not the name of a plugin", expected="text in quotes")
        options = None
        if self._manager is not None:
            try:
                options_class = self._manager.get(kind, plugin).options
            except PluginError as problem:
                named_in = chosen or next(iter(entries.values()), None) or tree.sections.get(kind, {}).get("use")
                source, key = (named_in.source, named_in.key) if named_in else ("defaults", f"{kind}.use")
                self.problems.append(Problem(source, key, problem.message, hint=problem.hint))
            else:
                options = self.fill(options_class, f"{kind}.{name}", entries)
        return Instance(kind=kind, name=name, plugin=plugin, options=options, entries=MappingProxyType(entries))

    def _peers(self, entries: Mapping[str, Entry]) -> dict[str, str]:
        peers: dict[str, str] = {}
        for name, entry in entries.items():
            address = entry.value
            if not is_name(name):
                self._complain(entry, "is no name", expected="letters, digits, '.', '_' and '-'")
            elif not isinstance(address, str) or len(address) > ADDRESS_CHARS_MAX or not ADDRESS.fullmatch(address):
                expected = f'an address such as "http://host:4290", of at most {ADDRESS_CHARS_MAX} characters'
                self._complain(entry, "is no address", expected=expected)
            elif len(peers) == TICKET_ADDRESSES_MAX:
                self.problems.append(Problem(entry.source, PEERS, f"has more than {TICKET_ADDRESSES_MAX} peers"))
                break
            else:
                try:
                    peers[name] = without_user(address)
                except UsageError as problem:
                    self.problems.append(Problem(entry.source, entry.key, problem.message, hint=problem.hint))
                self._origins[f"{PEERS}.{name}"] = entry.origin
        return peers
