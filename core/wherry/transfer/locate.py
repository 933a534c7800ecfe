"""Asks all locators in use for peers, at once, and believes none of them (specs/0018 §3).

What a locator gives are hints: text from strangers. Here they are bounded in number and in time, checked, and each is kept
with the address policy that it must be dialled with. A locator that fails, hangs, floods or lies costs a note and nothing
else; what its peers send is verified as anybody's.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from wherry.abc.locator import Found
from wherry.address import ADDRESS, multiaddr_host, split_address
from wherry.dial import LAN, NAMED, PUBLIC, Dial, network_of
from wherry.dialling import DialBudget
from wherry.errors import LocalError, PeerDenied, PeerError, UsageError, WherryError
from wherry.limits import ADDRESS_CHARS_MAX, HEARSAY_MAX, LOCATE_ADDRESSES_MAX, LOCATE_FOREIGN_MAX, LOCATE_LONG_S, LOCATE_S
from wherry.observe import Note
from wherry.redaction import masked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.locator import Locator
    from wherry.abc.transport import Channel
    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.transfer.fetch import Connect

_DIALS: Final = {"named": NAMED, "lan": LAN, "public": PUBLIC}
_WIDTH: Final = ("public", "lan", "named")
_END_S: Final = 1.0  # what a locator that is stopped may take to let go
_WORDS_MAX: Final = 8  # protocols kept of one hint
_WORD_CHARS_MAX: Final = 64
_SHOWN_CHARS_MAX: Final = 160  # of what cannot be dialled
_FAULT_CHARS_MAX: Final = 200
_RESOLVED_MAX: Final = 8  # addresses of one name that count


class Hint(NamedTuple):
    """One address that a locator gave."""

    locator: str  # its name in the configuration
    address: str  # as it was given, shortened if it is too long
    reach: str
    fault: str = ""  # why it is not used
    peer: str = ""  # its id, as the locator was told
    protocols: tuple[str, ...] = ()  # likewise
    complete: bool | None = None  # likewise, whether it has everything
    foreign: bool = False  # it is of another protocol: shown to who asks, and of no use to a transfer


class Finder:
    """The locators of one node, and what they said. For one loop."""

    def __init__(
        self,
        locators: Callable[[], Sequence[tuple[str, Locator]]],
        usable: Callable[[str, Dial], str],
        observe: Observe,
        *,
        budget: DialBudget | None = None,
        patience_s: float = LOCATE_S,
    ) -> None:
        """``locators`` are made when they are asked, ``patience_s`` seconds for all at once but those that need longer.

        ``usable`` says why an address cannot be dialled in that way, or "". ``budget`` is that of the process, for addresses
        that nobody vouches for.
        """
        self._locators = locators
        self._usable = usable
        self._observe = observe
        self._budget = budget or DialBudget()
        self._patience_s = patience_s
        self._dials: dict[str, Dial] = {}
        self._heard = 0  # of these, how many came from peers

    def dial(self, address: str) -> Dial:
        """Gives the policy with which ``address`` must be dialled: the widest of those who gave it; NAMED if none did."""
        return self._dials.get(address, NAMED)

    async def hints(self, cid: CID) -> AsyncGenerator[Hint, None]:
        """Gives what the locators say, as it comes; each address of a locator once, those that are of no use with the fault.

        Raises what making the locators raises: PluginError, ConfigError.
        """
        said: asyncio.Queue[Hint | None] = asyncio.Queue()
        locators = self._locators()
        tasks = {asyncio.create_task(self._ask(name, locator, cid, said)) for name, locator in locators}
        for task in tasks:
            task.add_done_callback(lambda _: said.put_nowait(None))
        asking = len(tasks)
        loop = asyncio.get_running_loop()
        end = loop.time() + max((self._patience(locator) for _, locator in locators), default=0.0) + _END_S
        try:
            while asking:
                # No timeout around the whole: it would end whoever takes the hints, not this.
                hint = await asyncio.wait_for(said.get(), max(0.0, end - loop.time()))
                if hint is None:
                    asking -= 1
                else:
                    yield hint
        except TimeoutError:  # each was stopped in time; this one does not let itself be
            self._note("a locator does not let itself be stopped; it is left behind")
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_END_S)

    async def addresses(self, cid: CID) -> AsyncGenerator[str, None]:
        """Gives addresses to ask for ``cid``, as they become known, each once."""
        async with aclosing(self.hints(cid)) as hints:
            async for hint in hints:
                if hint.foreign:
                    continue
                if hint.fault:
                    self._note(f"the locator {hint.locator} gives {hint.address!a}, which is not used: {hint.fault}", "info")
                    continue
                if self.keep(hint):
                    yield hint.address

    def keep(self, hint: Hint) -> bool:
        """Keeps how the address of a hint without fault is dialled, for `connecting`; tells whether it is a new one."""
        return self._taken(hint.address, hint.reach)

    def hear(self, address: str, reach: Literal["lan", "public"]) -> bool:
        """Takes an address that a peer named, to be dialled as ``reach`` allows; False if it is known, or of no use.

        What is taken is connected to with `connecting`. All peers together name HEARSAY_MAX, as each locator does.
        """
        if self._heard >= HEARSAY_MAX or self._judged("a peer", address, reach).fault or not self._taken(address, reach):
            return False
        self._heard += 1
        return True

    def _taken(self, address: str, reach: str) -> bool:
        """Keeps how ``address`` is dialled; tells whether it is new, and to be used."""
        known = self._dials.get(address)
        if known is None or _WIDTH.index(known.reach) < _WIDTH.index(reach):
            self._dials[address] = _DIALS[reach]
        return known is None

    def connecting(self, connect: Callable[[str, Dial], AbstractAsyncContextManager[Channel]]) -> Connect:
        """Makes the function that connects to what was found, each address with its policy.

        What others named waits for its turn in the dial budget. An address that looked right and is not turns into
        PeerDenied: it was not the user's mistake.
        """

        @asynccontextmanager
        async def connecting(address: str) -> AsyncIterator[Channel]:
            connected = False
            dial = self.dial(address)
            networks = await self._turn(address) if dial.reach != "named" else ()
            try:
                async with connect(address, dial) as channel:
                    connected = True
                    self._budget.answered(networks)
                    yield channel
            except UsageError as problem:
                if connected or address not in self._dials:
                    raise
                raise PeerDenied(f"{masked(address)} cannot be dialled: {problem.message}", peer=address) from problem

        return connecting

    async def _turn(self, address: str) -> frozenset[str]:
        """Waits until ``address`` may be dialled; gives the networks for which a dial was taken."""
        loop = asyncio.get_running_loop()
        networks = await _networks(address)
        while True:
            wait_s = self._budget.take(networks, loop.time())
            if wait_s == 0.0:
                return networks
            await asyncio.sleep(wait_s)

    async def _ask(self, name: str, locator: Locator, cid: CID, said: asyncio.Queue[Hint | None]) -> None:
        seen: set[str] = set()
        count, foreign, patience_s = 0, 0, self._patience(locator)
        try:
            reach = locator.reach
            if reach not in _DIALS:
                raise ValueError(f"its reach is {str(reach)[:20]!a}")
            async with asyncio.timeout(patience_s), aclosing(locator.locate(cid)) as addresses:
                async for address in addresses:
                    hint = self._judged(name, address, reach)
                    foreign += hint.foreign
                    count += not hint.foreign or foreign > 10 * LOCATE_FOREIGN_MAX  # rubbish counts too
                    if hint.address not in seen and not (hint.foreign and foreign > LOCATE_FOREIGN_MAX):
                        said.put_nowait(hint)
                    seen.add(hint.address)
                    if count >= LOCATE_ADDRESSES_MAX:
                        break
                    await asyncio.sleep(0)  # one that never waits must not keep the others from it
        except TimeoutError:
            self._note(f"the locator {name} was stopped after {patience_s:.0f} s")
        except (PeerError, LocalError) as problem:
            advice = f" ({problem.hint})" if problem.hint else ""
            self._note(f"the locator {name} failed: {problem.message}{advice}")
        except Exception as problem:  # noqa: BLE001 - whatever a stranger's locator raises, the verb goes on without it
            what = problem.message if isinstance(problem, WherryError) else f"{type(problem).__name__}: {problem}"
            self._note(f"the locator {name} is broken: {what[:200]}")

    def _patience(self, locator: Locator) -> float:
        """Gives the seconds that a locator gets."""
        own = getattr(locator, "patience_s", None)
        return min(own, LOCATE_LONG_S) if isinstance(own, int | float) and own > self._patience_s else self._patience_s

    def _judged(self, name: str, address: object, reach: str) -> Hint:
        """Looks at one hint. Runs no code of strangers, but for transports that are configured."""
        if not isinstance(address, str):
            return Hint(name, str(type(address).__name__), reach, "it is no text")
        if isinstance(address, Found) and address.fault:
            return _foreign(name, address, reach)
        if len(address) > ADDRESS_CHARS_MAX:
            return Hint(name, address[:80] + "...", reach, f"it has {len(address)} characters")
        if not ADDRESS.fullmatch(address):
            return Hint(name, address[:80], reach, "it is no address")
        fault = self._usable(str(address), _DIALS[reach])
        if not isinstance(address, Found):
            return Hint(name, address, reach, fault)
        return Hint(name, str(address), reach, fault, *_hearsay(address))

    def _note(self, text: str, level: Literal["info", "warning"] = "warning") -> None:
        self._observe(Note(level, text))


def _hearsay(found: Found) -> tuple[str, tuple[str, ...], bool | None]:
    """Gives what else was said of an address, within bounds."""
    words = tuple(str(word)[:_WORD_CHARS_MAX] for word in found.protocols[:_WORDS_MAX])
    return str(found.peer)[:_WORD_CHARS_MAX], words, None if found.complete is None else bool(found.complete)


def _foreign(name: str, found: Found, reach: str) -> Hint:
    fault = str(found.fault)[:_FAULT_CHARS_MAX]
    return Hint(name, str(found)[:_SHOWN_CHARS_MAX], reach, fault, *_hearsay(found), foreign=True)


async def _networks(address: str) -> frozenset[str]:
    """Gives the networks that ``address`` leads to. A name that does not resolve counts as one of its own."""
    plain = split_address(address)[1]
    try:
        parts = urlsplit(plain)
        host, port = parts.hostname or multiaddr_host(plain), parts.port
    except ValueError:
        host, port = "", None
    if not host:
        return frozenset()
    if literal := network_of(host):
        return frozenset((literal,))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port or 0)
    except (OSError, UnicodeError):
        return frozenset((host,))
    return frozenset(filter(None, (network_of(str(where[0])) for *_, where in found[:_RESOLVED_MAX]))) or frozenset((host,))
