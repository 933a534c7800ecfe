"""What is installed: the entry points of the group ``wherry``, wherry's own apart from everybody else's (specs/0006 §1).

Reading one distribution takes a millisecond, reading all of them tens: so the built-ins are looked at first and alone.
importlib.metadata is imported when it is needed, since it costs as much as all of wherry's start, and 3 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.plugin import distinfo
from wherry.plugin.hookspecs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from importlib.metadata import Distribution

OWN_DISTRIBUTION: Final = "wherry"


@dataclass(frozen=True, slots=True)
class Found:
    """One entry point, not loaded."""

    name: str  # of the plugin
    value: str  # the module
    distribution: str
    version: str
    load: Callable[[], object] = field(repr=False, compare=False)


class Installed:
    """Reads the installed distributions. Tests give a `Manager` their own object of this shape."""

    def own(self) -> Sequence[Found]:
        """Gives wherry's own entry points; none where wherry runs without being installed."""
        known = distinfo.read(OWN_DISTRIBUTION, PROJECT)
        if known is not None:
            return [
                Found(name, value, OWN_DISTRIBUTION, known.version, partial(distinfo.load, value))
                for name, value in known.entries
            ]
        from importlib.metadata import PackageNotFoundError, distribution

        try:
            return _entries(distribution(OWN_DISTRIBUTION))
        except PackageNotFoundError:
            return ()

    def others(self) -> Sequence[Found]:
        """Gives everybody else's entry points, sorted by distribution and name."""
        from importlib.metadata import distributions

        seen = {OWN_DISTRIBUTION}
        found: list[Found] = []
        for one in distributions():
            entries = _entries(one)
            if entries and entries[0].distribution not in seen:  # the first on the path is the one that is imported
                seen.add(entries[0].distribution)
                found.extend(entries)
        return sorted(found, key=lambda entry: (entry.distribution, entry.name))

    def extras(self) -> Collection[str]:
        """Gives the names of wherry's extras, ``libp2p`` of ``wherry[libp2p]``."""
        from importlib.metadata import PackageNotFoundError, metadata

        try:
            return metadata(OWN_DISTRIBUTION).get_all("Provides-Extra") or ()
        except PackageNotFoundError:
            return ()


def _entries(distribution: Distribution) -> list[Found]:
    entries = [entry for entry in distribution.entry_points if entry.group == PROJECT]
    if not entries:  # the usual case; do not parse the metadata of every package
        return []
    name = distribution.name.lower().replace("_", "-")
    return [Found(entry.name, entry.value, name, distribution.version, entry.load) for entry in entries]
