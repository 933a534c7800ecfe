"""The contract of a transport towards a source, as tests (specs/0006 §3): for transports that cannot listen.

Subclass it, say how to make a transport and how its source comes to hold files::

    class TestAcme(SourceContract):
        def make_transport(self):
            return AcmeTransport()

        @asynccontextmanager
        async def offering(self, folder, files):
            for path, leaves in files.items():
                ...
            yield "acme://there"

`wherry.testing.transport.TransportContract` is this and more. The tests know what is right without asking the transport:
each block is made from its number, and each that arrives is hashed by the test.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Final

from wherry.buffers import ROOM
from wherry.errors import UsageError
from wherry.limits import LEAF_BYTES_MAX
from wherry.testing.blocks import CheckingLender, CountedPool, fetch_once, harvest
from wherry.testing.expect import expect
from wherry.testing.leaves import absent_leaf, file_of, right
from wherry.testing.outcome import leftovers, nothing_left_since, raises, skip_unless
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from wherry.abc.transport import Channel, Transport
    from wherry.testing.leaves import Leaf

FETCHES: Final = 64
CANCELS: Final = 20


class SourceContract(ABC):
    """What every transport must do towards a source."""

    patience_s: ClassVar[float] = 15.0  # by then a peer must be given up, whatever it does
    secrets: ClassVar[tuple[str, ...]] = ()  # texts that were given to the transport and must not be shown
    plugin_module: ClassVar[str | None] = None  # the module of the entry point: checked for what its import costs
    heavy: ClassVar[tuple[str, ...]] = ("aiohttp", "asyncio", "ssl")  # what that import must not bring in

    @abstractmethod
    def make_transport(self) -> Transport:
        """Makes a transport; called often, from any thread."""

    @abstractmethod
    def offering(self, folder: Path, files: Mapping[str, Sequence[Leaf]]) -> AbstractAsyncContextManager[str]:
        """Lets a source hold ``files`` (their bytes by path); yields the address to connect to. ``folder`` is empty."""

    @asynccontextmanager
    async def channel_to(self, folder: Path, *leaves: Sequence[Leaf]) -> AsyncIterator[tuple[Channel, CountedPool]]:
        """Connects to a source of these files; in the end every buffer must be back."""
        folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - one folder of a test's own
        pool = CountedPool()
        async with (
            asyncio.timeout(4 * self.patience_s),
            self.offering(folder, {file[0].want.path: file for file in leaves}) as address,
            self.make_transport().connect(address) as channel,
        ):
            yield channel, pool
        expect(pool.out == 0, f"{pool.out} lent buffers did not come back")

    async def test_blocks_come_back(self, tmp_path: Path) -> None:
        """Blocks of many sizes arrive, each with its own bytes, whatever the order of the wants."""
        files = [file_of("a/small", 1, 1000, 65_535), file_of("b", 65_536, 65_537), file_of("c/d/large", MiB, MiB, 777)]
        leaves = [leaf for file in files for leaf in file]
        random.Random(1).shuffle(leaves)
        async with self.channel_to(tmp_path, *files) as (channel, pool):
            for some in (leaves, leaves[:1], leaves[::-1]):
                found = await harvest(channel, [leaf.want for leaf in some], pool)
                right(found, some)

    async def test_neighbours_lie_back_to_back(self, tmp_path: Path) -> None:
        """Leaves that follow each other in a file are laid one behind the other, the first at ROOM."""
        file = file_of("data/run.bin", *[200_000] * 10)
        async with self.channel_to(tmp_path, file) as (channel, pool):
            found = await fetch_once(channel, [leaf.want for leaf in file], pool)
            right(found, file)
            for laid in found.laid:
                expect(not laid or laid[0][1] == ROOM, f"a run begins at {laid[0][1:2]}, not at ROOM ({ROOM})")
                gaps = [before[2] != after[1] for before, after in pairwise(laid)]
                expect(not any(gaps), "blocks that follow each other in a file are laid apart")

    async def test_absent_blocks_are_missing(self, tmp_path: Path) -> None:
        """What the source does not have is said to be missing; the rest arrives."""
        file = file_of("file", 1000, 100_000, 5)
        mixed = [absent_leaf(0), file[0], absent_leaf(1), absent_leaf(2), file[2], file[1], absent_leaf(3)]
        async with self.channel_to(tmp_path, file) as (channel, pool):
            right(await harvest(channel, [leaf.want for leaf in mixed], pool), mixed, absent={0, 2, 3, 6})
            nothing = [absent_leaf(number) for number in range(5)]
            right(await harvest(channel, [leaf.want for leaf in nothing], pool), nothing, absent=set(range(5)))

    async def test_a_block_of_the_largest_size(self, tmp_path: Path) -> None:
        """A block of LEAF_BYTES_MAX arrives, and many small ones beside one another do."""
        large, small = file_of("large", LEAF_BYTES_MAX), file_of("small", *[500] * 512)
        async with self.channel_to(tmp_path, large, small) as (channel, pool):
            right(await harvest(channel, [leaf.want for leaf in large], pool), large)
            right(await harvest(channel, [leaf.want for leaf in small], pool), small)

    async def test_a_block_wanted_twice(self, tmp_path: Path) -> None:
        """Each want is answered, also when two are for one block."""
        file = file_of("file", 1000, 70_000)
        twice = [file[0], file[1], file[0], file[1]]
        async with self.channel_to(tmp_path, file) as (channel, pool):
            right(await harvest(channel, [leaf.want for leaf in twice], pool), twice)

    async def test_many_fetches_at_once(self, tmp_path: Path) -> None:
        """64 fetches from tasks of one loop do not disturb each other."""
        file = file_of("file", *[3000] * FETCHES)
        async with self.channel_to(tmp_path, file) as (channel, pool):
            turns = [[file[number], file[-1 - number]] for number in range(FETCHES)]
            found = await asyncio.gather(*[harvest(channel, [leaf.want for leaf in turn], pool) for turn in turns])
            for one, turn in zip(found, turns, strict=True):
                right(one, turn)

    async def test_stopping_early_gives_everything_back(self, tmp_path: Path) -> None:
        """A fetch that is closed after its first arrival, or before it, keeps no buffer; the channel goes on."""
        file = file_of("file", *[100_000] * 30)
        wants = [leaf.want for leaf in file]
        async with self.channel_to(tmp_path, file) as (channel, pool):
            for pulls in (0, 1):
                async with aclosing(channel.fetch(wants, CheckingLender(wants, pool))) as arrivals:
                    for _ in range(pulls):
                        arrival = await anext(arrivals)
                        if arrival.buffer is not None:
                            arrival.buffer.release()
                expect(pool.out == 0, f"a fetch that was closed keeps {pool.out} buffers")
            right(await harvest(channel, wants, pool), file)

    async def test_cancelling_leaves_nothing(self, tmp_path: Path) -> None:
        """Cancelled at any moment, a fetch ends with CancelledError, its buffers come back, and the channel goes on."""
        file = file_of("file", *[300_000] * 12)
        wants = [leaf.want for leaf in file]
        rng = random.Random(5)
        before = leftovers()
        async with self.channel_to(tmp_path, file) as (channel, pool):
            tasks = set(asyncio.all_tasks())
            for _ in range(CANCELS):
                fetching = asyncio.create_task(harvest(channel, wants, pool))
                await asyncio.sleep(rng.random() * 0.02)
                fetching.cancel()
                done, _ = await asyncio.wait([fetching], timeout=self.patience_s)
                expect(bool(done), "a fetch that was cancelled does not end")
                expect(fetching.cancelled() or fetching.exception() is None, "a fetch that was cancelled raised another error")
                expect(pool.out == 0, f"a fetch that was cancelled keeps {pool.out} buffers")
            await asyncio.sleep(0.05)
            more = {task for task in asyncio.all_tasks() - tasks if not task.done()}
            expect(len(more) <= channel.parallel, f"cancelled fetches left {len(more)} tasks behind")
            right(await harvest(channel, wants, pool), file)
        await nothing_left_since(before)

    async def test_closing_leaves_nothing(self, tmp_path: Path) -> None:
        """Channels that were used and closed leave no thread and no descriptor."""
        file = file_of("file", 1000, 100_000)
        before = leftovers()
        for number in range(3):
            async with self.channel_to(tmp_path / str(number), file) as (channel, pool):
                right(await harvest(channel, [leaf.want for leaf in file], pool), file)
        await nothing_left_since(before)

    async def test_a_malformed_address_is_an_error_of_usage(self) -> None:
        """Also one of another scheme."""
        for scheme in sorted(self.make_transport().schemes):
            for address in (f"{scheme}:", f"no{scheme}://name"):
                await raises(UsageError, self._connect(address), f"connecting to {address!r}")

    def test_its_schemes_are_plain(self) -> None:
        """Lower case, as the schemes of addresses are compared."""
        schemes = self.make_transport().schemes
        expect(bool(schemes) and isinstance(schemes, frozenset), "it says no schemes")
        expect(all(scheme == scheme.lower() and scheme.isascii() for scheme in schemes), f"{schemes} are not lower case")
        expect(not any("+" in scheme for scheme in schemes), f"{schemes} have a '+', which ends the name of a transport")

    async def test_secrets_are_not_shown(self, tmp_path: Path) -> None:
        """Neither the ``repr`` of a transport or channel nor an error shows what is secret."""
        skip_unless(self.secrets, "it has no secrets")
        file = file_of("file", 1000)
        texts = [repr(self.make_transport())]
        async with self.channel_to(tmp_path, file) as (channel, _):
            texts.append(repr(channel))
        for scheme in self.make_transport().schemes:
            for secret in self.secrets:
                try:
                    await self._connect(f"{scheme}://user:{secret}@127.0.0.1:1")
                except Exception as problem:  # noqa: BLE001 - of whatever kind: another test looks at that
                    texts += [str(problem), repr(problem)]
        shown = [secret for secret in self.secrets for text in texts if secret in text]
        expect(not shown, "a secret is shown by repr, or in an error")

    def test_its_plugin_is_light(self) -> None:
        """Importing the plugin's module brings in none of ``heavy``."""
        skip_unless(self.plugin_module, "it names no plugin_module")
        code = "import sys; __import__(sys.argv[1]); print(*[name for name in sys.argv[2:] if name in sys.modules])"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.plugin_module), *self.heavy], capture_output=True, text=True, env=environ,
            check=False,
        )  # fmt: skip
        expect(done.returncode == 0, f"{self.plugin_module} does not import: {done.stderr}")
        expect(not done.stdout.split(), f"importing {self.plugin_module} imports {done.stdout.strip()}")

    def test_its_provider_is_right(self) -> None:
        """What the plugin's hook gives has a name, a summary, options that can be made, and speaks the API."""
        skip_unless(self.plugin_module, "it names no plugin_module")
        from importlib import import_module

        from wherry.plugin.check import offers
        from wherry.plugin.installed import Found

        name = str(self.plugin_module)
        found = Found("under-test", name, "under-test", "0", lambda: import_module(name))
        offered = offers(found, builtin=name.startswith("wherry_"))
        expect(any(kind == "transport" for kind, _ in offered), f"{name} offers no transport")

    async def _connect(self, address: str) -> None:
        async with self.make_transport().connect(address):
            pass
