"""What a plugin author imports (specs/0006). Light on purpose: no engine, no event loop, no HTTP library.

Each name is imported when it is first used, so that reading a configuration, which needs the options alone, does not pay
for pluggy.

A whole plugin is two files. ``pyproject.toml``::

    [project.entry-points.wherry]
    acme = "acme_wherry.plugin"

and ``acme_wherry/plugin.py``::

    from dataclasses import dataclass
    from wherry.plugin import Size, hookimpl, option, provider

    @dataclass(frozen=True, slots=True, kw_only=True)
    class RamOptions:
        max_bytes: Size = option(Size(1 << 26), help="bytes of blocks to keep")

    def build_ram(options, env):
        from acme_wherry.ram import RamCache        # what is heavy is imported here, not at the top
        return RamCache(options.max_bytes)

    @hookimpl
    def wherry_register_caches():
        return [provider("acme.ram", options=RamOptions, build=build_ram, summary="blocks in memory")]
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from wherry.plugin.hookspecs import hookimpl
    from wherry.plugin.options import Duration, Rate, Size, option
    from wherry.plugin.providers import API_VERSION, Provider, provider
else:  # hidden from type checkers, which would take any name for a good one

    def __getattr__(name: str) -> object:
        module = {
            "API_VERSION": "wherry.plugin.providers",
            "Duration": "wherry.plugin.options",
            "Rate": "wherry.plugin.options",
            "Provider": "wherry.plugin.providers",
            "Size": "wherry.plugin.options",
            "hookimpl": "wherry.plugin.hookspecs",
            "option": "wherry.plugin.options",
            "provider": "wherry.plugin.providers",
        }.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(module), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ("API_VERSION", "Duration", "Provider", "Rate", "Size", "hookimpl", "option", "provider")
