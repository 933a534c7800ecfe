"""One value: from TOML or from the text of a variable to the type that its option says, and back (specs/0007 §3)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wherry.plugin.options import exact_rate, exact_size
from wherry.units import parse_duration, parse_rate, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.plugin.options import Option

ITEMS_MAX: Final = 1024  # of a list: no option of people's making is longer
TEXT_CHARS_MAX: Final = 65_536
SIZE_MAX: Final = (1 << 63) - 1  # what TOML, SQLite and file systems count to

_WORDS: Final = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Entry(NamedTuple):
    """A value as it was read, and where."""

    value: Any
    source: str  # the file's path, or "environment"
    key: str  # dotted, or the variable's name
    folder: Path | None = None  # of the file; relative paths begin here. None: from the environment
    profile: str = ""  # that says it; "": it stands outside of profiles

    def __repr__(self) -> str:
        return f"Entry({self.key!r}, {self.origin!r})"  # the value may be a secret

    @property
    def is_text(self) -> bool:
        """Tells whether it is the text of a variable, which has no types."""
        return self.folder is None

    @property
    def origin(self) -> str:
        """Tells in words where it came from."""
        if self.is_text:
            return f"environment {self.key}"
        return f"file {self.source}, profile {self.profile}" if self.profile else f"file {self.source}"


class Refused(Exception):
    """A value that its option does not take; says in what way."""


def convert(option: Option, entry: Entry) -> Any:
    """Gives the value in the option's own type. Raises Refused."""
    value = entry.value
    if entry.is_text and option.optional and not value:
        return None
    if not option.many:
        return _one(option, entry, value)
    if entry.is_text:
        value = _split(value)
    if not isinstance(value, list):
        raise Refused(f"is {_type(value)}")
    if len(value) > ITEMS_MAX:
        raise Refused(f"has {len(value)} items, at most {ITEMS_MAX} are taken")
    return tuple(_one(option, entry, item) for item in value)


def _split(text: str) -> list[Any]:
    """Reads a list in a variable: TOML's form if it begins with a bracket, otherwise items between commas."""
    if not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    import tomllib

    try:
        items = tomllib.loads(f"items = {text}")["items"]
    except (ValueError, RecursionError):
        raise Refused("is not a TOML list") from None
    return [item if isinstance(item, str) else str(item) for item in items]


def _one(option: Option, entry: Entry, value: Any) -> Any:
    converted = _CONVERTERS[option.form](value, entry)
    if option.choices and converted not in option.choices:
        raise Refused(f"is {_shown(option, value)}")
    if isinstance(converted, int | float):
        if option.minimum is not None and converted < option.minimum:
            raise Refused(f"is {_shown(option, value)}, which is too small")
        if option.maximum is not None and converted > option.maximum:
            raise Refused(f"is {_shown(option, value)}, which is too large")
    return converted


def _text(value: Any, _: Entry) -> str:
    if not isinstance(value, str):
        raise Refused(f"is {_type(value)}")
    if len(value) > TEXT_CHARS_MAX or "\0" in value:
        raise Refused(f"is text with a NUL, or longer than {TEXT_CHARS_MAX} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused("is not valid UTF-8") from None
    return value


def _integer(value: Any, entry: Entry) -> int:
    if entry.is_text:
        try:
            return int(value)
        except ValueError:
            raise Refused("is not a whole number") from None
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"is {_type(value)}")
    return value


def _number(value: Any, entry: Entry) -> float:
    if entry.is_text:
        try:
            value = float(value)
        except ValueError:
            raise Refused("is not a number") from None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refused(f"is {_type(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise Refused("is too large a number") from None
    if not math.isfinite(number):
        raise Refused("is not finite")
    return number


def _boolean(value: Any, entry: Entry) -> bool:
    if entry.is_text and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    if not isinstance(value, bool):
        raise Refused(f"is {_type(value)}")
    return value


def _size(value: Any, _: Entry) -> int:
    if isinstance(value, str):
        try:
            value = parse_size(value)
        except ValueError as problem:
            raise Refused(str(problem)) from None
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"is {_type(value)}")
    if not 0 <= value <= SIZE_MAX:
        raise Refused("is negative" if value < 0 else "is too large")
    return value


def _duration(value: Any, entry: Entry) -> float:
    return _measured(value, entry, parse_duration)


def _rate(value: Any, entry: Entry) -> float:
    return _measured(value, entry, parse_rate)


def _measured(value: Any, entry: Entry, parse: Callable[[str], float]) -> float:
    """Reads a number with its unit, or a bare one."""
    if isinstance(value, str):
        try:
            return parse(value)
        except ValueError as problem:
            raise Refused(str(problem)) from None
    number = _number(value, entry)
    if number < 0:
        raise Refused("is negative")
    return number


def _path(value: Any, entry: Entry) -> Path:
    text = _text(value, entry)
    if not text:
        raise Refused("is empty")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise Refused("begins with '~', and there is no such user's home") from None
    return path if path.is_absolute() or entry.folder is None else entry.folder / path


_CONVERTERS: Final = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "size": _size,
    "duration": _duration,
    "rate": _rate,
    "path": _path,
}


def _type(value: Any) -> str:
    """Names the type of a value in TOML's words, without showing it."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


def _shown(option: Option, value: Any) -> str:
    if option.secret:
        return "a value"
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...") if isinstance(value, str) else text


def to_toml(option: Option, value: Any) -> str:
    """Writes a value, not None, so that it is read back as the same."""
    if option.many:
        return "[" + ", ".join(_one_to_toml(option, item) for item in value) + "]"
    return _one_to_toml(option, value)


def _one_to_toml(option: Option, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if option.form == "size":
        size = exact_size(value)
        return size if size.isdigit() else quote(size)
    if option.form == "duration" and value < 1e15 and float(value).is_integer():
        return quote(f"{int(value)}s")
    if option.form == "rate":
        rate = exact_rate(value)
        return quote(rate) if "/" in rate else rate
    if isinstance(value, int | float):
        return repr(value)
    return quote(str(value))


def quote(text: str) -> str:
    """Writes a TOML string."""
    import json

    # JSON's escapes are TOML's, but for surrogate pairs (not made here) and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
