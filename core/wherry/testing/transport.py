"""The contract of a transport as tests (specs/0006 §3). Subclass, say how to make one, and let pytest run it::

    class TestAcme(TransportContract):
        def make_transport(self):
            return AcmeTransport(AcmeOptions(idle_timeout=1.0))

        def listen_address(self):
            return "acme://127.0.0.1:0"

        def dial(self, host, port):              # if it runs over TCP: then bad peers are put there
            return f"acme://{host}:{port}"

Take `wherry.testing.source.SourceContract` for one that cannot listen. The time-outs of the transport that is made should
be about a second: the tests wait for them.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from wherry.block import EMPTY_LEAF
from wherry.errors import LocalError, PeerError, UsageError
from wherry.limits import LEAF_BYTES_MAX
from wherry.testing.blocks import CountedPool, fetch_once, harvest
from wherry.testing.chaos import Chaos, ChaosProxy
from wherry.testing.expect import expect
from wherry.testing.hostile import HostileServer, drip_head, endless, endless_headers, garbage, hang_up, redirect, silent
from wherry.testing.leaves import absent_leaf, file_of, right, source_of, unsized
from wherry.testing.outcome import enter, named, raises, skip_unless
from wherry.testing.source import SourceContract
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from wherry.abc.transport import SupportsListen
    from wherry.testing.blocks import MemorySource
    from wherry.testing.hostile import Behaviour
    from wherry.testing.leaves import Leaf


class TransportContract(SourceContract):
    """What a transport must do besides, if it can listen."""

    @abstractmethod
    def listen_address(self) -> str:
        """An address to listen on, free each time: with port 0, or a name not used before."""

    def dial(self, host: str, port: int) -> str | None:
        """The address of a TCP port, to put bad peers there; None for a transport that does not use TCP."""
        del host, port
        return None

    @asynccontextmanager
    async def listening(self, source: MemorySource) -> AsyncIterator[str]:
        """Listens with a transport of its own."""
        transport = cast("SupportsListen", self.make_transport())
        async with transport.listen(self.listen_address(), source) as address:
            yield address

    @asynccontextmanager
    async def offering(self, folder: Path, files: Mapping[str, Sequence[Leaf]]) -> AsyncIterator[str]:
        """See `SourceContract.offering`: listens."""
        del folder
        async with self.listening(source_of(*files.values())) as address:
            yield address

    async def test_unknown_sizes(self, tmp_path: Path) -> None:
        """Wants without a size: as many as fit are answered, one at least, and asking again brings the rest."""
        file = [*file_of("file", *[MiB] * 10, 300, 0, 5000, LEAF_BYTES_MAX), absent_leaf()]
        async with self.channel_to(tmp_path, file[:-1]) as (channel, pool):
            right(await harvest(channel, unsized(file), pool), file, absent={len(file) - 1})
            right(await harvest(channel, unsized(file[:1]), pool), file[:1])

    async def test_the_empty_block(self, tmp_path: Path) -> None:
        """It has no bytes and arrives all the same."""
        file = file_of("file", 10, 0, 10)
        expect(file[1].want.cid == EMPTY_LEAF, "the empty leaf has another name")
        async with self.channel_to(tmp_path, file) as (channel, pool):
            right(await harvest(channel, [leaf.want for leaf in file], pool), file)

    async def test_what_is_gone_is_missing(self) -> None:
        """A block that was found and cannot be read any more is missing, short or long; the connection goes on."""
        short, long = file_of("short", *[1000] * 4), file_of("long", *[400_000] * 4)
        source = source_of(short, long)
        source.gone = {short[1].want.cid, long[0].want.cid}
        async with self.listening(source) as address, self.make_transport().connect(address) as channel:
            pool = CountedPool()
            for file, lost in ((short, 1), (long, 0)):
                found = await harvest(channel, [leaf.want for leaf in file], pool)
                expect(not found.faults and not found.rejected, f"{found.faults or 'wrong bytes'} where a block is gone")
                expect(lost in found.missing, "a block that is gone is not missing")
                source.gone = set()
                right(await harvest(channel, [leaf.want for leaf in file], pool), file)
                source.gone = {long[0].want.cid}

    async def test_what_is_gone_midway_harms_nobody(self) -> None:
        """If it is noticed when a part of the answer was sent: missing, or a PeerError; never wrong bytes."""
        long = file_of("long", *[400_000] * 4)
        source = source_of(long)
        source.gone = {long[2].want.cid}
        async with self.listening(source) as address, self.make_transport().connect(address) as channel:
            pool = CountedPool()
            try:
                found = await harvest(channel, [leaf.want for leaf in long], pool)
                expect(not found.faults and not found.rejected, f"{found.faults or 'wrong bytes'} where a block is gone")
                expect(2 in found.missing, "a block that is gone is not missing")
            except PeerError:
                expect(pool.out == 0, f"{pool.out} lent buffers did not come back")
            source.gone = set()
            right(await harvest(channel, [leaf.want for leaf in long], pool), long)

    async def test_wrong_bytes_are_passed_on_to_be_judged(self) -> None:
        """A source that holds wrong bytes does not disturb the transport: they arrive, and core refuses them."""
        file = file_of("file", 1000, 1000, 200_000)
        source = source_of(file)
        source.blocks[file[1].want.cid] = bytes(1000)
        async with self.listening(source) as address, self.make_transport().connect(address) as channel:
            pool = CountedPool()
            found = await harvest(channel, [leaf.want for leaf in file], pool)
            expect(found.rejected == {1} and set(found.blocks) == {0, 2}, "wrong bytes of one block disturbed the others")
            expect(pool.out == 0, f"{pool.out} lent buffers did not come back")

    async def test_another_length_is_never_handed_over(self) -> None:
        """A block that has another length than its want says is missing, or a PeerError; it is not given to core."""
        file = file_of("file", 1000, 2000)
        wants = [file[0].want._replace(size=999), file[1].want._replace(size=2001)]
        async with self.listening(source_of(file)) as address, self.make_transport().connect(address) as channel:
            pool = CountedPool()
            try:
                found = await fetch_once(channel, wants, pool)
                expect(not found.faults, "; ".join(found.faults))
            except PeerError as problem:
                named(problem)
            expect(pool.out == 0, f"{pool.out} lent buffers did not come back")

    async def test_the_listener_ends_with_its_block(self) -> None:
        """Then nobody connects, an open channel's fetches fail as a peer's, and the source is left alone."""
        file = file_of("file", 1000)
        wants = [leaf.want for leaf in file]
        pool = CountedPool()
        async with asyncio.timeout(2 * self.patience_s):
            listening = self.listening(source_of(file))
            address = await listening.__aenter__()
            try:
                connecting = self.make_transport().connect(address)
                channel = await connecting.__aenter__()
                try:
                    right(await harvest(channel, wants, pool), file)
                finally:
                    await listening.__aexit__(None, None, None)
                await raises(PeerError, harvest(channel, wants, pool), "a fetch from a listener that has ended")
            finally:
                await connecting.__aexit__(None, None, None)
            await raises(PeerError, self._try(address), "connecting to a listener that has ended")
        expect(pool.out == 0, f"{pool.out} lent buffers did not come back")

    async def test_two_listeners_on_one_address(self) -> None:
        """The second one is refused with a LocalError; the first goes on."""
        file = file_of("file", 1000)
        async with self.listening(source_of(file)) as address:
            second = cast("SupportsListen", self.make_transport())
            await raises(LocalError, enter(second.listen(address, source_of(file))), "a second listener on one address")
            async with self.make_transport().connect(address) as channel:
                right(await harvest(channel, [leaf.want for leaf in file], CountedPool()), file)

    async def test_a_malformed_address_is_not_listened_on(self) -> None:
        """It is a UsageError too."""
        transport = cast("SupportsListen", self.make_transport())
        for scheme in sorted(self.make_transport().schemes):
            address = f"no{scheme}://name"
            await raises(UsageError, enter(transport.listen(address, source_of())), f"listening on {address!r}")

    # Peers that misbehave, where the transport uses TCP

    async def test_bad_peers_are_given_up(self) -> None:
        """A peer that is silent, drips, floods, redirects or talks nonsense is a PeerError, in time, that names it."""
        skip_unless(self.dial("127.0.0.1", 1), "it does not use TCP")
        behaviours: dict[str, Behaviour] = {
            "is silent": silent(), "drips": drip_head(every_s=0.05), "hangs up": hang_up(), "resets": hang_up(reset=True),
            "redirects": redirect("http://127.0.0.1:1/"), "talks nonsense": garbage(), "floods": endless(),
            "sends headers without end": endless_headers(),
        }  # fmt: skip
        # All at a time, as most of it is waiting; each is met to its end, so that the first complaint leaves nobody behind.
        met = await asyncio.gather(*[self._meet(*one) for one in behaviours.items()], return_exceptions=True)
        for problem in met:
            if problem is not None:
                raise problem

    async def _meet(self, what: str, behaviour: Behaviour) -> None:
        with HostileServer(behaviour) as server:
            address, name = str(self.dial("127.0.0.1", server.port)), str(server.port)
            await raises(PeerError, self._try(address), f"a peer that {what}", within_s=self.patience_s, name=name)

    async def test_a_dead_address_ends_in_time(self) -> None:
        """Nobody listens there: a PeerError that names it."""
        skip_unless(self.dial("127.0.0.1", 1), "it does not use TCP")
        with HostileServer() as server:
            port = server.port
        address = str(self.dial("127.0.0.1", port))
        await raises(PeerError, self._try(address), "connecting to a dead address", within_s=self.patience_s, name=str(port))

    async def test_a_peer_that_dies_midway(self) -> None:
        """Cut in the middle of an answer, or silent from there on: a PeerError in time; then another fetch works."""
        file = file_of("file", *[300_000] * 12)
        for what, down in (
            ("is cut", Chaos(reset_after=1_000_000)),
            ("ends", Chaos(truncate_at=1_000_000)),
            ("falls silent", Chaos(stall_after=1_000_000)),
        ):
            await self._through(down, file, f"a peer that {what} midway")

    async def _through(self, down: Chaos, file: Sequence[Leaf], what: str) -> None:
        wants, pool = [leaf.want for leaf in file], CountedPool()
        async with self.listening(source_of(file)) as address:
            behind = urlsplit(address)
            host, port = behind.hostname or "", behind.port or 0
            dialled = self.dial(host, port)
            skip_unless(dialled, "it does not use TCP")
            async with (
                ChaosProxy((host, port), down=down) as proxy,
                self.make_transport().connect(str(self.dial(proxy.host, proxy.port))) as channel,
            ):
                await raises(PeerError, harvest(channel, wants, pool), what, within_s=self.patience_s, name=str(proxy.port))
                expect(pool.out == 0, f"after {what}, {pool.out} buffers did not come back")
                proxy.down = Chaos()
                right(await harvest(channel, wants, pool), file)

    async def _try(self, address: str) -> None:
        """Connects and asks for a block."""
        async with self.make_transport().connect(address) as channel:
            await fetch_once(channel, [absent_leaf().want], CountedPool())
