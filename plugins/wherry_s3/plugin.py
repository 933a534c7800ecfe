"""Registers the ``s3`` transport. Light: obstore, an extra, is imported when the transport is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_s3.options import S3Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.transport import Transport
    from wherry.env import Env


def build_s3(options: S3Options, env: Env) -> Transport:
    """Makes the transport. Raises ImportError without the extra: `pip install wherry[s3]`."""
    from wherry_s3.transport import S3Transport

    return S3Transport(options, dial=env.dial)


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``s3``, for the scheme s3."""
    return [
        provider(
            "s3", options=S3Options, build=build_s3, summary="objects of S3, or of what speaks like it, that are the files"
        )
    ]
