"""``cache``: a look-up among a million blocks on disk, and what keeping blocks coded costs and saves."""

from __future__ import annotations

import random
import time
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING, Final

from wherry.abc.cache import Kept
from wherry.block import named
from wherry.cid import RAW
from wherry.errors import WherryError
from wherry.limits import BUFFER_BYTES
from wherry.store.cached import Cached
from wherry.units import MiB
from wherry.wiring import Wiring
from wherry_cli.bench.figure import Arm, Bound, Figure, Report, Run, Table, percentile
from wherry_cli.bench.samples import SAMPLES
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from wherry.abc.cache import Cache
    from wherry.block import Block
    from wherry_cli.bench.workspace import Workspace

LOOKUP_BOUND: Final = Bound("below", 1.0)  # ms
BLOCKS: Final = 1_000_000
COLUMNS: Final = ("cache", "compressor", "data", "in MB/s", "out MB/s", "kept of it")
CACHES: Final = ("disk", "memory", "tiered")
COMPRESSORS: Final = ("identity", "zstd")
_BLOCKS_A_SAMPLE: Final = 32  # bytes of the scale's sample for each block: 32 MiB stand for the million
_AT_ONCE: Final = 10_000
_LOOKUPS: Final = 5000  # a round
_BLOCK_BYTES: Final = 8  # so that it is rows that are looked up, and filling takes no disk


def cache(space: Workspace) -> Report:
    """Measures both, in this process."""
    count = min(BLOCKS, space.scale.sample_bytes // _BLOCKS_A_SAMPLE)
    arms, figures = _lookups(space, count)
    rows, notes = _codings(space)
    return Report(
        "cache",
        f"look-ups among {count:,} blocks on disk; blocks of 1 MiB put and read, verified, kept plain and coded",
        arms=arms,
        figures=figures,
        notes=notes,
        table=Table(COLUMNS, rows),
        at_full_size=count == BLOCKS and space.scale.sample_bytes >= Scale().sample_bytes,
    )


def _block(number: int) -> Kept:
    cid, data = named(RAW, number.to_bytes(_BLOCK_BYTES, "big"))
    return Kept(cid, data, _BLOCK_BYTES)


def _lookups(space: Workspace, count: int) -> tuple[list[Arm], list[Figure]]:
    held, absent = Arm("look-ups of what is held", unit="look-ups"), Arm("look-ups of what is not", unit="look-ups")
    held.count = absent.count = _LOOKUPS
    chance = random.Random(1)  # noqa: S311 - the same look-ups every time are what is wanted
    times: dict[str, list[float]] = {held.name: [], absent.name: []}
    with closing(Wiring(space.folder / "lookups", None, space.environ).cache("disk")) as part:
        for at in range(0, count, _AT_ONCE):
            part.put_many([_block(number) for number in range(at, min(count, at + _AT_ONCE))])
        for _ in range(space.scale.rounds):
            for arm, base in ((held, 0), (absent, count)):
                numbers = [base + chance.randrange(count) for _ in range(_LOOKUPS)]
                taken = _timed(part, numbers, expected=arm is held)
                times[arm.name] += taken
                arm.runs.append(Run(sum(taken), {"p99_ms": percentile(taken, 99) * 1e3}))
    figures = []
    for arm, what in ((held, "a block that is held"), (absent, "a block that is not")):
        figures += [
            Figure(f"{what}, median", percentile(times[arm.name], 50) * 1e3, "ms"),
            Figure(f"{what}, 99th percentile", percentile(times[arm.name], 99) * 1e3, "ms", LOOKUP_BOUND),
        ]
    return [held, absent], figures


def _timed(part: Cache, numbers: list[int], *, expected: bool) -> list[float]:
    taken = []
    for cid in [_block(number).cid for number in numbers]:
        began = time.perf_counter()
        found = part.sizes([cid])[0]
        taken.append(time.perf_counter() - began)
        if (found is not None) != expected:
            raise WherryError("the cache forgot a block, or knows one that it was never given")
    return taken


def _codings(space: Workspace) -> tuple[list[list[str | float | None]], list[str]]:
    """Gives a row for each cache, compressor and sort of data: the medians of the rounds."""
    rows: list[list[str | float | None]] = []
    notes: list[str] = []
    for data, make in SAMPLES.items():
        view = memoryview(make(space.scale.sample_bytes))
        blocks = [named(RAW, bytes(view[at : at + MiB])) for at in range(0, len(view), MiB)]
        for compressor in COMPRESSORS:
            for name in CACHES:
                try:
                    rows.append([name, compressor, data, *_moved(space, name, compressor, blocks)])
                except WherryError as problem:
                    notes.append(f"{name} with {compressor} is left out: {problem}")
    return rows, notes


def _moved(space: Workspace, name: str, compressor: str, blocks: list[Block]) -> list[float]:
    """Gives the rates in and out, in MB/s, and the share of the bytes that is kept."""
    environ = {**space.environ, "WHERRY_COMPRESSOR__USE": compressor}
    wiring = Wiring(space.folder / f"kept-{name}", None, environ)
    size = sum(len(block.data) for block in blocks)
    batches = [blocks[at : at + BUFFER_BYTES // MiB] for at in range(0, len(blocks), BUFFER_BYTES // MiB)]
    into, out, shares = [], [], []
    with closing(Cached(wiring.cache(name), lambda: wiring.codings)) as cached:
        for _ in range(space.scale.rounds):
            cached.clear()
            began = time.perf_counter()
            for batch in batches:
                cached.put(batch)
            middle = time.perf_counter()
            found = [cached.get([block.cid for block in batch]) for batch in batches]
            out.append(size / 1e6 / (time.perf_counter() - middle))
            into.append(size / 1e6 / (middle - began))
            shares.append(cached.usage().bytes / size)
            if any(some.get(block.cid) not in (None, block) for some in found for block in blocks):
                raise WherryError("other bytes came out than went in")
        cached.clear()
    return [median(into), median(out), median(shares)]
