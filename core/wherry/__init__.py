"""wherry: large data by content address.

The names below are all of the front door; each is imported when it is first used, so that ``import wherry`` costs
nothing and a module that needs one part does not pay for the others. Everything else is imported from its own module,
such as ``wherry.ticket`` or ``wherry.testing.chaos``.
"""

TYPE_CHECKING = False  # type checkers know the name; importing `typing` for it would be most of this module's cost
if TYPE_CHECKING:
    from wherry.cid import CID
    from wherry.errors import WherryError
    from wherry.session import Session
    from wherry.version import __version__
else:  # hidden from type checkers, which would take any name for a good one

    def __getattr__(name: str) -> object:
        module = {
            "CID": "wherry.cid",
            "Session": "wherry.session",
            "WherryError": "wherry.errors",
            "__version__": "wherry.version",
        }.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(module), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ("CID", "Session", "WherryError", "__version__")
