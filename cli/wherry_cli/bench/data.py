"""What is moved: made once a run, from a seed or from chance that no disk or wire can compress."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Final

from wherry.errors import NoSpace, WherryError, local_error
from wherry.units import MiB, format_size
from wherry_cli.bench.machine import free_bytes
from wherry_cli.bench.scale import SMALL_BYTES

if TYPE_CHECKING:
    from pathlib import Path

FILES_A_FOLDER: Final = 100
SPARE_BYTES: Final = 256 * MiB  # homes, logs, and what others write meanwhile


def make_large(path: Path, size_bytes: int) -> None:
    """Writes a file of random bytes. It is on the disk and in the page cache afterwards. Raises LocalError."""
    try:
        with path.open("wb", buffering=0) as file:
            for start in range(0, size_bytes, 4 * MiB):
                file.write(os.urandom(min(4 * MiB, size_bytes - start)))
            os.fsync(file.fileno())
    except OSError as problem:
        raise local_error(problem, "write", str(path)) from problem


def make_tree(root: Path, files: int, seed: int = 16, *, a_folder: int = FILES_A_FOLDER) -> int:
    """Makes ``files`` small files, SMALL_BYTES on average, so many a folder; gives the bytes in all. Raises LocalError."""
    chance = random.Random(seed)  # noqa: S311 - the same tree every time is what is wanted
    total = 0
    try:
        for number in range(files):
            folder = root / f"{number // a_folder:04}"
            if number % a_folder == 0:
                folder.mkdir(parents=True)
            data = chance.randbytes(chance.randrange(1, 2 * SMALL_BYTES))
            (folder / f"{number:06}.bin").write_bytes(data)
            total += len(data)
        os.sync()
    except OSError as problem:
        raise local_error(problem, "make the tree", str(root)) from problem
    return total


def warm(path: Path) -> None:
    """Reads a file, so that it lies in the page cache if it fits."""
    piece = bytearray(4 * MiB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def count_files(root: Path) -> tuple[int, int]:
    """Counts the files below ``root`` and their bytes."""
    count = size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            count += 1
            size += os.lstat(os.path.join(folder, name)).st_size
    return count, size


def check_copied(path: Path, expected: tuple[int, int]) -> None:
    """Raises WherryError if a copy has not as many files and bytes as are ``expected``."""
    found = count_files(path) if path.is_dir() else (1, path.stat().st_size)
    if found != expected:
        raise WherryError(f"{path} has {found[0]} files and {found[1]} bytes, not {expected[0]} and {expected[1]}")


def check_room(folder: Path, need_bytes: int) -> None:
    """Raises NoSpace if the disk of ``folder`` has no room for ``need_bytes`` and some to spare."""
    free, need = free_bytes(folder), need_bytes + SPARE_BYTES
    if free < need:
        raise NoSpace(
            f"the benchmarks need {format_size(need)} in {str(folder)!r}, where {format_size(free)} are free",
            hint="choose another place with --dir, less with --size or --quick, or some of the benchmarks",
        )
