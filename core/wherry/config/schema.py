"""The JSON Schema of wherry.toml, for editors, with the sections of every installed plugin (specs/0007 §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.config.loader import PEERS, use_option
from wherry.config.model import KINDS, PROFILE, SECTIONS, SELECTIONS
from wherry.config.sources import NAME
from wherry.limits import ADDRESS_CHARS_MAX, TICKET_ADDRESSES_MAX
from wherry.plugin.options import options_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.plugin.manager import Manager
    from wherry.plugin.options import Option

_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "size": {"type": ["integer", "string"], "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtTpP]?([iI]?[bB])?)\s*$"},
    "duration": {"type": ["number", "string"], "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|min|h|d)?\s*$"},
    "rate": {
        "type": ["number", "string"],
        "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*[kKmMgGtT]?([iI]?[bB]([iI][tT])?)?(/s)?\s*$",
    },
    "path": {"type": "string", "minLength": 1},
}


def json_schema(manager: Manager) -> dict[str, Any]:
    """Describes the file as JSON Schema (2020-12). Loads every plugin."""
    properties: dict[str, Any] = {kind: _kind(manager, kind) for kind in KINDS}
    properties[PEERS] = {
        "type": "object",
        "description": "addresses by name",
        "maxProperties": TICKET_ADDRESSES_MAX,
        "additionalProperties": {"type": "string", "maxLength": ADDRESS_CHARS_MAX},
    }
    properties |= {name: _object(options_of(cls)) for name, cls in SECTIONS.items()}
    in_profile = {name: {"$ref": f"#/properties/{name}"} for name in properties}
    properties[PROFILE] = {
        "type": "object",
        "description": "by name, settings that go before the others where the profile is chosen",
        "propertyNames": {"pattern": f"^{NAME}$"},
        "additionalProperties": {"type": "object", "additionalProperties": False, "properties": in_profile},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wherry.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _kind(manager: Manager, kind: str) -> dict[str, Any]:
    """Describes ``[KIND]``: ``use`` if it is chosen so, and tables, each of the form of the plugin that it names."""
    tables: dict[str, Any] = {}
    for line in manager.listing():
        if line.kind == kind and line.status == "ok":
            tables[line.name] = _object(line.options) | {"description": line.summary}
            if kind in SELECTIONS:
                tables[line.name]["properties"]["plugin"] = {"const": line.name}
    if kind not in SELECTIONS:
        return {"type": "object", "properties": tables, "additionalProperties": False}
    named = [
        {
            "if": {"properties": {"plugin": {"const": name}}},
            "then": {"properties": table["properties"], "additionalProperties": False},
        }
        for name, table in tables.items()
    ]
    other: dict[str, Any] = {"type": "object", "required": ["plugin"], "properties": {"plugin": {"enum": list(tables)}}}
    return {
        "type": "object",
        "properties": {"use": _property(use_option(SELECTIONS[kind]))} | tables,
        "additionalProperties": other | ({"allOf": named} if named else {}),
    }


def _object(options: Iterable[Option]) -> dict[str, Any]:
    properties = {}
    for option in options:
        if option.secret:
            path = {"type": "string", "description": f"path of a file that holds: {option.help}"}
            properties[f"{option.name}_file"] = path
        else:
            properties[option.name] = _property(option)
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(option: Option) -> dict[str, Any]:
    one = dict(_TYPES[option.form])
    if option.choices:
        one["enum"] = list(option.choices)
    if option.minimum is not None:
        one["minimum"] = option.minimum
    if option.maximum is not None:
        one["maximum"] = option.maximum
    schema: dict[str, Any] = {"type": "array", "items": one} if option.many else one
    schema["description"] = option.help
    if option.default is not None:
        default = option.default
        schema["default"] = list(default) if isinstance(default, tuple) else _default(option)
    return schema


def _default(option: Option) -> object:
    return option.default if option.form in ("integer", "number", "boolean") else option.text(option.default)
