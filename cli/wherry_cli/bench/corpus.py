"""Ten versions of a dataset: tables that are appended to and edited, made by rule; and ten releases of a real package.

What is edited is edited as people and programs do it: here and there, in a few rows, so that everything behind moves.
"""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VERSIONS: Final = 10
_APPENDED: Final = 0.02  # of the rows, in each version
_EDITS: Final = 8  # places in each version, a few neighbouring rows each
_NEIGHBOURS: Final = 5
_FETCH_S: Final = 60

# The International Earth Rotation Service's tables, as astropy packages them each week: prose and numbers, grown and revised.
PROJECT: Final = "astropy-iers-data"
RELEASES: Final = {
    "0.2026.8.18.14.22.31": "95b9da762fe06940f3ac3187c3e4f24e1ed10e838379f0adcb9d33f2dacd6853",
    "0.2026.8.24.0.24.29": "4155ff5a60aafee76dd1ea233c39645b01256b6c436c3d443d0a2dde5197ebb3",
    "0.2026.8.31.0.57.9": "c6ac376d845846653b372a68ee5f24de234b92db9179bb82263b85efe4fe558a",
    "0.2026.9.7.0.56.14": "b24396f527feb4ec4b4ef0dcba820246ac7ecb1eed91ebb9e767d64774349659",
    "0.2026.9.14.0.56.43": "43786a0a9b60c7a55a85e12307c0050d75ea0679710378141255ded9d1bd8ebc",
    "0.2026.9.21.0.56.25": "80a5fd133c661119e202880a6f0ac343c404c32fa89852adf5e23d5361213603",
    "0.2026.9.28.0.59.37": "950a82adf7169c0bbf4a5b4aefd5412568436db6e22e0d056791fe3f30100d67",
    "0.2026.10.5.1.0.7": "ee1e4363aa398869e7ffea98e48fdfde6ab97463a1a9d977f3fbd68649a1896b",
    "0.2026.10.12.1.3.27": "d5ee18fd7645492b72b0ac3f274d5b5f9a1857334bd63bb1d0355b01a2c2733a",
    "0.2026.10.19.0.52.1": "14665720aa481c7b97dfd104d7218b38ed7e2ba30a70ff53a5c26a0e14d4025c",
}


def write_versions(folder: Path, size: int) -> Iterator[Path]:
    """Writes a folder for each version: the same rows as CSV, as lines of JSON, and as records of their own length.

    Each table of the first version has ``size`` bytes or a little more.
    """
    chance = random.Random(14)  # noqa: S311 - the same corpus every time is what is wanted
    rows = [_drawn(chance, number) for number in range(size // len(_csv(_drawn(random.Random(0), 0))))]  # noqa: S311 - as above
    following = len(rows)
    for version in range(VERSIONS):
        if version:
            following = _edit(rows, chance, following)
        place = folder / f"v{version + 1:02}"
        place.mkdir(parents=True)
        for name, form in _FORMS.items():
            with (place / name).open("wb") as file:
                file.writelines(map(form, rows))
        yield place


def _edit(rows: list[tuple[int, str, float]], chance: random.Random, following: int) -> int:
    """Appends, and changes, inserts and removes a few neighbouring rows in some places. Gives the next row's number."""
    for _ in range(_EDITS):
        at = chance.randrange(len(rows) - _NEIGHBOURS)
        match chance.randrange(3):
            case 0:
                rows[at : at + _NEIGHBOURS] = [_drawn(chance, row[0]) for row in rows[at : at + _NEIGHBOURS]]
            case 1:
                rows[at:at] = [_drawn(chance, number) for number in range(following, following + _NEIGHBOURS)]
                following += _NEIGHBOURS
            case _:
                del rows[at : at + _NEIGHBOURS]
    more = int(len(rows) * _APPENDED)
    rows += [_drawn(chance, number) for number in range(following, following + more)]
    return following + more


def _drawn(chance: random.Random, number: int) -> tuple[int, str, float]:
    return number, f"{chance.getrandbits(96):x}", chance.random()


def _csv(row: tuple[int, str, float]) -> bytes:
    return b"%d,%s,%.6f\n" % (row[0], row[1].encode(), row[2])


def _json(row: tuple[int, str, float]) -> bytes:
    return b'{"id": %d, "key": "%s", "value": %.6f}\n' % (row[0], row[1].encode(), row[2])


def _record(row: tuple[int, str, float]) -> bytes:
    return struct.pack("<QdH", row[0], row[2], len(row[1])) + row[1].encode()


_FORMS: Final[dict[str, Callable[[tuple[int, str, float]], bytes]]] = {
    "table.csv": _csv, "table.jsonl": _json, "table.records": _record,
}  # fmt: skip


def fetch_releases(folder: Path) -> Iterator[Path]:
    """Downloads the releases with pip, from wherever it is configured to, and unpacks each. Raises OSError if that fails."""
    for number, (version, digest) in enumerate(RELEASES.items(), 1):
        wheels = folder / "wheels" / version
        wheels.mkdir(parents=True)
        line = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(wheels)]
        try:
            done = subprocess.run(
                [*line, f"{PROJECT}=={version}"], capture_output=True, text=True, timeout=_FETCH_S, check=False
            )
        except subprocess.TimeoutExpired as problem:
            raise OSError(f"{PROJECT} {version} did not come within {_FETCH_S} s") from problem
        found = list(wheels.iterdir())
        if done.returncode != 0 or len(found) != 1:
            raise OSError(f"pip cannot download {PROJECT} {version}: {done.stderr.strip().splitlines()[-1:] or 'no words'}")
        if hashlib.sha256(found[0].read_bytes()).hexdigest() != digest:
            raise OSError(f"{found[0].name} is not what it was: another file has its name")
        place = folder / f"v{number:02}"
        with zipfile.ZipFile(found[0]) as wheel:  # whose every byte is known
            wheel.extractall(place)
        yield place
