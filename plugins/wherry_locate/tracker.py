"""``tracker``: asks HTTP servers who provides a CID, as the Delegated Routing V1 HTTP API says it (specs/0018 §6).

https://specs.ipfs.tech/routing/http-routing-v1/. A tracker is a stranger: what it sends is bounded in bytes, lines, records
and time, it is not followed anywhere else, and what it names is dialled as far as the address policy for it allows.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from wherry.abc.locator import Found, Locator
from wherry.dial import is_near
from wherry.errors import ConfigError, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, in_words
from wherry_locate.multiaddr import DETAILS, MULTIADDR_CHARS_MAX, to_address, why_not

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    import aiohttp

    from wherry.abc.locator import Holdings, Reach
    from wherry.cid import CID
    from wherry_locate.options import TrackerOptions

BYTES_MAX: Final = 1 << 20  # of an answer
LINE_BYTES_MAX: Final = 16 << 10  # of one record
RECORDS_MAX: Final = 100  # looked at, of an answer
ADDRS_MAX: Final = 16  # looked at, of a record
PROTOCOLS_MAX: Final = 16  # likewise
_ID_CHARS_MAX: Final = 128
_SCHEMAS: Final = ("peer", "bitswap", "graphsync-filecoinv1")  # the latter are of old, and read as peers
_WHITE: Final = re.compile(rb"[ \t\r\n]*")
_NDJSON: Final = "application/x-ndjson"
_JSON: Final = "application/json"


class Tracker(Locator):
    """Asks all trackers at once, and gives what they say as it comes; tells them what this node holds, if it is to."""

    def __init__(self, options: TrackerOptions, home: Path | None = None) -> None:
        """``home`` has the key of this node, to announce with. Raises ConfigError if no tracker is configured."""
        if not options.urls:
            raise ConfigError("the locator tracker has no urls", hint='write urls = ["https://..."] in its section')
        self._urls = tuple(url.rstrip("/") for url in options.urls)
        self._timeout_s = options.timeout
        self._options = options
        self._home = home
        own = "lan" if all(is_near(url) for url in options.urls) else "public"
        self.reach: Reach = own if options.reach == "auto" else options.reach  # type: ignore[assignment]  # mypy takes `own` for str

    async def locate(self, cid: CID) -> AsyncGenerator[str, None]:
        """See `Locator.locate`. Raises PeerError if every tracker failed."""
        said: asyncio.Queue[str | PeerError | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._ask(url, cid, said)) for url in self._urls]
        failures: list[PeerError] = []
        over, seen = 0, set()
        try:
            while over < len(tasks):
                found = await said.get()
                if isinstance(found, str):
                    if found not in seen:
                        seen.add(found)
                        yield found
                    continue
                over += 1
                if found is not None:
                    failures.append(found)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if len(failures) == len(tasks):
            raise _all_failed(failures)

    @asynccontextmanager
    async def provide(self, addresses: Sequence[str], holdings: Holdings, tell: Callable[[str], None]) -> AsyncIterator[None]:
        """See `SupportsProvide.provide`. Does nothing without ``announce = true``. Raises StoreError, LocalError."""
        if self._home is None or not self._options.announce:
            yield
            return
        from wherry_locate.providing import providing  # who only asks needs no key

        async with providing(self._options, self._home, addresses, holdings, tell):
            yield

    async def name_records(self, name: str) -> AsyncGenerator[tuple[str, bytes], None]:
        """See `SupportsNames.name_records`."""
        from wherry_locate.naming import records

        async with aclosing(records(self._urls, name, self._timeout_s)) as found:
            async for who, record in found:
                yield who, record

    async def put_record(self, name: str, record: bytes) -> list[str]:
        """See `SupportsNames.put_record`."""
        from wherry_locate.naming import put

        return await put(self._urls, name, record, self._timeout_s)

    async def _ask(self, url: str, cid: CID, said: asyncio.Queue[str | PeerError | None]) -> None:
        """Puts what one tracker says, and in the end None or what failed."""
        end: PeerError | None = None
        try:
            async with asyncio.timeout(self._timeout_s), aclosing(self._records(url, cid)) as records:
                async for record in records:
                    for address in _addresses(record):
                        said.put_nowait(address)
        except PeerError as problem:
            end = problem
        except TimeoutError:
            end = PeerTimeout(f"{url} took more than {self._timeout_s:g} s", peer=url)
        except asyncio.CancelledError:
            raise
        except Exception as problem:  # noqa: BLE001 - a bug in here must not leave `locate` waiting
            end = PeerProtocolError(f"{url}: {type(problem).__name__}: {problem}", peer=url)
        said.put_nowait(end)

    async def _records(self, url: str, cid: CID) -> AsyncGenerator[Any, None]:
        import aiohttp  # heavy, and needed by whoever asks alone

        headers = {"Accept": f"{_NDJSON}, {_JSON};q=0.9", "Accept-Encoding": "identity", "User-Agent": "wherry"}
        try:
            async with (
                aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session,
                session.get(f"{url}/routing/v1/providers/{cid}", headers=headers, allow_redirects=False) as response,
            ):
                if response.status == 404:
                    return  # as the API says "none"
                if response.status != 200:
                    raise PeerProtocolError(f"{url} answered with status {response.status}", peer=url)
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise PeerProtocolError(f"{url} answered with a coding that was not asked for", peer=url)
                if response.content_type == _NDJSON:
                    async for record in _lines(response, url):
                        yield record
                elif response.content_type == _JSON:
                    for record in _providers(await _whole(response, url), url):
                        yield record
                else:
                    raise PeerProtocolError(f"{url} answered with {response.content_type!a}", peer=url, hint="is it a tracker?")
        except aiohttp.ClientConnectorError as problem:
            raise PeerUnreachable(f"cannot connect to {url}: {problem.strerror or problem}", peer=url) from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            if isinstance(problem, TimeoutError):
                raise
            raise PeerProtocolError(f"{url} cut the connection or broke HTTP: {in_words(problem)}", peer=url) from problem


def _all_failed(failures: Sequence[PeerError]) -> PeerError:
    """Gives the error for trackers none of which answered: it names each."""
    hints = dict.fromkeys(problem.hint for problem in failures if problem.hint)
    hint = "; ".join(hints) or "check that they run, and the urls in [locator.tracker]"
    return type(failures[0])("; ".join(problem.message for problem in failures), peer=failures[0].peer, hint=hint)


async def _lines(response: aiohttp.ClientResponse, url: str) -> AsyncGenerator[Any, None]:
    """Gives one record a line, as the lines come. Raises PeerProtocolError."""
    held = bytearray()
    total = records = 0
    async for piece in response.content.iter_any():
        total += len(piece)
        if total > BYTES_MAX:
            raise PeerProtocolError(f"{url} sends more than {BYTES_MAX:,} bytes", peer=url)
        held += piece
        at = _blank(held, 0)  # at once, as what follows is not split: a piece may be a hundred thousand line ends
        while (end := held.find(b"\n", at)) >= 0:
            line, at = bytes(held[at:end]), _blank(held, end + 1)
            records += 1
            if records > RECORDS_MAX:
                return
            yield _record(line, url)
        del held[:at]
        if len(held) > LINE_BYTES_MAX:
            break
    if held.strip():
        yield _record(bytes(held), url)


def _blank(data: bytearray, at: int) -> int:
    """Gives where the white space that begins at ``at`` ends."""
    found = _WHITE.match(data, at)
    return found.end() if found is not None else at


def _record(line: bytes, url: str) -> Any:
    if len(line) > LINE_BYTES_MAX:
        raise PeerProtocolError(f"{url} sends a record of more than {LINE_BYTES_MAX:,} bytes", peer=url)
    return _decoded(line, url)


async def _whole(response: aiohttp.ClientResponse, url: str) -> bytes:
    held = bytearray()
    async for piece in response.content.iter_any():
        held += piece
        if len(held) > BYTES_MAX:
            raise PeerProtocolError(f"{url} sends more than {BYTES_MAX:,} bytes", peer=url)
    return bytes(held)


def _providers(data: bytes, url: str) -> list[Any]:
    answer = _decoded(data, url)
    providers = answer.get("Providers") if isinstance(answer, dict) else None
    if providers is None and isinstance(answer, dict):
        return []
    if not isinstance(providers, list):
        raise PeerProtocolError(f"{url} sends no list of providers", peer=url)
    return providers[:RECORDS_MAX]


def _decoded(data: bytes, url: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise PeerProtocolError(f"{url} sends what is no JSON", peer=url) from problem


def _addresses(record: Any) -> Iterator[Found]:
    """Gives the addresses of one record; those that wherry cannot speak with, as multiaddrs with the fault.

    What is no record of a peer is skipped.
    """
    if not isinstance(record, dict) or record.get("Schema") not in _SCHEMAS:
        return
    addrs, named, peer, details = (record.get(name) for name in ("Addrs", "Protocols", "ID", DETAILS))
    if record["Schema"] != "peer":
        named = [record.get("Protocol")]
    peer = peer[:_ID_CHARS_MAX] if isinstance(peer, str) else ""
    if not isinstance(addrs, list):
        addrs = []
    protocols = [name for name in named[:PROTOCOLS_MAX] if isinstance(name, str)] if isinstance(named, list) else []
    complete = details.get("complete") if isinstance(details, dict) else None
    whole = complete if isinstance(complete, bool) else None
    for text in addrs[:ADDRS_MAX]:
        address = to_address(text, peer=peer, protocols=protocols)
        if address is not None:
            yield Found(address, peer=peer, protocols=protocols, complete=whole)
        elif isinstance(text, str) and text:
            shown = text[:MULTIADDR_CHARS_MAX]
            yield Found(shown, peer=peer, protocols=protocols, complete=whole, fault=why_not(text, peer))
    if not addrs and peer:
        yield Found(f"/p2p/{peer}", peer=peer, protocols=protocols, complete=whole, fault="no address of it is known")
