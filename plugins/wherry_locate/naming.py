"""The records of names by Delegated Routing V1: ``GET|PUT /routing/v1/ipns/{name}`` (specs/0028 §8, specs/0034 §5)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from wherry.errors import PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, in_words
from wherry.limits import NAME_RECORD_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    import aiohttp

TYPE: Final = "application/vnd.ipfs.ipns-record"
PATH: Final = "/routing/v1/ipns"


async def records(urls: Sequence[str], name: str, timeout_s: float) -> AsyncGenerator[tuple[str, bytes], None]:
    """Asks all at once; gives who has a record, and the record, as they answer.

    Raises PeerError in the end if some failed, or if nobody has one; it names them and says of each what it did.
    """

    async def one(url: str) -> tuple[str, bytes | None]:
        return url, await _get(url, name, timeout_s)

    tasks = [asyncio.create_task(one(url)) for url in urls]
    failures: list[PeerError] = []
    none: list[PeerError] = []  # of those who have no record: no fault, and so said if nobody has one alone
    given = False
    try:
        for answer in asyncio.as_completed(tasks):
            try:
                url, record = await answer
            except PeerError as problem:
                failures.append(problem)
                continue
            if record is None:
                none.append(PeerError(f"{url} has no record of {name}", peer=url))
            else:
                given = True
                yield url, record
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    said = failures if given else failures + none
    if len(said) > 1:
        raise PeerError("; ".join(problem.message for problem in said))
    if said:
        raise said[0]


async def put(urls: Sequence[str], name: str, record: bytes, timeout_s: float) -> list[str]:
    """Hands a record to all at once; gives who took it. Raises PeerError if nobody did."""
    said = await asyncio.gather(*(_put(url, name, record, timeout_s) for url in urls), return_exceptions=True)
    taken = [url for url, problem in zip(urls, said, strict=True) if problem is None]
    failures = [problem for problem in said if isinstance(problem, BaseException)]
    if failures and not taken:
        raise failures[0]
    return taken


async def _get(url: str, name: str, timeout_s: float) -> bytes | None:
    headers = {"Accept": TYPE, "Accept-Encoding": "identity", "User-Agent": "wherry"}
    async with (
        _asking(url, timeout_s) as session,
        session.get(f"{url}{PATH}/{name}", headers=headers, allow_redirects=False) as answer,
    ):
        if answer.status == 404:
            return None  # as the API says "none"
        if answer.status != 200:
            where = ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
            raise PeerProtocolError(f"{url} answered with status {answer.status}{where}", peer=url)
        if answer.content_type != TYPE:
            raise PeerProtocolError(
                f"{url} answered with {answer.content_type[:80]!a}, and no record: is it a tracker?", peer=url
            )
        held = bytearray()
        async for piece in answer.content.iter_any():
            held += piece
            if len(held) > NAME_RECORD_BYTES_MAX:
                raise PeerProtocolError(f"{url} sends a record of more than {NAME_RECORD_BYTES_MAX:,} bytes", peer=url)
        return bytes(held)


async def _put(url: str, name: str, record: bytes, timeout_s: float) -> None:
    headers = {"Content-Type": TYPE, "User-Agent": "wherry"}
    async with (
        _asking(url, timeout_s) as session,
        session.put(f"{url}{PATH}/{name}", data=record, headers=headers, allow_redirects=False) as answer,
    ):
        if answer.status != 200:
            said = (await answer.content.read(200)).decode("ascii", "replace").strip()
            raise PeerProtocolError(f"{url} did not take the record (status {answer.status}): {said!a}", peer=url)


@asynccontextmanager
async def _asking(url: str, timeout_s: float) -> AsyncIterator[aiohttp.ClientSession]:
    import aiohttp  # heavy, and needed by whoever asks alone

    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with aiohttp.ClientSession(
            trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=timeout
        ) as session:
            yield session
    except aiohttp.ClientConnectorError as problem:
        raise PeerUnreachable(f"cannot connect to {url}: {problem.strerror or problem}", peer=url) from problem
    except TimeoutError as problem:
        raise PeerTimeout(f"{url} took more than {timeout_s:g} s", peer=url) from problem
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        raise PeerProtocolError(f"{url} cut the connection or broke HTTP: {in_words(problem)}", peer=url) from problem
