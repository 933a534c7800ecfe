"""Registers the chunker acme.chunker. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.chunker.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.chunker import Chunker
    from wherry.env import Env


def build(options: Options, env: Env) -> Chunker:
    """Makes the chunker."""
    del env
    from acme_api1.chunker.chunker import LineChunker

    return LineChunker(options.size)


@hookimpl
def wherry_register_chunkers() -> Iterable[Provider[Chunker]]:
    """Offers ``acme.chunker``. CIDs depend on where it cuts, so the name never changes its meaning."""
    return [provider("acme.chunker", options=Options, build=build, summary="cuts files at the ends of lines", api=1)]
