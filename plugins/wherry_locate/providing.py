"""Tells trackers what this node holds, again before they forget it, and takes it back in the end (specs/0028 §6).

One task a tracker: one that is away costs the others nothing. What changed is told soon, what did not is told again in time.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wherry.abc.transport import Listening
from wherry.errors import PeerBusy, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, in_words
from wherry.nodekey import NodeKey
from wherry.offload import in_thread
from wherry_locate.announcement import ADDRS_MAX, CIDS_MAX, PATH, PROTOCOLS_MAX, Announcement, encode, is_protocol
from wherry_locate.multiaddr import to_multiaddr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    import aiohttp

    from wherry.abc.locator import Holdings
    from wherry.cid import CID
    from wherry_locate.options import TrackerOptions

_LOOK_S: Final = 5.0  # how soon a dataset that was added is told; a tenth of that where there are few to look at
_MANY: Final = 1000
_END_S: Final = 2.0  # for all trackers to be told that it is over
_AWAY_S: Final = (2.0, 300.0)  # between two tries at a tracker that fails: doubled each time, from this to that
_ANSWER_BYTES_MAX: Final = 64 << 10


@asynccontextmanager
async def providing(
    options: TrackerOptions,
    home: Path,
    addresses: Sequence[str],
    holdings: Holdings,
    tell: Callable[[str], None],
) -> AsyncIterator[None]:
    """Announces until the context is left. Raises StoreError, LocalError if the key of this node cannot be had."""
    places = [place for place in map(to_multiaddr, addresses) if place is not None][:ADDRS_MAX]
    if not places:
        yield
        return
    key = await in_thread(lambda: NodeKey.load(home))
    addrs = tuple(dict.fromkeys(addr for addr, _ in places))
    protocols = [*(protocol for _, protocol in places), *more_protocols(addresses)]
    node = Node(key, addrs, tuple(dict.fromkeys(protocols))[:PROTOCOLS_MAX], holdings, tell)
    feeds = [Feed(url.rstrip("/"), node, options) for url in options.urls]
    tasks = [asyncio.create_task(feed.run()) for feed in feeds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def more_protocols(addresses: Iterable[str]) -> list[str]:
    """Gives what else is spoken at those addresses that can be announced, as far as their transports say so."""
    spoken = [address.protocols for address in addresses if isinstance(address, Listening) and to_multiaddr(address)]
    return [protocol for protocols in spoken for protocol in protocols if is_protocol(protocol)]


class _Later(PeerBusy):
    """A tracker wants to be left alone for a while."""

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(f"{url} is busy; again in {seconds:.0f} s", peer=url)
        self.seconds = seconds


class Node(NamedTuple):
    """What is told, and who is told what fails."""

    key: NodeKey
    addrs: tuple[str, ...]  # multiaddrs
    protocols: tuple[str, ...]  # spoken there
    holdings: Holdings
    tell: Callable[[str], None]


class Feed:
    """What one tracker is told."""

    def __init__(self, url: str, node: Node, options: TrackerOptions) -> None:
        self._url = url
        self._node = node
        self._options = options
        self._told: dict[CID, bool] = {}  # complete or not
        self._renew_at = 0.0  # of the loop's clock
        self._at = 0
        self._failures = 0

    async def run(self) -> None:
        """Works until cancelled; then takes back what it told."""
        import aiohttp  # heavy, and needed by whoever announces alone

        timeout = aiohttp.ClientTimeout(total=self._options.timeout)
        async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as session:
            try:
                while True:
                    pause_s = await self._turn(session)
                    await asyncio.sleep(pause_s)
            finally:
                if self._told:
                    try:
                        async with asyncio.timeout(_END_S):
                            await self._say(session, (), withdraw=True)
                    except (PeerError, TimeoutError):
                        pass  # it forgets by itself, in time

    async def _turn(self, session: aiohttp.ClientSession) -> float:
        """Tells what is to be told; gives the seconds until the next look. A failure is said once, and tried again."""
        loop = asyncio.get_running_loop()
        try:
            held = {held.cid: held.complete for held in await self._node.holdings()}
            renewing = loop.time() >= self._renew_at
            gone = [cid for cid in self._told if cid not in held]
            due = {cid: complete for cid, complete in held.items() if renewing or self._told.get(cid) is not complete}
            for part in _parts(gone):
                await self._say(session, part, withdraw=True)
                for cid in part:
                    del self._told[cid]
            for complete in (True, False):
                for part in _parts(cid for cid, whole in due.items() if whole is complete):
                    await self._say(session, part, partial=not complete)
                    self._told.update(dict.fromkeys(part, complete))
        except _Later as problem:
            return max(_LOOK_S, problem.seconds)
        except Exception as problem:  # noqa: BLE001 - a bug in here, or of who says what is held, must not end the serving
            if not self._failures:
                words = problem.message if isinstance(problem, PeerError) else f"{type(problem).__name__}: {problem}"
                self._node.tell(f"cannot announce this node, and goes on trying: {words}")
            self._failures += 1
            return self._away()
        self._failures = 0
        if renewing:
            self._renew_at = loop.time() + self._options.renew * random.uniform(0.8, 1.0)  # noqa: S311  # jitter is no secret
        return _LOOK_S * min(1.0, max(0.1, len(held) / _MANY))

    def _away(self) -> float:
        least, most = _AWAY_S
        return min(most, least * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1.0)  # noqa: S311  # as above

    async def _say(
        self, session: aiohttp.ClientSession, cids: Sequence[CID], *, partial: bool = False, withdraw: bool = False
    ) -> None:
        """Sends one announcement. Raises PeerError."""
        import aiohttp

        node = self._node
        self._at = max(self._at + 1, time.time_ns() // 1000)
        said = Announcement(
            node.key.peer_id, self._at, 0.0 if withdraw else 2 * self._options.renew, node.addrs, node.protocols,
            tuple(cids), partial, withdraw,
        )  # fmt: skip
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "wherry"}
        try:
            async with session.put(
                self._url + PATH, data=encode(said, node.key), headers=headers, allow_redirects=False
            ) as response:
                if response.status in (429, 503):
                    raise _Later(self._url, _retry_after(response))
                body = await response.content.read(_ANSWER_BYTES_MAX)
                if response.status != 200:
                    words = body[:200].decode("ascii", "replace").strip()
                    raise PeerProtocolError(f"{self._url} answered with status {response.status}: {words!a}", peer=self._url)
                _check(body, self._url)
        except aiohttp.ClientConnectorError as problem:
            raise PeerUnreachable(f"cannot connect to {self._url}: {problem.strerror or problem}", peer=self._url) from problem
        except TimeoutError as problem:
            raise PeerTimeout(f"{self._url} took more than {self._options.timeout:g} s", peer=self._url) from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise PeerProtocolError(
                f"{self._url} cut the connection or broke HTTP: {in_words(problem)}", peer=self._url
            ) from problem


def _parts(cids: Iterable[CID]) -> list[list[CID]]:
    found = list(cids)
    return [found[at : at + CIDS_MAX] for at in range(0, len(found), CIDS_MAX)]


def _check(body: bytes, url: str) -> None:
    """Looks whether an answer is that of a tracker that took an announcement. Raises PeerProtocolError."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("ProvideResults"), list):
        raise PeerProtocolError(f"{url} does not say that it took the announcement", peer=url, hint="is it a tracker?")


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(min(int(text), 3600)) if text.isascii() and text.isdigit() and len(text) < 6 else 60.0
