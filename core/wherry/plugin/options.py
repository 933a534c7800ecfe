"""Options as data: the fields of a frozen dataclass, each with its help, default and bounds (specs/0006 §2).

From this one description come the checks of the configuration, its JSON Schema, `wherry plugins info` and the redaction
of secrets. A field is one of str, int, float, bool, Size, Duration, Rate, Path or a Literal of strings; or a tuple of one of
them (``tuple[str, ...]``); or one of them ``| None``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, NewType, TypeVar

from wherry.units import GiB, KiB, MiB

Size = NewType("Size", int)  # bytes; "4 MiB" in the configuration
Duration = NewType("Duration", float)  # seconds; "30s" in the configuration

Rate = NewType("Rate", float)  # bytes a second; "10 MB/s" or "100 Mbit/s" in the configuration

Form = Literal["text", "integer", "number", "boolean", "size", "duration", "rate", "path"]

_FORMS: Final[dict[Any, Form]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    Size: "size",
    Duration: "duration",
    Rate: "rate",
    Path: "path",
}
_EXPECTED: Final[dict[Form, str]] = {
    "text": "text in quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "size": 'a size such as "4 MiB"',
    "duration": 'a duration such as "30s"',
    "rate": 'a rate such as "10 MB/s"',
    "path": "a path in quotes",
}
_NOTES: Final = "wherry.option"
_RATE_UNITS: Final = ((10**9, "GB/s"), (10**6, "MB/s"), (10**3, "kB/s"))
_SIZE_UNITS: Final = ((1024 * GiB, "TiB"), (GiB, "GiB"), (MiB, "MiB"), (KiB, "KiB"))

T = TypeVar("T")


class _Notes(NamedTuple):
    help: str
    secret: bool
    choices: tuple[object, ...]
    env: str | None
    minimum: float | None
    maximum: float | None


def option(
    default: T,
    *,
    help: str,
    secret: bool = False,
    choices: tuple[object, ...] = (),
    env: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> T:
    """Describes one field of an options dataclass; use it as the field's default.

    ``secret``: never written in a configuration file, nor shown; it is given by ``<name>_file`` or by the environment.
    ``env``: a variable that sets it as well, such as ``WHERRY_TOKEN``. ``minimum`` and ``maximum`` are allowed values; for
    a tuple they bound each item, as ``choices`` does.
    """
    notes = _Notes(help=help, secret=secret, choices=tuple(choices), env=env, minimum=minimum, maximum=maximum)
    return dataclasses.field(default=default, repr=not secret, metadata={_NOTES: notes})


class Option(NamedTuple):  # a dataclass takes three times as long to define, and every command pays for it
    """One option, as read from a dataclass by `options_of`."""

    name: str
    form: Form
    many: bool  # a tuple of that form
    optional: bool  # may be None
    default: object
    help: str
    secret: bool = False
    choices: tuple[object, ...] = ()
    env: str | None = None
    minimum: float | None = None
    maximum: float | None = None

    @property
    def expected(self) -> str:
        """Says in a few words what values are taken."""
        one = "one of " + ", ".join(map(self._choice, self.choices)) if self.choices else _EXPECTED[self.form]
        if self.minimum is not None:
            one += f", at least {self._figure(self.minimum)}"
        if self.maximum is not None:
            one += f", at most {self._figure(self.maximum)}"
        return f"a list, each {one}" if self.many else one

    def _choice(self, value: object) -> str:
        """Writes a choice as it is written on a command line: a size in one word."""
        return self._figure(value).replace(" ", "") if self.form == "size" else repr(value)

    def text(self, value: object) -> str:
        """Writes a value as a person would in the configuration, without quotes."""
        if value is None:
            return "not set"
        if self.secret:
            return "<secret>"
        if isinstance(value, tuple):
            return ", ".join(self._figure(item) for item in value) or "none"
        return self._figure(value)

    def to_json(self) -> dict[str, object]:
        """Gives the description as JSON, the default as text."""
        return {
            "name": self.name,
            "type": f"list of {self.form}" if self.many else self.form,
            "default": None if self.default is None else self.text(self.default),
            "help": self.help,
            "secret": self.secret,
            "choices": [str(choice) for choice in self.choices],
            "env": self.env,
        }

    def _figure(self, value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if self.form == "size" and isinstance(value, int | float):
            return exact_size(int(value))
        if self.form == "duration" and isinstance(value, int | float):
            return f"{value:g}s"
        if self.form == "rate" and isinstance(value, int | float):
            return exact_rate(value)
        return str(value)


def exact_size(count: int) -> str:
    """Writes bytes with the largest unit that divides them, so that nothing is rounded: ``10 GiB``, ``1000``."""
    for unit, name in _SIZE_UNITS:
        if count and count % unit == 0:
            return f"{count // unit} {name}"
    return str(count)


def exact_rate(rate: float) -> str:
    """Writes bytes a second with the largest unit that divides them, so that nothing is rounded: ``10 MB/s``, ``1500.0``."""
    for unit, name in _RATE_UNITS:
        if rate and rate % unit == 0:
            return f"{int(rate // unit)} {name}"
    return repr(rate)


def options_of(cls: type[Any]) -> tuple[Option, ...]:
    """Reads the options of a dataclass. Raises TypeError, saying what is wrong with it as a class of options."""
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls!r} is not a dataclass")
    if not vars(cls)["__dataclass_params__"].frozen:
        raise TypeError(f"{cls.__name__} is not frozen: write @dataclass(frozen=True, slots=True, kw_only=True)")
    try:
        hints = typing.get_type_hints(cls)
    except NameError as problem:
        raise TypeError(f"{cls.__name__}: {problem}; import the types of options outside of TYPE_CHECKING") from problem
    return tuple(_read(cls, field, hints[field.name]) for field in dataclasses.fields(cls))


def _read(cls: type[Any], field: dataclasses.Field[Any], hint: Any) -> Option:
    notes = field.metadata.get(_NOTES)
    if not isinstance(notes, _Notes):
        raise TypeError(f"{cls.__name__}.{field.name}: give it a default made by wherry.plugin.option")
    form, many, optional, choices = _shape(f"{cls.__name__}.{field.name}", hint)
    if notes.secret and (form != "text" or many):
        raise TypeError(f"{cls.__name__}.{field.name}: a secret must be a str, or str | None")
    return Option(
        name=field.name,
        form=form,
        many=many,
        optional=optional,
        default=field.default,
        help=notes.help,
        secret=notes.secret,
        choices=notes.choices or choices,
        env=notes.env,
        minimum=notes.minimum,
        maximum=notes.maximum,
    )


def _shape(where: str, hint: Any) -> tuple[Form, bool, bool, tuple[object, ...]]:
    """Takes a type apart into form, many, optional, choices."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        inner = next(argument for argument in arguments if argument is not type(None))
        form, many, optional, choices = _shape(where, inner)
        if not optional:
            return form, many, True, choices
    elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        form, many, optional, choices = _shape(where, arguments[0])
        if not many and not optional:
            return form, True, False, choices
    elif origin is Literal and all(isinstance(argument, str) for argument in arguments):
        return "text", False, False, arguments
    elif hint in _FORMS:
        return _FORMS[hint], False, False, ()
    raise TypeError(f"{where}: {hint!r} is no type of an option; specs/0006 §2 lists them")
