"""What a verb is given is looked at before it begins: what is of no use there is a UsageError that names it.

Most programs are not checked for types. A text where a list of texts is meant would be taken letter by letter, and one of
its letters may be ``*``.
"""

from __future__ import annotations

import inspect
import operator
import os
from collections.abc import Iterable
from functools import wraps
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from wherry.cid import CID
from wherry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Verb = TypeVar("Verb", bound=Callable[..., Any])


def checked(verb: Verb) -> Verb:
    """Gives ``verb`` with a look at its arguments first, by its annotations."""
    inner = inspect.unwrap(verb)
    code = inner.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    kinds = {name: inner.__annotations__[name] for name in names}

    @wraps(verb)
    def checking(self: Any, *given: Any, **options: Any) -> Any:
        taken = [fitting(verb.__name__, name, kinds[name], value) for name, value in zip(names, given, strict=False)]
        for name in options.keys() & kinds.keys():
            options[name] = fitting(verb.__name__, name, kinds[name], options[name])
        return verb(self, *taken, *given[len(taken) :], **options)

    return cast("Verb", checking)


def fitting(verb: str, name: str, kind: str, value: Any) -> Any:
    """Gives ``value`` as what its annotation, ``kind``, says, where that is a plain one. Raises UsageError."""
    plain = kind.removesuffix(" | None")
    if plain not in _KINDS or (value is None and plain != kind):
        return value
    take, words, hint = _KINDS[plain]
    try:
        return take(value)
    except TypeError:
        got = "a text" if isinstance(value, str) else type(value).__name__
        raise UsageError(f"{verb}: {name} is {words}, and not {got}", hint=hint.format(name) or None) from None
    except ValueError:
        raise UsageError(f"{verb}: {name} is {words}, at least 0, and not {value}") from None


def _named(value: Any) -> str:
    return str(value) if isinstance(value, CID) else _of(str)(value)


def _texts(value: Any) -> list[Any]:
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
        raise TypeError
    return [_of(str, os.PathLike)(one) for one in value]


def _whole(value: Any) -> int:
    if isinstance(value, bool):  # an answer where an amount is meant
        raise TypeError
    return int(_amount(int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return _amount(value)


def _amount(value: Any) -> Any:
    """Numbers that verbs take are bytes, seconds and counts."""
    if not value >= 0:  # NaN is not, either
        raise ValueError
    return value


def _of(*kinds: type) -> Callable[[Any], Any]:
    def take(value: Any) -> Any:
        if not isinstance(value, kinds):
            raise TypeError
        return value

    return take


_LIST: Final = (_texts, "a list of texts", 'write a list: {}=["..."]')
_KINDS: Final[dict[str, tuple[Callable[[Any], Any], str, str]]] = {
    "str | CID": (_named, "a text or a CID", ""),
    "str": (_of(str, os.PathLike), "a text", ""),
    "Sequence[str]": _LIST,
    "list[str]": _LIST,
    "int": (_whole, "a whole number", "write it out, such as 1_000_000_000: units are for the command line"),
    "float": (_number, "a number", "write it without a unit: {}=5"),
    "bytes": (_of(bytes, bytearray, memoryview), "bytes", ""),
}
