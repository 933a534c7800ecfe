"""Sizes, durations and rates as people write them: ``4 MiB``, ``30s``, ``10 MB/s``. Bytes and seconds inside."""

from __future__ import annotations

import re
from typing import Final

KiB: Final = 1024
MiB: Final = 1024**2
GiB: Final = 1024**3

_SIZES: Final = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "kib": KiB,
    "m": 10**6, "mb": 10**6, "mib": MiB,
    "g": 10**9, "gb": 10**9, "gib": GiB,
    "t": 10**12, "tb": 10**12, "tib": 1024**4,
    "p": 10**15, "pb": 10**15, "pib": 1024**5,
}  # fmt: skip
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BITS: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_RATE: Final = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{0,4})(?:/s)?\s*", re.ASCII)
_RATES: Final = ((10**9, "GB/s"), (10**6, "MB/s"), (10**3, "kB/s"))
_NUMBER: Final = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{0,3})\s*", re.ASCII)


def parse_size(text: str) -> int:
    """Reads a size in bytes (``"4 MiB"``, ``"100GB"``, ``"512"``). Raises ValueError for anything else."""
    number, unit = _split(text)
    try:
        return round(float(number) * _SIZES[unit.lower()]) if "." in number else int(number) * _SIZES[unit.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is not a size: write a number and B, KiB, MiB, GiB, TiB, kB, MB, GB or TB") from None


def parse_duration(text: str) -> float:
    """Reads a duration in seconds (``"30s"``, ``"5min"``, ``"2h"``, ``"1.5"``). Raises ValueError for anything else."""
    number, unit = _split(text)
    try:
        return float(number) * (_SECONDS[unit.lower()] if unit else 1.0)
    except KeyError:
        raise ValueError(f"{text!r} is not a duration: write a number and ms, s, min, h or d") from None


def parse_rate(text: str) -> float:
    """Reads a rate in bytes a second (``"10 MB/s"``, ``"100 Mbit/s"``, ``"512 KiB/s"``, ``"1000"``). Raises ValueError."""
    match = _RATE.fullmatch(text)
    unit = match[2].lower() if match is not None else ""
    if match is not None and unit in _SIZES:
        return float(match[1]) * _SIZES[unit]
    if match is not None and unit in _BITS:
        return float(match[1]) * _BITS[unit] / 8
    raise ValueError(f"{text!r} is not a rate: write a number and kB/s, MB/s, GB/s, KiB/s, MiB/s, kbit/s, Mbit/s or Gbit/s")


def _split(text: str) -> tuple[str, str]:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number with a unit")
    return match[1], match[2]


def format_size(count: float) -> str:
    """Writes a number of bytes for people: ``1.5 GiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def format_rate(rate: float) -> str:
    """Writes bytes a second for people: ``10 MB/s``, ``1.5 MB/s``."""
    for unit, name in _RATES:
        if rate >= unit:
            value = rate / unit
            return f"{value:.0f} {name}" if value >= 100 else f"{value:.3g} {name}"
    return f"{rate:.0f} B/s"


def format_duration(seconds: float) -> str:
    """Writes a duration for people: ``1h02m``, ``3m05s``, ``4.2s``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"
