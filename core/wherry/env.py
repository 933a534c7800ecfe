"""What a plugin's ``build`` is told about the place it runs in (specs/0006 §2). Fields may be added, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wherry.access import anybody
from wherry.dial import NAMED
from wherry.flow import FREE
from wherry.observe import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wherry.abc.cache import Cache
    from wherry.access import Gate
    from wherry.coding import Codings
    from wherry.dial import Dial
    from wherry.flow import Flow
    from wherry.observe import Emit


def _no_codings() -> Codings:
    from wherry.coding import Codings  # only where a plugin asks for it

    return Codings()


@dataclass(frozen=True, slots=True)
class Env:
    """The surroundings of a node. Plugins read these instead of the process's own globals, so that tests can give others."""

    home: Path  # wherry's home: a plugin keeps its state in a folder of its own name in here
    environ: Mapping[str, str] = field(repr=False)  # may hold secrets
    allow_public: bool = False  # whether a transport may listen on public addresses without TLS and without a token
    dial: Dial = NAMED  # which machines a transport may connect to; it asks at each connect, redirects included
    peers: Mapping[str, str] = field(default_factory=dict)  # [peers] of the configuration: name to address
    codings: Callable[[], Codings] = _no_codings  # what a transport may code blocks with, on its hop
    emit: Emit = quiet  # takes events of ``wherry.observe``; cheap, from any thread
    cache: Callable[[str], Cache] | None = None  # for a cache made of caches: builds another instance by its name
    flow: Flow = FREE  # what of the link a transport may use; it asks before it sends
    gate: Gate = anybody  # asked of each connection that is accepted (IP address, proven peer id or ""): why not; "" lets it in
