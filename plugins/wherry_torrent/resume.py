"""The torrent of a folder, and what an earlier run had of it, as libtorrent takes them (specs/0036 §11)."""

from __future__ import annotations

import hashlib
import os
from typing import Any


def begun(lt: Any, folder: str) -> Any:
    """Makes the parameters: of the torrent or of the info dictionary, with what an earlier run saved."""
    if os.path.exists(f"{folder}/torrent"):
        base = lt.load_torrent_buffer(_read(f"{folder}/torrent"), {"max_buffer_size": 1 << 25, "max_pieces": 1 << 24})
    else:
        data = _read(f"{folder}/info")
        info = lt.bdecode(data)
        told = {b"file-format": b"libtorrent resume file", b"file-version": 1, b"info": info}
        told |= {b"info-hash": hashlib.sha1(data, usedforsecurity=False).digest()} if b"pieces" in info else {}
        told |= {b"info-hash2": hashlib.sha256(data).digest()} if info.get(b"meta version") == 2 else {}
        base = lt.read_resume_data(lt.bencode(told))  # the one door for an info dictionary without piece layers
    try:
        found = lt.read_resume_data(_read(f"{folder}/resume"))
    except (OSError, RuntimeError):  # there is none, or it is damaged: what is here is looked at
        found = base
    if found.info_hashes != base.info_hashes:
        found = base
    found.ti = base.ti
    return found


def write(lt: Any, folder: str, params: Any) -> None:
    """Saves what it has."""
    write_file(f"{folder}/resume", lt.write_resume_data_buf(params))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write_file(path: str, data: bytes) -> None:
    """Writes a file of the folder, in one step."""
    with open(f"{path}.new", "wb") as file:
        file.write(data)
    os.replace(f"{path}.new", path)
