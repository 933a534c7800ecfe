"""The contract of a locator as tests (specs/0018 §2). Subclass, say how one comes to know peers, and let pytest run it::

    class TestAcmeLocator(LocatorContract):
        @asynccontextmanager
        async def knowing(self, cid, addresses):
            with acme_server({cid: addresses}) as server:
                yield AcmeLocator(AcmeOptions(url=server.url, timeout=1.0))

        def asking(self, url):                  # if it asks over HTTP: then bad servers are put there
            return AcmeLocator(AcmeOptions(url=url, timeout=1.0))

The time-outs of the locator that is made should be about a second: the tests wait for them.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, Final, get_args

from wherry.abc.locator import Locator, Reach, SupportsAnnounce
from wherry.cid import CID, RAW
from wherry.errors import LocalError, PeerError
from wherry.limits import ADDRESS_CHARS_MAX, LOCATE_ADDRESSES_MAX
from wherry.testing.expect import ContractBroken, expect
from wherry.testing.hostile import HostileServer, drip_head, endless, endless_headers, garbage, hang_up, redirect, silent
from wherry.testing.outcome import leftovers, named, nothing_left_since, skip_unless

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.testing.hostile import Behaviour

SEARCHES: Final = 16  # at once
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*:[\x21-\x7e]+", re.ASCII)


def cid_of(number: int) -> CID:
    """Makes a CID from a number, always the same."""
    return CID.of(RAW, number.to_bytes(8, "big"))


class LocatorContract(ABC):
    """What every locator must do."""

    patience_s: ClassVar[float] = 15.0  # by then a search must be over, whatever others do
    peers: ClassVar[tuple[str, ...]] = ("http://192.0.2.7:4290", "http://192.0.2.8:4291")  # that it is to know

    @abstractmethod
    def knowing(self, cid: CID, addresses: Sequence[str]) -> AbstractAsyncContextManager[Locator]:
        """Yields a locator that must find ``addresses`` for ``cid``; it may find them for others too."""

    def asking(self, url: str) -> Locator | None:
        """A locator that asks the HTTP server at ``url`` alone; None for one that asks no such server."""
        del url
        return None

    async def _found(self, locator: Locator, cid: CID) -> list[str]:
        """Gives all that is said, in time."""
        try:
            async with asyncio.timeout(self.patience_s), aclosing(locator.locate(cid)) as addresses:
                return [address async for address in addresses]
        except TimeoutError:
            raise ContractBroken(f"a search is not over within {self.patience_s:g} s") from None

    async def test_it_finds_what_is_known(self) -> None:
        """Each address, once."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            found = await self._found(locator, cid_of(1))
            expect(set(self.peers) <= set(found), f"it finds {found}, not {self.peers}")
            expect(len(found) == len(set(found)), f"it gives an address twice: {found}")

    async def test_it_finds_it_again(self) -> None:
        """A second search knows no less."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            await self._found(locator, cid_of(1))
            again = await self._found(locator, cid_of(1))
            expect(set(self.peers) <= set(again), f"a second search finds {again}, not {self.peers}")

    async def test_what_it_gives_are_addresses(self) -> None:
        """Text with a scheme, printable, not too long, and not too many."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            found = await self._found(locator, cid_of(1))
        for address in found:
            text: object = address  # whatever its annotation says
            fine = isinstance(text, str) and len(text) <= ADDRESS_CHARS_MAX and _ADDRESS.fullmatch(text)
            expect(bool(fine), f"{address!r} is no address")
        expect(len(found) <= LOCATE_ADDRESSES_MAX, f"it gives {len(found)} addresses for {len(self.peers)} peers")

    async def test_its_reach_is_one_that_there_is(self) -> None:
        """Without it nothing may be dialled."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            expect(getattr(locator, "reach", None) in get_args(Reach), f"its reach is {getattr(locator, 'reach', None)!r}")

    async def test_that_nobody_is_known_is_no_error(self) -> None:
        """A CID that nobody has heard of: nothing, or those who may have anything."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            await self._found(locator, cid_of(2))

    async def test_searches_may_run_side_by_side(self) -> None:
        """They do not disturb each other."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            searches = [self._found(locator, cid_of(number % 2)) for number in range(SEARCHES)]
            for number, found in enumerate(await asyncio.gather(*searches)):
                expect(number % 2 == 0 or set(self.peers) <= set(found), "one of several searches does not find what is known")

    async def test_stopping_early_leaves_nothing(self) -> None:
        """A search that is closed after one address, or before: no task, thread or descriptor is left."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            await self._found(locator, cid_of(1))  # what is made once, is made
            before, tasks = leftovers(), asyncio.all_tasks()
            for pulls in (0, 1):
                async with asyncio.timeout(self.patience_s), aclosing(locator.locate(cid_of(1))) as addresses:
                    for _ in range(pulls):
                        await anext(addresses, None)
                await self._nothing_left(tasks)
            await nothing_left_since(before)

    async def test_cancelling_leaves_nothing(self) -> None:
        """Cancelled at any moment, a search ends with CancelledError, and nothing is left of it."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            await self._found(locator, cid_of(1))
            before, tasks = leftovers(), asyncio.all_tasks()
            for pause in (0.0, 0.001, 0.01, 0.05):
                search = asyncio.create_task(self._found(locator, cid_of(1)))
                await asyncio.sleep(pause)
                search.cancel()
                done, _ = await asyncio.wait([search], timeout=self.patience_s)
                expect(bool(done), "a search that was cancelled does not end")
                expect(search.cancelled() or search.exception() is None, "a search that was cancelled raised another error")
                await self._nothing_left({*tasks, search})
            await nothing_left_since(before)

    async def _nothing_left(self, tasks: set[asyncio.Task[object]]) -> None:
        for _ in range(100):
            if all(task.done() for task in asyncio.all_tasks() - tasks):
                return
            await asyncio.sleep(0.01)
        raise ContractBroken("what is over left tasks behind")

    async def test_bad_servers_are_given_up(self) -> None:
        """One that is silent, drips, hangs up, redirects, floods or talks nonsense is a PeerError, in time, that names it."""
        skip_unless(self.asking("http://127.0.0.1:1"), "it asks no HTTP server")
        behaviours: dict[str, Behaviour] = {
            "is silent": silent(), "drips": drip_head(every_s=0.05), "hangs up": hang_up(), "resets": hang_up(reset=True),
            "talks nonsense": garbage(), "floods": endless(), "sends headers without end": endless_headers(),
        }  # fmt: skip
        for what, behaviour in behaviours.items():
            with HostileServer(behaviour) as server:
                await self._fails(self.asking(server.url), what, str(server.port))
        await self._fails(self.asking("http://127.0.0.1:1"), "is not there", "127.0.0.1:1")

    async def test_a_redirect_is_not_followed(self) -> None:
        """It may lead into our own network."""
        skip_unless(self.asking("http://127.0.0.1:1"), "it asks no HTTP server")
        for status in (301, 302, 303, 307, 308):
            with HostileServer() as elsewhere, HostileServer(redirect(f"{elsewhere.url}/x", status=status)) as server:
                try:
                    found = await self._found(_made(self.asking(server.url)), cid_of(1))
                except ContractBroken:
                    raise
                except Exception:  # noqa: BLE001 - which errors may leave it is looked at elsewhere
                    found = []
                expect(not elsewhere.connections, f"it follows a redirect (status {status})")
                expect(not found, "it finds something in a redirect")

    async def _fails(self, locator: Locator | None, what: str, name: str) -> None:
        try:
            found = await self._found(_made(locator), cid_of(1))
        except PeerError as problem:
            named(problem, name)
        except Exception as problem:
            if isinstance(problem, ContractBroken):
                raise
            raise ContractBroken(f"a server that {what} gives {problem!r}, must be a PeerError") from problem
        else:
            raise ContractBroken(f"a server that {what} gives {found} and no error, must be a PeerError")

    async def test_announcing_is_found_and_leaves_nothing(self) -> None:
        """If it can announce: what is announced is found, and withdrawn in the end."""
        async with self.knowing(cid_of(1), self.peers) as locator:
            skip_unless(isinstance(locator, SupportsAnnounce), "it does not announce")
            address = f"http://127.0.0.1:{41_000 + id(locator) % 20_000}"
            before, tasks = leftovers(), asyncio.all_tasks()
            try:
                async with asyncio.timeout(self.patience_s), _announcing(locator, [address]):
                    found = await self._found(locator, cid_of(1))
                    expect(address in found, f"{address} is announced, and {found} is found")
            except (TimeoutError, LocalError, PeerError) as problem:
                raise ContractBroken(f"announcing fails: {problem!r}") from problem
            await self._nothing_left(tasks)
            await nothing_left_since(before)
            expect(address not in await self._found(locator, cid_of(1)), f"{address} is withdrawn and still found")


def _made(locator: Locator | None) -> Locator:
    if locator is None:
        raise ContractBroken("`asking` gives no locator for one server, and one for another")
    return locator


def _announcing(locator: object, addresses: Sequence[str]) -> AbstractAsyncContextManager[None]:
    if not isinstance(locator, SupportsAnnounce):
        raise ContractBroken("it does not announce any more")
    return locator.announce(addresses)
