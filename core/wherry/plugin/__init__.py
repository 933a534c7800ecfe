"""What a plugin author imports (specs/0006). Light on purpose: no engine, no event loop, no HTTP library.

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

from wherry.plugin.hookspecs import hookimpl
from wherry.plugin.options import Duration, Size, option
from wherry.plugin.provider import API_VERSION, Provider, provider

__all__ = ("API_VERSION", "Duration", "Provider", "Size", "hookimpl", "option", "provider")
