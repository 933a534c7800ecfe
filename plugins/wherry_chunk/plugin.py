"""Registers the chunker ``fastcdc``. Light: pyfastcdc is imported when a file is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_chunk.options import FastcdcOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.chunker import Chunker
    from wherry.env import Env


def build_fastcdc(options: FastcdcOptions, env: Env) -> Chunker:
    """Makes the chunker."""
    del env
    from wherry_chunk.fastcdc import FastcdcChunker

    return FastcdcChunker(options.size)


@hookimpl
def wherry_register_chunkers() -> Iterable[Provider[Chunker]]:
    """Offers ``fastcdc``."""
    summary = "cuts files where their content says, so that an insertion changes the leaves around it only"
    return [provider("fastcdc", options=FastcdcOptions, build=build_fastcdc, summary=summary)]
