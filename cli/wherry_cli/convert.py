"""Turns the words of a command line into values, without typer's own machinery for it.

From 0.29 on, typer imports pydantic to convert any value, also plain text and values that are absent: 80 ms of start and
12 MB of memory in every process (measured). The types that wherry's options have need none of that. What this module does
not know it leaves to typer. It relies on two public methods of click's: ``process_value``, the step between parsing and
calling, and ``get_help_option``.
"""

from __future__ import annotations

import inspect
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    Convert = Callable[[Any], Any]


def lighten(command: Any) -> None:
    """Makes the parameters of ``command`` convert their values here. (The type of a command is private to typer.)"""
    hints: dict[str, Any] = {}
    if command.callback is not None:
        hints = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    for param in command.params:
        _lighten(param, _converter(hints[param.name]) if param.name in hints else None)
    by_typer = command.get_help_option  # typer makes this option when the line is parsed

    def get_help_option(ctx: Any) -> Any:
        option = by_typer(ctx)
        if option is not None and "process_value" not in vars(option):
            _lighten(option, bool)
        return option

    command.get_help_option = get_help_option


def _lighten(param: Any, convert: Convert | None) -> None:
    by_typer = param.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        absent = value is None or (isinstance(value, (tuple, list)) and not value)
        if absent and not param.required:
            value = None
        elif absent or (convert is None and value is not False):
            return by_typer(ctx, value)
        elif convert is None:  # a flag of typer's own that was not given
            pass
        else:
            value = convert(value)
        return value if param.callback is None else param.callback(ctx, param, value)

    param.process_value = process_value


def _converter(hint: Any) -> Convert | None:
    """Finds the function for a parameter's type; None if typer is to convert it."""
    info: Any = None
    if typing.get_origin(hint) is Annotated:
        hint, info, *_ = typing.get_args(hint)
    kinds = [kind for kind in _members(hint) if kind is not types.NoneType]
    if len(kinds) != 1:
        return None
    kind = kinds[0]
    if getattr(info, "parser", None) is not None:
        parser: Convert = info.parser
        return parser
    if typing.get_origin(kind) is Literal:
        return _one_of(typing.get_args(kind))
    if kind is int:
        return _whole(getattr(info, "min", None), getattr(info, "max", None))
    known: dict[Any, Convert] = {str: str, Path: Path, list[str]: list, bool: bool}
    return known.get(kind)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _whole(least: int | None, most: int | None) -> Convert:
    def convert(value: Any) -> int:
        try:
            found = int(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is no whole number") from None
        if (least is not None and found < least) or (most is not None and found > most):
            bounds = f"at least {least}" if most is None else f"at most {most}" if least is None else f"{least} to {most}"
            raise typer.BadParameter(f"{found} is out of bounds: {bounds}")
        return found

    return convert


def _one_of(choices: tuple[str, ...]) -> Convert:
    def convert(value: str) -> str:
        if value not in choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return convert
