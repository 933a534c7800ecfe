"""Bencoding, as torrents are written (BEP 3). Pure; written only: wherry reads no torrents."""

from __future__ import annotations

from typing import TypeAlias

Value: TypeAlias = "int | bytes | str | list[Value] | dict[bytes, Value]"


def encode(value: object) -> bytes:
    """Writes a value: integers, text as UTF-8, bytes, lists, and maps with keys in the order of their bytes.

    Raises TypeError for anything else.
    """
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def _write(value: object, out: list[bytes]) -> None:
    if isinstance(value, bool):
        raise TypeError("bencoding has no truth values")
    if isinstance(value, int):
        out.append(b"i%de" % value)
    elif isinstance(value, str):
        _write(value.encode(), out)
    elif isinstance(value, bytes):
        out.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, list):
        out.append(b"l")
        for item in value:
            _write(item, out)
        out.append(b"e")
    elif isinstance(value, dict):
        out.append(b"d")
        keyed = {key.encode() if isinstance(key, str) else key: item for key, item in value.items()}
        if not all(isinstance(key, bytes) for key in keyed):
            raise TypeError("keys are bytes or text")
        for key in sorted(keyed):
            _write(key, out)
            _write(keyed[key], out)
        out.append(b"e")
    else:
        raise TypeError(f"{type(value).__name__} cannot be bencoded")
