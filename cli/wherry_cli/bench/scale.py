"""How much a run of the benchmarks moves: the sizes that the bounds are stated for, quick ones, or any."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wherry.units import GiB, KiB, MiB

SMALL_BYTES = 16 * KiB  # a small file, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes and counts. The defaults are those of the bounds."""

    large_bytes: int = 4 * GiB
    tree_files: int = 20_000
    synth_bytes: int = 100 * GiB
    transfers: int = 1000  # at a time
    transfer_bytes: int = 4 * MiB
    requests: int = 3000  # timed under load
    starts: int = 15
    sample_bytes: int = 32 * MiB  # of each sort of data that parts are tried on
    version_bytes: int = 24 * MiB  # of the first version of each table of a corpus
    front_bytes: int = GiB  # that a byte is put in front of
    rounds: int = 3

    @classmethod
    def of(
        cls, *, size_bytes: int | None = None, quick: bool = False, rounds: int | None = None, synth_named: bool = True
    ) -> Scale:
        """Gives the scale that was asked for. Unless ``synth`` is named, 100 GiB of it would take most of the time."""
        scale = cls() if synth_named else cls(synth_bytes=8 * GiB)
        if quick:
            scale = cls(
                large_bytes=256 * MiB,
                tree_files=2000,
                synth_bytes=2 * GiB,
                transfer_bytes=MiB,
                requests=300,
                starts=5,
                sample_bytes=8 * MiB,
                version_bytes=8 * MiB,
                front_bytes=256 * MiB,
            )
        if size_bytes is not None:
            size = max(size_bytes, MiB)
            scale = replace(
                scale,
                large_bytes=size,
                tree_files=min(cls().tree_files, max(20, size // SMALL_BYTES)),
                synth_bytes=size,
                transfers=min(scale.transfers, max(10, size // scale.transfer_bytes)),
                requests=min(scale.requests, max(50, size // MiB)),
                sample_bytes=min(scale.sample_bytes, max(4 * MiB, size // 4)),
                version_bytes=min(scale.version_bytes, max(4 * MiB, size // 4)),
                front_bytes=min(scale.front_bytes, max(64 * MiB, size)),
            )
        return replace(scale, rounds=rounds) if rounds is not None else scale

    @property
    def tree_disk_bytes(self) -> int:
        """What the tree takes on a disk with blocks of 4 KiB, and some for the directories."""
        return self.tree_files * (SMALL_BYTES + 6 * KiB)

    @property
    def versions_disk_bytes(self) -> int:
        """What ten versions of three tables take: the second is half as large again, the third as large as the first."""
        return 45 * self.version_bytes
