"""Asks one plugin what it offers, and checks the answer (specs/0006 §1-2).

Each plugin is registered with a pluggy manager of its own: so a misspelt hook is blamed on its author, and nobody's hook
can wrap or replace another's.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import TYPE_CHECKING, Any, Final

import pluggy

from wherry.errors import PluginContractError, PluginError
from wherry.plugin import hookspecs
from wherry.plugin.hookspecs import KINDS, PROJECT
from wherry.plugin.options import options_of
from wherry.plugin.providers import API_VERSION, SUPPORTED_APIS, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.plugin.installed import Found

_UNKNOWN_HOOK: Final = re.compile(r"unknown hook '(\w+)'")
_BUILTIN_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_VENDOR_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}\.[a-z][a-z0-9-]{0,62}", re.ASCII)
_HOOK_PREFIX: Final = "wherry_register_"


def offers(found: Found, *, builtin: bool) -> list[tuple[str, Provider[Any]]]:
    """Loads a plugin's module and gives what it offers, each with its kind.

    Raises PluginContractError for what the author got wrong, and whatever the author's code raises.
    """
    module = found.load()
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=found.name)
        manager.check_pending()
    except pluggy.PluginValidationError as problem:
        raise _explain(str(problem)) from problem
    _check_marks(module, manager)
    offered = [(kind, one) for kind in KINDS for one in _call(manager, kind)]
    for kind, one in offered:
        _check(kind, one, builtin=builtin)
    names = [(kind, one.name) for kind, one in offered]
    for kind, name in names:
        if names.count((kind, name)) > 1:
            raise PluginContractError(f"it offers the {kind} {name!r} twice")
    return offered


def _call(manager: pluggy.PluginManager, kind: str) -> Iterator[Any]:
    hook = KINDS[kind].hook
    for answer in getattr(manager.hook, hook)():
        try:
            yield from answer
        except TypeError as problem:
            raise PluginContractError(f"{hook} must return a list of providers, not {type(answer).__name__}") from problem


def _explain(problem: str) -> PluginContractError:
    unknown = _UNKNOWN_HOOK.search(problem)
    if unknown is None:
        return PluginContractError(" ".join(problem.split()))
    near = difflib.get_close_matches(unknown[1], [kind.hook for kind in KINDS.values()], 1)
    hint = f"did you mean {near[0]}?" if near else "hooks: " + ", ".join(kind.hook for kind in KINDS.values())
    return PluginContractError(f"it implements {unknown[1]}, and there is no such hook", hint=hint)


def _check_marks(module: object, manager: pluggy.PluginManager) -> None:
    marked = {caller.name for caller in manager.get_hookcallers(module) or ()}
    for name in vars(module) if hasattr(module, "__dict__") else ():
        if name.startswith(_HOOK_PREFIX) and name not in marked:
            raise PluginContractError(f"{name} is not marked", hint="put @wherry.plugin.hookimpl above it")
    if not marked:
        raise PluginContractError("it implements no hook", hint="hooks: " + ", ".join(kind.hook for kind in KINDS.values()))


def _check(kind: str, one: object, *, builtin: bool) -> None:
    if not isinstance(one, Provider):
        raise PluginContractError(f"{KINDS[kind].hook} gave {type(one).__name__}, must give wherry.plugin.Provider")
    what = f"{kind} {one.name!r}"
    if one.api not in SUPPORTED_APIS:
        side = "upgrade wherry" if one.api > API_VERSION else "upgrade the plugin"
        raise PluginContractError(f"{what} is made for plugin API {one.api}, this wherry has {API_VERSION}", hint=side)
    if not (_BUILTIN_NAME if builtin else _VENDOR_NAME).fullmatch(one.name):
        form = "lower-case letters, digits and '-'" if builtin else "'vendor.name', such as 'acme.quic'"
        raise PluginContractError(f"{what}: its name must be {form}", hint="names without a vendor are wherry's own")
    if not one.summary or "\n" in one.summary:
        raise PluginContractError(f"{what}: its summary must be one line")
    try:
        options_of(one.options)
        one.options()
    except PluginError:
        raise
    except Exception as problem:
        raise PluginContractError(f"{what}: {problem}") from problem
    if not callable(one.build):
        raise PluginContractError(f"{what}: build must be callable")


def check_options_type(kind: str, one: Provider[Any], options: object) -> None:
    """Raises PluginContractError unless ``options`` are of the provider's own class."""
    if not dataclasses.is_dataclass(options) or type(options) is not one.options:
        raise PluginContractError(f"{kind} {one.name!r} takes {one.options.__name__}, not {type(options).__name__}")
