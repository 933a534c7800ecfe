"""``plugins``: what each part that can be swapped does to text, tensors and chance, beside SHA-256 and memcpy.

Every compressor, cipher, chunker and cache that is configured or installed is found through the plugin manager, wherry's own
and others' alike, and moves the same leaves. A part that cannot be built or breaks is said, and the others go on.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

from wherry.abc.cache import Kept
from wherry.cid import CID, RAW
from wherry.errors import WherryError
from wherry.limits import BUFFER_BYTES
from wherry.units import MiB
from wherry.wiring import Wiring
from wherry_cli.bench.figure import Arm, Figure, Report, Run, Table, rounds_in_turn
from wherry_cli.bench.samples import SAMPLES
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.abc.cache import Cache
    from wherry.abc.chunker import Chunker
    from wherry.abc.cipher import Cipher
    from wherry.abc.compressor import Compressor
    from wherry_cli.bench.workspace import Workspace

    Trial = Callable[[Sequence[memoryview]], Run]

KINDS: Final = ("compressor", "cipher", "chunker", "cache")
COLUMNS: Final = ("kind", "name", "data", "in MB/s", "out MB/s", "ratio", "in, of SHA-256")
HASH: Final = "SHA-256"
COPY: Final = "memcpy"
_LEAF: Final = MiB


def plugins(space: Workspace) -> Report:
    """Measures them all, in turn, in this process."""
    wiring = Wiring(space.folder / "plugins-home", space.config, space.environ)
    own = Wiring(space.folder / "caches-home", None, {})  # a cache of the user's would lose what it holds to these leaves
    trials: dict[tuple[str, str], Trial] = {("reference", HASH): _hash, ("reference", COPY): _copy}
    notes, closing = [], []
    for kind in KINDS:
        for name in sorted({*wiring.chosen(kind), *wiring.manager.names(kind)}):
            try:
                part = own.cache(name) if kind == "cache" else wiring.build(kind, name)
            except WherryError as problem:
                notes.append(f"{kind} {name} is left out: {problem}")
                continue
            trials[kind, name] = _TRIALS[kind](part)
            if kind == "cache":
                closing.append(part.close)
    try:
        arms = list(_measured(space, trials, notes))
    finally:
        for close in closing:
            close()
    return _report(space, arms, notes)


def _measured(space: Workspace, trials: dict[tuple[str, str], Trial], notes: list[str]) -> Iterator[tuple[str, str, str, Arm]]:
    """Runs all trials on one sort of data, in turn, then on the next."""
    size = space.scale.sample_bytes
    for data, make in SAMPLES.items():
        view = memoryview(make(size))
        leaves = [view[at : at + _LEAF] for at in range(0, size, _LEAF)]
        found = {name: Arm(f"{' '.join(name)}, {data}", count=size / 1e6) for name in trials}
        broken: set[tuple[str, str]] = set()
        for number, label in rounds_in_turn([*map("\0".join, trials)], space.scale.rounds):
            name = (label.partition("\0")[0], label.partition("\0")[2])
            if name in broken:
                continue
            try:
                found[name].runs.append(trials[name](leaves))
            except Exception as problem:  # noqa: BLE001 - a stranger's part may raise anything; the others go on
                broken.add(name)
                notes.append(f"{' '.join(name)} broke on {data}, round {number + 1}: {type(problem).__name__}: {problem}")
        for (kind, part), arm in found.items():
            if arm.runs and (kind, part) not in broken:
                yield kind, part, data, arm


def _report(space: Workspace, arms: list[tuple[str, str, str, Arm]], notes: list[str]) -> Report:
    hashing = {data: arm.median_seconds for kind, name, data, arm in arms if (kind, name) == ("reference", HASH)}
    order = {kind: number for number, kind in enumerate(("reference", *KINDS))}
    rows: list[list[str | float | None]] = []
    for kind, name, data, arm in sorted(arms, key=lambda each: (order[each[0]], each[1])):
        seen = arm.runs[0].more
        out = arm.count / arm.median_of("out_seconds") if "out_seconds" in seen else None
        ratio = seen["coded_bytes"] / (arm.count * 1e6) if "coded_bytes" in seen else None
        rate = arm.count / arm.median_seconds
        rows.append([kind, name, data, rate, out, ratio, rate / (arm.count / hashing[data])])
        if "missed_blocks" in seen:
            notes.append(f"{kind} {name} had forgotten {seen['missed_blocks']:.0f} of the blocks on {data}")
    chunkers = [
        Figure(f"mean leaf of {name}, random data", arm.runs[0].more["mean_leaf_bytes"] / 1024, "KiB")
        for kind, name, data, arm in arms
        if kind == "chunker" and data == "random"
    ]
    return Report(
        "plugins",
        f"every part that can be swapped, on {space.scale.sample_bytes / 1e6:,.0f} MB in leaves of 1 MiB, one thread",
        arms=[arm for *_, arm in arms],
        figures=chunkers,
        notes=[*dict.fromkeys(notes)],
        table=Table(COLUMNS, rows),
        at_full_size=space.scale.sample_bytes >= Scale().sample_bytes,
    )


# One round of each kind: time in, and what else was seen


def _hash(leaves: Sequence[memoryview]) -> Run:
    began = time.perf_counter()
    for leaf in leaves:
        hashlib.sha256(leaf).digest()
    return Run(time.perf_counter() - began)


def _copy(leaves: Sequence[memoryview]) -> Run:
    into = memoryview(bytearray(_LEAF))
    began = time.perf_counter()
    for leaf in leaves:
        into[: len(leaf)] = leaf
    return Run(time.perf_counter() - began)


def _compressor(part: Compressor) -> Trial:
    def trial(leaves: Sequence[memoryview]) -> Run:
        began = time.perf_counter()
        coded = [part.compress(leaf) for leaf in leaves]
        middle = time.perf_counter()
        view = memoryview(bytearray(_LEAF))
        spent = 0.0
        for leaf, data in zip(leaves, coded, strict=True):
            start = time.perf_counter()
            part.decompress_into(data, view[: len(leaf)])
            spent += time.perf_counter() - start
            _same(view[: len(leaf)], leaf)
        return Run(middle - began, {"out_seconds": spent, "coded_bytes": float(sum(map(len, coded)))})

    return trial


def _cipher(part: Cipher) -> Trial:
    def trial(leaves: Sequence[memoryview]) -> Run:
        key, aad = bytes(range(part.key_bytes)), b"bench"
        sealed, view = memoryview(bytearray(_LEAF + part.tag_bytes)), memoryview(bytearray(_LEAF))
        sealing = opening = 0.0
        for number, leaf in enumerate(leaves):
            nonce, room = number.to_bytes(part.nonce_bytes, "big"), len(leaf) + part.tag_bytes
            began = time.perf_counter()
            part.seal_into(leaf, sealed[:room], key=key, nonce=nonce, aad=aad)
            middle = time.perf_counter()
            part.open_into(sealed[:room], view[: len(leaf)], key=key, nonce=nonce, aad=aad)
            opening += time.perf_counter() - middle
            sealing += middle - began
            _same(view[: len(leaf)], leaf)
        size = sum(map(len, leaves))
        return Run(sealing, {"out_seconds": opening, "coded_bytes": float(size + len(leaves) * part.tag_bytes)})

    return trial


def _chunker(part: Chunker) -> Trial:
    def trial(leaves: Sequence[memoryview]) -> Run:
        data, size = leaves[0].obj, sum(map(len, leaves))
        whole, stretch = memoryview(data)[:size], max(BUFFER_BYTES, 2 * part.leaf_bytes_max)
        count = start = 0
        began = time.perf_counter()
        while start < size:
            end = min(size, start + stretch)
            lengths = part.cut(whole[start:end], last=end == size)
            count += len(lengths)
            start += sum(lengths)
        seconds = time.perf_counter() - began
        return Run(seconds, {"mean_leaf_bytes": size / count, "leaves": float(count)})

    return trial


def _cache(part: Cache) -> Trial:
    def trial(leaves: Sequence[memoryview]) -> Run:
        blocks = [Kept(CID.of(RAW, leaf), bytes(leaf), len(leaf)) for leaf in leaves]
        cids = [block.cid for block in blocks]
        part.delete_many(cids)
        at_once = BUFFER_BYTES // _LEAF
        began = time.perf_counter()
        for at in range(0, len(blocks), at_once):
            part.put_many(blocks[at : at + at_once])
        middle = time.perf_counter()
        found = [kept for at in range(0, len(cids), at_once) for kept in part.get_many(cids[at : at + at_once])]
        more = {"out_seconds": time.perf_counter() - middle}
        for kept, leaf in zip(found, leaves, strict=True):
            if kept is not None:
                _same(kept.data, leaf)
        if missed := found.count(None):
            more["missed_blocks"] = float(missed)
        return Run(middle - began, more)

    return trial


def _same(found: bytes | memoryview, leaf: memoryview) -> None:
    if found != leaf:
        raise WherryError("other bytes came out than went in")


_TRIALS: Final[dict[str, Callable[[Any], Trial]]] = {
    "compressor": _compressor, "cipher": _cipher, "chunker": _chunker, "cache": _cache,
}  # fmt: skip
