"""What plugins can rely on, as text: names, signatures and fields of wherry's public modules (specs/0006 §5).

    python tests/support/surface.py > tests/architecture/public_surface.txt

writes it anew. Do that on purpose: what is taken away or changed there breaks other people's plugins.
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import sys
from importlib import import_module
from typing import Protocol

SUITES = ("cache", "chunker", "cipher", "command", "compressor", "locator", "observer", "policy", "source", "transport")
HELPERS = ("blocks", "leaves", "memory", "plugin")


def modules():
    """The modules whose names are promised."""
    import wherry.abc

    yield "wherry.plugin"
    yield from sorted(f"wherry.abc.{module.name}" for module in pkgutil.iter_modules(wherry.abc.__path__))
    yield from ("wherry.env", "wherry.errors", "wherry.dial", "wherry.observe")
    yield from sorted(f"wherry.testing.{name}" for name in (*SUITES, *HELPERS))


def surface():
    """The whole text."""
    return "\n".join(line for name in modules() for line in [name, *_module(name), ""])


def _module(name):
    module = import_module(name)
    names = getattr(module, "__all__", None) or [
        key for key, value in vars(module).items() if key[0] != "_" and getattr(value, "__module__", None) == name
    ]
    for key in sorted(names):
        yield from _thing(key, getattr(module, key))


def _thing(key, value):
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"    class {key}({bases})"
        yield from (f"        {line}" for line in _class(value))
    elif inspect.isfunction(value):
        yield f"    {_function(key, value)}"
    else:
        yield f"    {key}: {type(value).__name__}"


def _class(cls):
    if hasattr(cls, "_fields"):
        for field in cls._fields:
            yield _field(field, cls.__annotations__.get(field), cls._field_defaults.get(field, inspect.Parameter.empty))
    elif dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            made = field.default_factory is not dataclasses.MISSING or field.default is not dataclasses.MISSING
            yield _field(field.name, field.type, "..." if made else inspect.Parameter.empty)
    else:
        for name, hint in vars(cls).get("__annotations__", {}).items():
            if name[0] != "_":
                yield f"{name}: {hint}"
    for name, value in vars(cls).items():
        if (name[0] == "_" and name != "__init__") or name.startswith("test_"):
            continue  # a new check for what was always an obligation is no change
        if name == "__init__" and (hasattr(cls, "_fields") or dataclasses.is_dataclass(cls) or Protocol in cls.__bases__):
            continue
        plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(plain):
            mark = "abstract " if getattr(value, "__isabstractmethod__", False) else ""
            kind = "property " if isinstance(value, property) else ""
            yield f"{mark}{kind}{_function(name, plain)}"


def _field(name, hint, default):
    hint = getattr(hint, "__forward_arg__", hint)
    return f"{name}: {hint}" if default is inspect.Parameter.empty else f"{name}: {hint} = ..."


def _function(name, function):
    signature = inspect.signature(function)
    plain = [one.replace(default="...") if one.default is not one.empty else one for one in signature.parameters.values()]
    words = str(signature.replace(parameters=plain)).replace("'", "")
    return f"{'async ' if inspect.iscoroutinefunction(function) else ''}def {name}{words}"


if __name__ == "__main__":
    sys.stdout.write(surface() + "\n")
