"""Asks an HTTP gateway, or a wherry node, for the record of a name: ``GET /ipns/NAME`` (specs/0034 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.errors import PeerDenied, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.limits import NAME_RECORD_BYTES_MAX

if TYPE_CHECKING:
    import ssl

    from wherry_http.options import HttpOptions

_TYPE: Final = "application/vnd.ipfs.ipns-record"


async def record_at(url: str, name: str, tls: ssl.SSLContext | None, options: HttpOptions) -> bytes | None:
    """Asks ``url`` (without a slash at its end); None: it has none. Raises PeerError."""
    import aiohttp

    headers = {"Accept": _TYPE, "Accept-Encoding": "identity", "User-Agent": "wherry"}
    if options.token:
        headers["Authorization"] = f"Bearer {options.token}"
    timeout = aiohttp.ClientTimeout(total=options.idle_timeout, sock_connect=options.connect_timeout)
    try:
        async with (
            aiohttp.ClientSession(
                trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=timeout
            ) as session,
            session.get(
                f"{url}/ipns/{name}?format=ipns-record", headers=headers, allow_redirects=False, ssl=tls or True
            ) as answer,
        ):
            if answer.status in (401, 403):
                raise PeerDenied(f"{url} refuses us (status {answer.status})", peer=url, hint="give its token: WHERRY_TOKEN")
            if answer.status != 200 or answer.content_type != _TYPE:
                return None  # whatever else it is, it is no record
            held = bytearray()
            async for piece in answer.content.iter_any():
                held += piece
                if len(held) > NAME_RECORD_BYTES_MAX:
                    raise PeerProtocolError(f"{url} sends a record of more than {NAME_RECORD_BYTES_MAX:,} bytes", peer=url)
            return bytes(held)
    except aiohttp.ClientConnectorError as problem:
        raise PeerUnreachable(f"cannot connect to {url}: {problem.strerror or problem}", peer=url) from problem
    except TimeoutError as problem:
        raise PeerTimeout(f"{url} took more than {options.idle_timeout:g} s", peer=url) from problem
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        raise PeerProtocolError(f"{url} cut the connection or broke HTTP: {problem!r}", peer=url) from problem
