"""What every verb of a session stands on, once: the home, and the way from a name to a CID, addresses and a fetcher.

Each family of verbs is a file beside this one. What only some verbs need is imported where it is used, here as there.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from functools import partial
from inspect import isfunction
from typing import TYPE_CHECKING, NamedTuple

from wherry.address import multiaddr_host
from wherry.block import Block
from wherry.cid import CID  # noqa: TC001 - a field's type
from wherry.errors import UsageError, WherryError
from wherry.observe import quiet as untold
from wherry.offload import in_thread
from wherry.session.given import checked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from wherry.config import Config
    from wherry.dial import Dial
    from wherry.flow import Flow
    from wherry.gateway.blocks import Blocks
    from wherry.manifest import Entry
    from wherry.observe import Emit, Event, Observe
    from wherry.publiccid import PublicCID
    from wherry.results import NameReport
    from wherry.store.home import Home
    from wherry.store.store import Store
    from wherry.ticket import Ticket
    from wherry.traffic import Traffic
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.locate import Finder
    from wherry.transfer.node import Node
    from wherry.transfer.tree import Nodes
    from wherry.transfer.why import Ledger
    from wherry.wiring import Wiring

# Time that passes also while a machine sleeps, where the system counts that: a laptop that wakes was not put forward.
_PASSING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
READING = "read"  # the transfer under which single blocks are fetched: listings, parts of files


class What(NamedTuple):
    """What a verb was asked for."""

    cid: CID
    path: str = ""
    ticket: Ticket | None = None
    inline: Block | None = None  # the block, where the CID carries it


class Parts:
    """An open home without verbs. A family of verbs is a subclass; a session is all of them."""

    def __init_subclass__(cls) -> None:
        """Has every verb of the family look at what it is given: one that is new cannot forget it."""
        super().__init_subclass__()
        for name, verb in list(vars(cls).items()):
            if isfunction(verb) and not name.startswith("_"):
                setattr(cls, name, checked(verb))

    def __init__(self, home: Home, wiring: Wiring, store: Store, set_aside: list[str] | None = None) -> None:
        """``set_aside``: damaged databases that were put away; None: this session does not have the home alone."""
        self._set_aside = set_aside
        self._home = home
        self._own_wiring = wiring
        self._own_store = store
        self._closed = False
        self._own_node: Node | None = None
        # The clock by which names are valid, in seconds since 1970, and what waits by it (D8).
        self._clock: Callable[[], float] = time.time
        self._passed: Callable[[], float] = partial(time.clock_gettime, _PASSING)  # goes on whatever becomes of that clock
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._renewed: Callable[[], list[NameReport]] = list  # what `serve` says of the names that it renews

    @property
    def home(self) -> Path:
        """The folder of this session's home."""
        return self._home.path

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._own_wiring.config

    @property
    def traffic(self) -> Traffic:
        """What this session uses of the link, and may use: limits can be changed while it runs (specs/0026)."""
        return self._wiring.traffic

    @property
    def _wiring(self) -> Wiring:
        """The parts of the node. Every verb takes them, or the store, from here. Raises UsageError where it is over."""
        self._check_open()
        return self._own_wiring

    @property
    def _store(self) -> Store:
        """What this home holds. Raises as `_wiring`."""
        self._check_open()
        return self._own_store

    def _check_open(self) -> None:
        if self._home.inherited:
            raise another_process()
        if self._closed:
            raise closed()

    @property
    def _emit(self) -> Emit:
        """Takes events for the observers, as long as the session is open."""
        return untold if self._closed or self._home.inherited else self._own_wiring.emit

    @property
    def _node(self) -> Node:
        """What this process is in the swarm; made when first needed, for the loop that is running."""
        if self._own_node is None:
            from wherry.swarm.options import SwarmOptions
            from wherry.transfer.node import Node

            given = self.config.swarm
            options = SwarmOptions(peers=given.peers, followers=given.followers, upload_bytes=given.upload, reveal=given.reveal)
            circle = self._wiring.circle
            self._own_node = Node(self._store, circle.judge, options, parted=circle.gave, flow=self._wiring.serving)
            self._wiring.exchange = self._own_node.swarm
        return self._own_node

    async def _unnamed(self, what: str | CID, sources: Sequence[str], observe: Observe | None = None) -> str:
        """Gives what a name leads to, and anything that is no name as it is. Raises what resolving does."""
        from wherry.ipns.name import split
        from wherry.ticket import PREFIX

        what = str(what)
        if what.startswith(PREFIX) or split(what) is None:
            return what
        from wherry.session.names import led

        return await led(self, what, sources, observe)

    def _parse(self, what: str | CID) -> What:
        """Reads ``CID[/PATH]``, of any public form, or a ticket. Raises CIDError, DataError."""
        from wherry.publiccid import parse_path
        from wherry.ticket import PREFIX, Ticket

        what = str(what)
        if what.startswith(PREFIX):
            ticket = Ticket.parse(what)
            return What(ticket.cid, "", ticket)
        public, path = parse_path(what)
        cid, inline = public.block(), public.inline
        return What(cid, path, None, Block(cid, inline) if inline is not None else None)

    def _source(self, what: str, sources: Sequence[str]) -> tuple[What, list[str]]:
        """Reads what to get, and where from. Raises what both raise."""
        asked = self._parse(what)
        return asked, self._addresses(sources, asked.ticket)

    def _addresses(self, sources: Sequence[str], ticket: Ticket | None) -> list[str]:
        """Gives the addresses to ask: those named and those of the ticket. Where there is none, locators are asked."""
        peers = self.config.peers
        named = [_address(peers.get(source, source)) for source in sources] + list(ticket.addresses if ticket else ())
        addresses = list(dict.fromkeys(named))
        for address in addresses:
            self._wiring.transport(address)  # says now, not in the middle, that nothing speaks it
        return addresses

    def _finder(self, observe: Observe | None) -> Finder:
        from wherry.transfer.locate import Finder

        def usable(address: str, dial: Dial) -> str:
            try:
                transport = self._wiring.transport(address, dial=dial)
            except WherryError as problem:
                return problem.message
            if dial.reach != "named" and not transport.obeys_dial:
                return "its transport does not keep to the address policy"
            return ""

        return Finder(self._wiring.locators, usable, quiet(observe or self._emit), budget=self._wiring.dial_budget)

    def _fetcher(
        self,
        cid: CID,
        addresses: Sequence[str],
        wait_s: float | None,
        observe: Observe | None,
        ledger: Ledger | None = None,
        *,
        flow: Flow | None = None,
    ) -> Fetcher:
        """Makes what fetches ``cid``: from ``addresses``, or from whom locators find if there are none.

        ``flow`` is of the transfer; None: the one of everything that is read for somebody who waits for it.
        """
        from wherry.transfer.fetch import Fetcher

        wiring = self._wiring
        finder = None if addresses else self._finder(observe)
        return Fetcher(
            addresses, finder.connecting(wiring.connect) if finder else wiring.connect, wiring.pool,
            wait_s=self.config.get.wait if wait_s is None else wait_s, observe=quiet(observe or self._emit),
            policy=wiring.policy() if len(addresses) != 1 else None,
            find=partial(finder.addresses, cid) if finder else None, emit=self._emit, ledger=ledger, circle=wiring.circle,
            flow=wiring.traffic.flow(READING, "interactive") if flow is None else flow, lost=self._why_lost,
        )  # fmt: skip

    def _why_lost(self, cid: CID) -> str:
        """Says why a block that lay in files of this machine is not there any more; nothing where none ever did."""
        from wherry.store.held import why_lost

        held = self._store.find([cid])[0]
        return why_lost(held) if held is not None else ""

    @asynccontextmanager
    async def _reading(
        self, what: str | CID, sources: Sequence[str], observe: Observe | None = None
    ) -> AsyncIterator[tuple[Nodes, Fetcher, Entry]]:
        """Resolves ``CID[/PATH]``; fetches what is not here from the sources."""
        from wherry.transfer.running import running
        from wherry.transfer.tree import Nodes

        cid, path, ticket, inline = self._parse(await self._unnamed(what, sources, observe))
        fetcher = self._fetcher(cid, self._addresses(sources, ticket), None, observe)
        nodes = Nodes(self._store, fetcher, self._wiring.locksmith)
        if inline is not None:
            nodes.know(inline)
        try:
            async with running(fetcher):
                entry = (await nodes.root(cid)).entry
                yield nodes, fetcher, await nodes.find(entry, path) if path else entry
        finally:
            await in_thread(nodes.flush)

    @asynccontextmanager
    async def _blocks(
        self, what: str | CID, sources: Sequence[str], observe: Observe | None = None, *, local: bool = False
    ) -> AsyncIterator[tuple[Blocks, PublicCID, list[str]]]:
        """Gives blocks by their public CIDs, also those of sources, for a thread; and the CID and path that ``what`` says.

        ``local``: where no source is named nobody is asked.
        """
        from wherry.publiccid import PublicCID, parse_path
        from wherry.ticket import PREFIX, Ticket

        text = await self._unnamed(what, sources, observe)
        ticket = Ticket.parse(text) if text.startswith(PREFIX) else None
        root, path = (PublicCID(bytes(ticket.cid)), "") if ticket is not None else parse_path(text)
        parts = [part for part in path.split("/") if part]
        if local and not sources:
            from wherry.gateway.blocks import Blocks

            yield Blocks(self._store), root, parts
            return
        from wherry.transfer.fetched import FetchedBlocks
        from wherry.transfer.running import running

        fetcher = self._fetcher(root.block(), self._addresses(sources, ticket), None, observe)
        blocks = FetchedBlocks(self._store, fetcher)
        async with running(fetcher):
            try:
                yield blocks, root, parts
            finally:
                await blocks.close()


def closed() -> UsageError:
    """Gives what a session that was left answers to every verb."""
    return UsageError("the session is closed", hint="call verbs inside its `with` block, or open another one")


def another_process() -> UsageError:
    """Gives what a session answers in a fork of the process that opened it, where no thread of it is."""
    hint = "open one in each process: in a worker, when it first needs it"
    return UsageError("this session was opened in another process", hint=hint)


def absolute(path: str) -> str:
    """Gives the whole path that the user meant by ``path``; links in it stay."""
    return os.path.abspath(os.path.expanduser(path))


def quiet(observe: Observe | None) -> Observe:
    """Gives ``observe``, or one that does nothing."""

    def nobody(event: Event) -> None:
        del event

    return observe or nobody


def _address(source: str) -> str:
    """Gives the address of what may be the bare multiaddr of a libp2p peer, as other tools print it (specs/0035 §2)."""
    return (
        f"libp2p:{source}" if source.startswith("/") and ("/p2p/" in source or multiaddr_host(f"libp2p:{source}")) else source
    )
