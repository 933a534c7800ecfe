"""Registers the ``file`` transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """The ``file`` transport has no options."""


def build_file(options: FileOptions, env: Env) -> Transport:
    """Makes the transport."""
    del options, env
    from wherry_file.transport import FileTransport  # importing a plugin costs nothing; using it does

    return FileTransport()


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``file``, for the scheme file."""
    summary = "another wherry home, or a plain copy, on a mounted disk"
    return [provider("file", options=FileOptions, build=build_file, summary=summary)]
