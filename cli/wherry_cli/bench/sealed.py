"""``get-sealed`` and ``add-sealed``: an encrypted dataset beside the same data in the open (specs/0016).

Sealed leaves come from one of two places. The publisher, and who has the key, makes them again from the plain file; whoever
has no key keeps them in the cache. The readers do the same work in both: verify, open, write.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from wherry.block import Block
from wherry.cid import CID, RAW
from wherry.errors import BlockNotFound, UsageError
from wherry.sealing import blocks
from wherry.sealing.header import decode
from wherry.units import GiB, MiB
from wherry.wiring import Wiring
from wherry_cli.bench import data
from wherry_cli.bench.figure import Bound, Report, Run, faster, slower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wherry.store.store import Store
    from wherry_cli.bench.workspace import Outcome, Workspace

CACHED_BOUND: Final = Bound("at least", 0.6)
REMADE_BOUND: Final = Bound("at least", 0.4)
SEALED_BYTES: Final = GiB  # of the file: it, its sealed blocks and the copy that is written fit into the page cache together
PLAIN: Final = "wherry get, open"
CACHED: Final = "wherry get, encrypted, from the cache of a relay without the key"
REMADE: Final = "wherry get, encrypted, remade from the plain file"
ADD: Final = "wherry add"
ADD_SEALED: Final = "wherry add --encrypt"
_KEY: Final = "bench"
_AT_ONCE: Final = 8 * MiB  # of sealed blocks that go to the relay together


def get_sealed(space: Workspace) -> Report:
    """Gets one file three times: in the open, sealed from a relay's cache, and sealed as the publisher makes it again."""
    source, size = _source(space)
    output = space.folder / "output"
    with ExitStack() as stack:
        publisher, relay = stack.enter_context(space.home()), stack.enter_context(space.home())
        open_cid = space.wherry(publisher, "add", str(source)).result["cid"]
        sealed_cid = add_encrypted(space, publisher, str(source)).result["cid"]
        fill_relay(space, publisher, relay, CID.parse(sealed_cid))
        served, relayed = stack.enter_context(space.serving(publisher)), stack.enter_context(space.serving(relay))

        def arm(cid: str, address: str) -> Callable[[], Run]:
            def run() -> Run:
                space.remove(output)
                with space.home() as home:
                    give_key(publisher, home)
                    space.settle()
                    got = space.wherry(home, "get", cid, "--from", address, "-o", str(output))
                data.check_copied(output, (1, size))
                space.remove(output)
                return got.run()

            return run

        found = space.compare(
            {
                PLAIN: arm(open_cid, served.address),
                CACHED: arm(sealed_cid, relayed.address),
                REMADE: arm(sealed_cid, served.address),
            },
            count=size / 1e6,
        )
    plain, cached, remade = found[PLAIN], found[CACHED], found[REMADE]
    return Report(
        "get-sealed",
        f"getting an encrypted file of {size / 1e6:,.0f} MB over loopback HTTP into a file",
        arms=[plain, cached, remade],
        figures=[
            faster("rate from cached sealed blocks, against the open file", cached, plain, CACHED_BOUND),
            faster("rate of remade sealed blocks, against the open file", remade, plain, REMADE_BOUND),
        ],
        at_full_size=size >= SEALED_BYTES,
    )


def add_sealed(space: Workspace) -> Report:
    """Adds the same file in the open and encrypted, from the page cache."""
    source, size = _source(space)

    def arm(*how: str) -> Callable[[], Run]:
        def run() -> Run:
            with space.home() as home:
                new_key(space, home)
                space.settle()
                return space.wherry(home, "add", *how, str(source)).run()

        return run

    found = space.compare({ADD: arm(), ADD_SEALED: arm("--encrypt", _KEY)}, count=size / 1e6)
    return Report(
        "add-sealed",
        f"adding a file of {size / 1e6:,.0f} MB that lies in the page cache, encrypted and in the open",
        arms=[found[ADD], found[ADD_SEALED]],
        figures=[slower("time of an encrypting add, against an open one", found[ADD_SEALED], found[ADD], None)],
        at_full_size=size >= SEALED_BYTES,
    )


def _source(space: Workspace) -> tuple[Path, int]:
    """The file that is sealed: of its own size, as three of it must fit into the page cache."""
    size = min(space.scale.large_bytes, SEALED_BYTES)
    path = space.folder / "sealed.bin"
    if not path.exists():
        space.say(f"making a file of {size / 1e6:,.0f} MB")
        data.make_large(path, size)
    data.warm(path)
    return path, size


def new_key(space: Workspace, home: Path) -> None:
    """Makes a key domain in ``home``."""
    space.wherry(home, "keys", "new", _KEY)


def give_key(giver: Path, taker: Path) -> None:
    """Puts the keys of one home into another, as a backup would: with their modes."""
    taker.mkdir(exist_ok=True)
    shutil.copytree(giver / "keys", taker / "keys")


def add_encrypted(space: Workspace, home: Path, source: str) -> Outcome:
    """Adds ``source`` encrypted under a key that is made for it. Raises WherryError."""
    new_key(space, home)
    return space.wherry(home, "add", "--encrypt", _KEY, source)


def fill_relay(space: Workspace, publisher: Path, relay: Path, cid: CID) -> None:
    """Puts every block of an encrypted dataset into another home, which has no key: leaves into its cache.

    Raises BlockNotFound for a block that the publisher cannot make, LocalError.
    """
    relay.mkdir(exist_ok=True)
    with _store(space, publisher) as here, _store(space, relay) as there:
        nodes = here.nodes.get_many([cid])
        header = decode(nodes[cid])
        there.nodes.put_many(list(nodes.values()))
        walk = blocks.walk(header.blocks)
        step = next(walk)
        while True:
            if isinstance(step, CID):
                found = here.nodes.get_many([step])
                there.nodes.put_many(list(found.values()))
                step = walk.send(found[step])
                continue
            _copy(here, there, [one.cid for one in step])
            try:
                step = next(walk)
            except StopIteration:
                return


def _copy(here: Store, there: Store, cids: Sequence[CID]) -> None:
    cache = there.cache
    if cache is None:
        raise UsageError("a relay needs a cache", hint="take the benchmark's own configuration")
    waiting: list[Block] = []
    size = 0
    for cid, held in zip(cids, here.find(cids), strict=True):
        if held is None:
            raise BlockNotFound(f"the publisher lacks block {cid}")
        sealed = bytearray(held.size)
        held.read_into(memoryview(sealed))
        block = Block(cid, bytes(sealed))
        if cid.codec != RAW:
            there.nodes.put_many([block])
            continue
        waiting.append(block)
        size += held.size
        if size >= _AT_ONCE:
            cache.put(waiting)
            waiting, size = [], 0
    cache.put(waiting)


@contextmanager
def _store(space: Workspace, home: Path) -> Iterator[Store]:
    store = Wiring(home, space.config, space.environ).store()
    try:
        yield store
    finally:
        store.close()
