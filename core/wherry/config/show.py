"""Writes a configuration: as TOML that is read back as the same, or as JSON. Never a secret (specs/0007 §6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from wherry.config.loader import PEERS, use_option
from wherry.config.model import KINDS, SECTIONS, SELECTIONS
from wherry.config.values import quote, to_toml
from wherry.plugin.options import options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.config.model import Config, Instance
    from wherry.plugin.options import Option

_BARE: Final = r"[A-Za-z0-9_-]+"


def show(config: Config, *, origin: bool) -> str:
    """Writes TOML; with ``origin``, a comment behind each value."""
    blocks = ["\n".join(_block(config, header, list(lines), origin=origin)) for header, lines in _tables(config)]
    return "\n\n".join(blocks) + "\n"


def to_json(config: Config) -> dict[str, object]:
    """Gives values and origins by dotted key."""
    values: dict[str, object] = {}
    for kind, selection in SELECTIONS.items():
        values[f"{kind}.use"] = list(config.use[kind]) if selection.many else config.use[kind][0]
    for where, _, options in _objects(config):
        values |= {
            f"{where}.{option.name}": _json_value(option, getattr(options, option.name)) for option in options_of(type(options))
        }
    for instance in config.instances.values():
        if instance.kind in SELECTIONS:
            values[f"{instance.kind}.{instance.name}.plugin"] = instance.plugin
    values |= {f"{PEERS}.{name}": address for name, address in config.peers.items()}
    return {
        "schema": "wherry/config/1",
        "file": None if config.file is None else str(config.file),
        "profile": config.profile,
        "profiles": list(config.profiles),
        "values": values,
        "origins": {key: config.origin(key) for key in values},
    }


def _json_value(option: Option, value: Any) -> object:
    if option.secret:
        return None if value is None or value == "" else "<secret>"
    if isinstance(value, tuple):
        return [_json_value(option, item) for item in value]
    return str(value) if option.form == "path" and value is not None else value


def _objects(config: Config) -> Iterator[tuple[str, Instance | None, Any]]:
    for instance in config.instances.values():
        if instance.options is not None:
            yield f"{instance.kind}.{instance.name}", instance, instance.options
    for name in SECTIONS:
        yield name, None, getattr(config, name)


def _tables(config: Config) -> Iterator[tuple[str, Iterator[tuple[str, str]]]]:
    """Gives each table's header, and its lines, each with the dotted key that it tells of ("" for a comment)."""
    for kind in KINDS:
        selection = SELECTIONS.get(kind)
        if selection is not None:
            used = config.use[kind] if selection.many else config.use[kind][0]
            yield f"[{kind}]", iter([(f"{kind}.use", f"use = {to_toml(use_option(selection), used)}")])
        for instance in config.instances.values():
            if instance.kind == kind:
                yield f"[{kind}.{_key(instance.name)}]", _instance_lines(instance)
    yield f"[{PEERS}]", ((f"{PEERS}.{name}", f"{_key(name)} = {quote(address)}") for name, address in config.peers.items())
    for name in SECTIONS:
        yield f"[{name}]", _option_lines(name, getattr(config, name), None)


def _instance_lines(instance: Instance) -> Iterator[tuple[str, str]]:
    where = f"{instance.kind}.{instance.name}"
    if instance.plugin != instance.name:
        yield f"{where}.plugin", f"plugin = {quote(instance.plugin)}"
    if instance.options is not None:
        yield from _option_lines(where, instance.options, instance)
    else:  # which of them are secret is known to the plugin alone
        yield from (("", f"# {_key(key)} is set; its plugin was not asked") for key in instance.entries)


def _option_lines(where: str, options: Any, instance: Instance | None) -> Iterator[tuple[str, str]]:
    for option in options_of(type(options)):
        value = getattr(options, option.name)
        file = instance.entries.get(f"{option.name}_file") if instance is not None and option.secret else None
        if option.secret and value and file is not None and not file.is_text:
            yield f"{where}.{option.name}", f"{option.name}_file = {quote(str(file.value))}"
        elif option.secret and value:
            yield f"{where}.{option.name}", f"# {option.name} is set, and secret"
        elif value is None or option.secret:
            yield f"{where}.{option.name}", f"# {option.name} is not set"
        else:
            yield f"{where}.{option.name}", f"{_key(option.name)} = {to_toml(option, value)}"


def _block(config: Config, header: str, lines: list[tuple[str, str]], *, origin: bool) -> Iterator[str]:
    yield header
    for key, line in lines:
        yield f"{line}  # {config.origin(key)}" if origin and key else line


def _key(name: str) -> str:
    return name if re.fullmatch(_BARE, name, re.ASCII) else quote(name)
