"""Provider: a named factory with typed options, which is all that a hook hands over (specs/0006 §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.env import Env

API_VERSION: Final = 1  # of the contracts and of this module; specs/0006 §5 says what raises it
SUPPORTED_APIS: Final = frozenset({1})

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
O = TypeVar("O")  # noqa: E741 - the usual letter for options beside T


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Generic[T_co]):
    """A plugin that can be chosen by name in the configuration. Make one with `provider`."""

    name: str  # ``vendor.name``; names without a dot are wherry's own
    options: type[Any]  # a frozen dataclass whose fields are all made by ``option``; its defaults must build
    build: Callable[[Any, Env], T_co]  # called when chosen, at most once an instance; the place for heavy imports
    summary: str  # one line for `wherry plugins list`
    api: int = API_VERSION  # the API number that the plugin was written for


def provider(name: str, *, options: type[O], build: Callable[[O, Env], T], summary: str, api: int = API_VERSION) -> Provider[T]:
    """Makes a Provider; the type checker sees that ``build`` takes these ``options``."""
    return Provider(name=name, options=options, build=build, summary=summary, api=api)
