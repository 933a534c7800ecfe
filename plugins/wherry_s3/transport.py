"""The ``s3`` transport: ``s3://BUCKET/PREFIX/``, where the objects of a dataset lie under their paths (specs/0020 §7)."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import S3Store

from wherry.abc.transport import Transport
from wherry.dial import NAMED
from wherry.errors import ConfigError, PeerDenied, PeerTimeout, UsageError
from wherry.limits import ADDRESS_CHARS_MAX, BATCH_BYTES_MAX, RATE_BYTES_MIN
from wherry.version import __version__
from wherry_s3.channel import S3Channel
from wherry_s3.faults import ABSENT, FAULTS, REFUSED, fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from obstore.store import ClientConfig, S3Config

    from wherry.abc.transport import Channel
    from wherry.dial import Dial
    from wherry_s3.options import S3Options

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)  # Amazon's rules for names, without the finer ones
_PROBE: Final = "wherry-probe"  # an object that need not be there: any answer shows that the service is


class S3Transport(Transport):
    """Objects of a bucket, read by ranges. It only fetches."""

    schemes = frozenset({"s3"})
    obeys_dial = False  # obstore resolves names, follows redirects and obeys proxies by itself

    def __init__(self, options: S3Options, *, dial: Dial = NAMED) -> None:
        self._options, self._dial = options, dial

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Channel]:
        """See `Transport.connect`; addresses are ``s3://BUCKET/PREFIX/``, or of an object."""
        bucket, prefix = parse_address(address)
        peer = f"s3://{bucket}/{prefix}"
        if self._dial.reach != "named":
            raise PeerDenied(f"{peer} was named by others; it is not dialled", peer=peer, hint="name it yourself with --from")
        store = self._store(bucket, peer)
        await self._prove(store, f"{prefix.removesuffix('/')}/{_PROBE}".removeprefix("/"), peer)
        yield S3Channel(store, prefix, peer, self._options)

    async def _prove(self, store: S3Store, key: str, peer: str) -> None:
        """Shows that the service is there: whatever it says of an object. Raises PeerError."""
        try:
            async with asyncio.timeout(self._options.connect_timeout + self._options.idle_timeout):
                await obstore.head_async(store, key)
        except TimeoutError as problem:
            raise PeerTimeout(f"{peer}: the service is silent", peer=peer) from problem
        except (*ABSENT, *REFUSED):  # who may not list a bucket is refused what is not there
            return
        except FAULTS as problem:
            raise fault(problem, peer) from problem

    def _store(self, bucket: str, peer: str) -> S3Store:
        """Makes obstore's own client. Raises UsageError without credentials, ConfigError."""
        options = self._options
        if not options.anonymous and options.access_key_id is None:
            # obstore would go on to look for some in this machine's surroundings, asking addresses that nobody named.
            hint = "give access_key_id_file and secret_access_key_file (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or "
            raise UsageError(f"there are no credentials for {peer}", hint=hint + "anonymous = true for a public bucket")
        client: ClientConfig = {
            "allow_http": options.allow_http,
            "connect_timeout": timedelta(seconds=options.connect_timeout),
            "read_timeout": timedelta(seconds=options.idle_timeout),
            "timeout": timedelta(seconds=options.idle_timeout + BATCH_BYTES_MAX / RATE_BYTES_MIN),
            "user_agent": f"wherry/{__version__}",
        }
        more: S3Config = {} if options.endpoint is None else {"endpoint": options.endpoint}
        if not options.anonymous:
            more["access_key_id"], more["secret_access_key"] = options.access_key_id or "", options.secret_access_key or ""
            if options.session_token is not None:
                more["session_token"] = options.session_token
        try:
            if options.tls_ca is not None:
                client["root_certificate"] = options.tls_ca.read_bytes()
            return S3Store(
                bucket, config=more, region=options.region, skip_signature=options.anonymous, client_options=client,
                virtual_hosted_style_request=not options.path_style, retry_config={"max_retries": 0},
            )  # fmt: skip
        except (OSError, ValueError, *FAULTS) as problem:
            raise ConfigError(f"transport.s3: {str(problem).partition(chr(10))[0][:200]}") from problem


def parse_address(address: str) -> tuple[str, str]:
    """Gives the bucket and the key or prefix that an address names. Raises UsageError."""
    hint = "write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"
    try:
        parts = urlsplit(address)
    except ValueError as problem:
        raise UsageError(f"this is no address of a bucket: {problem}", hint=hint) from problem
    prefix = unquote(parts.path).removeprefix("/")
    if parts.scheme != "s3" or len(address) > ADDRESS_CHARS_MAX or parts.query or parts.fragment or "\0" in prefix:
        raise UsageError("this is no address of a bucket", hint=hint)
    if not _BUCKET.fullmatch(parts.netloc):
        raise UsageError("the address of a bucket has no bucket, or more than it", hint=hint)
    return parts.netloc, prefix
