"""The plugin that is core's own: what needs no library, through the door that everybody uses (specs/0006 §1)."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wherry.chunking import LEAF_CHOICES
from wherry.plugin import Provider, Size, hookimpl, option, provider


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedOptions:
    """Options of the chunker ``fixed``."""

    size: Size = option(Size(LEAF_CHOICES[0]), help="bytes of a leaf", choices=LEAF_CHOICES)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """No options."""


def _build_fixed(options: FixedOptions, env: object) -> Any:
    del env
    from wherry.chunking import FixedChunker

    return FixedChunker(options.size)


def _build_identity(options: NoOptions, env: object) -> Any:
    del options, env
    from wherry.coding import Identity

    return Identity()


@hookimpl
def wherry_register_chunkers() -> Sequence[Provider[Any]]:
    """Gives the chunker ``fixed``."""
    return [provider("fixed", options=FixedOptions, build=_build_fixed, summary="cuts files every so many bytes")]


@hookimpl
def wherry_register_compressors() -> Sequence[Provider[Any]]:
    """Gives the compressor ``identity``."""
    return [provider("identity", options=NoOptions, build=_build_identity, summary="codes nothing: blocks stay as they are")]
