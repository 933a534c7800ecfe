"""Other people's packages, for tests: modules and metadata in a folder that is put on the path, as pip would leave them."""

from __future__ import annotations

import os
import sys
from textwrap import dedent

# What most plugins of the tests begin with.
HEAD = """\
from dataclasses import dataclass
from wherry.plugin import Duration, Size, hookimpl, option, provider

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    max_bytes: Size = option(Size(1 << 20), help="bytes to keep")

"""


def install(site, dist, entries, modules, version="1.0"):
    """Puts a distribution into ``site``: ``entries`` of the group wherry (name to module), and modules (path to text)."""
    site.mkdir(exist_ok=True)
    info = site / f"{dist.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (info / "entry_points.txt").write_text(f"[wherry]\n{lines}")
    for path, text in modules.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(dedent(text))
    return site


def plugin(site, kind, build, *, name="acme.own", dist="acme-wherry", more="", hook=None, options="Options", head=HEAD):
    """Puts a distribution with one provider into ``site``; ``build`` is the text of what its ``build`` does."""
    module = dist.replace("-", "_")
    plural = "policies" if kind == "policy" else f"{kind}s"
    code = head + dedent(more) + f"\ndef build(options, env):\n{_indented(build)}\n\n@hookimpl\n"
    code += f"def {hook or f'wherry_register_{plural}'}():\n"
    code += f"    return [provider({name!r}, options={options}, build=build, summary='a stranger')]\n"
    return install(site, dist, {name: f"{module}.plugin"}, {f"{module}/__init__.py": "", f"{module}/plugin.py": code})


def _indented(text):
    return "".join(f"    {line}\n" for line in dedent(text).strip().splitlines())


def environ(site, **more):
    """Gives the environment of a process that has ``site`` on its path."""
    path = os.pathsep.join([str(site), *(place for place in sys.path if place)])
    return {**os.environ, "PYTHONPATH": path, **more}
