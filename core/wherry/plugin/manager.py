"""Finds plugins, by kind and name (specs/0006 §1).

A `Manager` is made at wiring and passed down; there is no global one. Built-ins are looked at first; other people's
packages are imported only if the name is not found, or to list them. So a start stays fast, and nobody shadows a built-in.
A package that does not load is kept as broken, with its cause: it never takes wherry down with it.
"""

from __future__ import annotations

import difflib
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, overload

from wherry.errors import PluginBroken, PluginContractError, PluginNotFound, WherryError
from wherry.limits import PLUGIN_BUILD_S, PLUGIN_LOAD_S
from wherry.plugin.bounded import bounded
from wherry.plugin.built import check_built
from wherry.plugin.check import check_options_type, offers
from wherry.plugin.hookspecs import KINDS
from wherry.plugin.installed import OWN_DISTRIBUTION, Found, Installed
from wherry.plugin.options import Option, options_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from wherry.abc.cache import Cache
    from wherry.abc.transport import Transport
    from wherry.env import Env
    from wherry.plugin.providers import Provider

Status = Literal["ok", "broken", "disabled", "clash"]


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin that is installed and does not load."""

    found: Found
    cause: BaseException

    def __str__(self) -> str:
        if isinstance(self.cause, WherryError):
            why = self.cause.message + (f" ({self.cause.hint})" if self.cause.hint else "")
        else:
            why = f"{type(self.cause).__name__}: {self.cause}"
        return f"{self.found.name} (of {self.found.distribution} {self.found.version}): {why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A line of `wherry plugins list`: one provider, or one plugin that is broken or disabled."""

    name: str  # of the provider; of the plugin if it is not loaded
    kind: str  # "" if it is not loaded
    plugin: str
    distribution: str
    version: str
    status: Status
    summary: str = ""
    cause: str = ""  # why it is not "ok"
    options: tuple[Option, ...] = ()
    notice: str = ""  # what its author should change: something that it uses goes away

    def to_json(self) -> dict[str, object]:
        """Gives the line as JSON."""
        names = ("name", "kind", "plugin", "distribution", "version", "status", "summary", "cause", "notice")
        return {name: getattr(self, name) for name in names} | {"options": [one.to_json() for one in self.options]}


@dataclass(slots=True)
class _Loaded:
    """What was imported so far, of one set of entry points."""

    offered: list[tuple[Found, str, Provider[Any]]] = field(default_factory=list)
    broken: list[BrokenPlugin] = field(default_factory=list)
    disabled: list[Found] = field(default_factory=list)
    notices: dict[Found, str] = field(default_factory=dict)


class Manager:
    """Finds providers by kind and name, importing no more than it must. For one thread."""

    def __init__(
        self,
        installed: Installed | None = None,
        *,
        disabled: Collection[str] = (),
        load_s: float = PLUGIN_LOAD_S,
        build_s: float = PLUGIN_BUILD_S,
    ) -> None:
        """``load_s`` and ``build_s`` are how long somebody else's plugin may take to be imported, and to be built."""
        self._load_s = load_s
        self._build_s = build_s
        self._installed = installed or Installed()
        self._disabled = frozenset(disabled)
        self._own: _Loaded | None = None
        self._others: _Loaded | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], installed: Installed | None = None) -> Manager:
        """Makes a manager that leaves out the plugins named in WHERRY_DISABLE_PLUGINS, separated by commas."""
        names = environ.get("WHERRY_DISABLE_PLUGINS", "").split(",")
        return cls(installed, disabled=[name.strip() for name in names if name.strip()])

    @overload
    def get(self, kind: Literal["transport"], name: str) -> Provider[Transport]: ...
    @overload
    def get(self, kind: Literal["cache"], name: str) -> Provider[Cache]: ...
    @overload
    def get(self, kind: str, name: str) -> Provider[Any]: ...

    def get(self, kind: str, name: str) -> Provider[Any]:
        """Finds a provider. Raises PluginNotFound, PluginBroken, or PluginContractError for a name that two claim."""
        return self._claim(kind, name)[1]

    def found(self, kind: str, name: str) -> Found:
        """Tells where a provider comes from. Raises what `get` raises."""
        return self._claim(kind, name)[0]

    def _claim(self, kind: str, name: str) -> tuple[Found, Provider[Any]]:
        if kind not in KINDS:
            raise PluginNotFound(f"there is no kind of plugin {kind!r}", hint="kinds: " + ", ".join(KINDS))
        for loaded in self._in_order():
            claims = [(found, one) for found, its_kind, one in loaded.offered if (its_kind, one.name) == (kind, name)]
            if len(claims) > 1:
                raise PluginContractError(
                    f"the {kind} {name!r} is claimed by {_and(found for found, _ in claims)}",
                    hint="uninstall one, or name it in WHERRY_DISABLE_PLUGINS",
                )
            if claims:
                return claims[0]
        raise self._not_found(kind, name)

    @overload
    def build(self, kind: Literal["transport"], name: str, options: object, env: Env) -> Transport: ...
    @overload
    def build(self, kind: Literal["cache"], name: str, options: object, env: Env) -> Cache: ...
    @overload
    def build(self, kind: str, name: str, options: object, env: Env) -> Any: ...

    def build(self, kind: str, name: str, options: object, env: Env) -> Any:
        """Builds what a provider offers, and checks that it is of its kind.

        Raises what `get` raises, any WherryError of the plugin's own, and PluginBroken ``from`` any other exception.
        """
        found, one = self._claim(kind, name)
        check_options_type(kind, one, options)
        own = found.distribution == OWN_DISTRIBUTION
        what = f"the {kind} {name!r}" if own else f"the {kind} {name!r} (of {found.distribution} {found.version})"
        try:
            built = one.build(options, env) if own else bounded(lambda: one.build(options, env), self._build_s, what)
        except WherryError:
            raise
        except ImportError as problem:
            hint = self._pip_line(name) or "install what it needs; `wherry plugins list` names its package"
            raise PluginBroken(f"{what} needs a library that is not there: {problem}", hint=hint) from problem
        except (Exception, SystemExit) as problem:
            raise PluginBroken(f"{what} cannot be built: {type(problem).__name__}: {problem}") from problem
        module, _, contract = KINDS[kind].contract.partition(":")
        if not isinstance(built, getattr(import_module(module), contract)):
            raise PluginContractError(f"{what} built {type(built).__name__}, which is no {contract}")
        check_built(kind, built, what)
        return built

    def listing(self) -> list[Listed]:
        """Loads every plugin and tells of each provider, and of each plugin that is broken or disabled; sorted."""
        lines: list[Listed] = []
        for loaded in self._in_order():
            keys = [(kind, one.name) for _, kind, one in loaded.offered]
            for found, kind, one in loaded.offered:
                rivals = [f for f, k, o in loaded.offered if (k, o.name) == (kind, one.name)]
                clash = keys.count((kind, one.name)) > 1
                lines.append(
                    _line(
                        found,
                        "clash" if clash else "ok",
                        f"claimed by {_and(rivals)}" if clash else "",
                        name=one.name,
                        kind=kind,
                        summary=one.summary,
                        options=options_of(one.options),
                        notice=loaded.notices.get(found, ""),
                    )
                )
            lines += [_line(broken.found, "broken", str(broken)) for broken in loaded.broken]
            lines += [_line(found, "disabled", "named in WHERRY_DISABLE_PLUGINS") for found in loaded.disabled]
        return sorted(lines, key=lambda line: (line.kind, line.name, line.distribution))

    def names(self, kind: str) -> list[str]:
        """Loads every plugin and gives the names of one kind, sorted."""
        return sorted({one.name for loaded in self._in_order() for _, its, one in loaded.offered if its == kind})

    def own_names(self, kind: str) -> list[str]:
        """Gives the names of one kind that wherry itself brings, sorted; imports nobody else's package."""
        own = next(self._in_order())
        return sorted({one.name for _, its, one in own.offered if its == kind})

    def _in_order(self) -> Iterator[_Loaded]:
        """Gives wherry's own plugins, then, if somebody still asks, everybody else's."""
        if self._own is None:
            self._own = self._load(self._installed.own(), builtin=True)
        yield self._own
        if self._others is None:
            self._others = self._load(self._installed.others(), builtin=False)
        yield self._others

    def _load(self, entries: Sequence[Found], *, builtin: bool) -> _Loaded:
        loaded = _Loaded()
        for found in entries:
            if found.name in self._disabled:
                loaded.disabled.append(found)
                continue
            try:
                offered = offers(found, builtin=True) if builtin else self._foreign(found, loaded)
                loaded.offered += [(found, kind, one) for kind, one in offered]
            except (Exception, SystemExit) as problem:  # noqa: BLE001 - whatever a package does when imported stays its own
                loaded.broken.append(BrokenPlugin(found, problem))
        return loaded

    def _foreign(self, found: Found, loaded: _Loaded) -> list[tuple[str, Provider[Any]]]:
        """Asks somebody else's plugin: in bounded time, with what it prints and what it is warned of kept apart."""
        import warnings

        with redirect_stdout(sys.stderr), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DeprecationWarning)
            offered = bounded(lambda: offers(found, builtin=False), self._load_s, "its import, or its hook,")
        notices = [" ".join(str(one.message).split()) for one in caught if issubclass(one.category, DeprecationWarning)]
        loaded.notices[found] = "; ".join(dict.fromkeys(notices))
        return offered

    def _not_found(self, kind: str, name: str) -> PluginBroken | PluginNotFound:
        parts = {name, *name.split(".")}
        broken = [one for loaded in self._in_order() for one in loaded.broken]
        suspect = next((one for one in broken if one.found.name in parts), None)
        if suspect is not None:
            error = PluginBroken(f"the {kind} {name!r} does not load: {suspect}", hint="`wherry plugins list` shows them all")
            error.__cause__ = suspect.cause
            return error
        names = self.names(kind)
        near = difflib.get_close_matches(name, names, 1)
        hints = [f'did you mean "{near[0]}"?'] if near else []
        hints.append(f"installed: {', '.join(names) or 'none'}")
        if pip_line := self._pip_line(name):
            hints.insert(0, pip_line)
        disabled = (one for loaded in self._in_order() for one in loaded.disabled)
        hints += [f"{one.name} is disabled by WHERRY_DISABLE_PLUGINS" for one in disabled]
        hints += [f"does not load: {one}" for one in broken]
        if not names and not broken and not self._installed.own():
            hints.append(f"{OWN_DISTRIBUTION} itself is not installed here: pip install -e .")
        return PluginNotFound(f"no {kind} {name!r} is installed", hint="; ".join(hints))

    def _pip_line(self, name: str) -> str | None:
        return f"pip install 'wherry[{name}]'" if name in self._installed.extras() else None


def _and(found: Collection[Found] | Iterator[Found]) -> str:
    return " and ".join(f"{one.value} (of {one.distribution})" for one in found)


def _line(
    found: Found,
    status: Status,
    cause: str,
    *,
    name: str = "",
    kind: str = "",
    summary: str = "",
    options: tuple[Option, ...] = (),
    notice: str = "",
) -> Listed:
    return Listed(
        name=name or found.name,
        kind=kind,
        plugin=found.name,
        distribution=found.distribution,
        version=found.version,
        status=status,
        summary=summary,
        cause=cause,
        options=options,
        notice=notice,
    )
