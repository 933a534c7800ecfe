"""The torrent of a folder, and what an earlier run had of it, as libtorrent takes them (specs/0036 §11)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_BLOCK_BYTES: Final = 16384
_BLOCKS_MAX: Final = 1 << 16  # of pieces that are begun: libtorrent tells each in half a KB
_WRITTEN: Final = 3  # libtorrent's block_info::finished
_BASE_BYTES: Final = 45_000_000  # of memory, whatever the torrent
_MEMORY_BYTES_MAX: Final = 100_000_000


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
        return base
    if found.info_hashes == base.info_hashes:  # the base has the torrent's layers of hashes, which what was saved has not
        base.have_pieces, base.unfinished_pieces, base.peers = found.have_pieces, found.unfinished_pieces, found.peers
    return base


def write(lt: Any, folder: str, params: Any) -> None:
    """Saves what libtorrent says that it has."""
    write_file(f"{folder}/resume", lt.write_resume_data_buf(params))


def write_without_trees(lt: Any, folder: str, handle: Any) -> None:
    """Saves what it has of a torrent of version 2, or a hybrid: whole pieces, blocks of others, and peers.

    libtorrent would save its trees of hashes too, 64 bytes for each 16 KiB, which can be made again, and copy them for that.
    """
    kept, begun = lt.add_torrent_params(), []
    if handle.torrent_file().piece_length() // _BLOCK_BYTES * handle.status().num_peers <= _BLOCKS_MAX:
        begun = handle.get_download_queue()
    status = handle.status()  # after those: a piece that was whole in between is in both, and not in neither
    if status.errc.value():  # it may have forgotten what it had: what was saved before knows
        return
    info = lt.peer_info
    kept.info_hashes, kept.have_pieces = status.info_hashes, status.pieces
    kept.unfinished_pieces = {each["piece_index"]: [block["state"] == _WRITTEN for block in each["blocks"]] for each in begun}
    kept.peers = [
        each.ip
        for each in handle.get_peer_info()
        if each.connection_type == info.standard_bittorrent and each.flags & info.local_connection  # it was we who called
    ]
    write_file(f"{folder}/resume", lt.write_resume_data_buf(kept))


def memory_note(sizes: Iterable[int]) -> str | None:
    """Says that a torrent of version 2 with files of these lengths may need much memory; None: it does not."""
    blocks = [-(-size // _BLOCK_BYTES) for size in sizes if size]
    needed = _BASE_BYTES + sum(64 << (count - 1).bit_length() for count in blocks)  # a tree has a power of two of leaves
    if needed <= _MEMORY_BYTES_MAX:
        return None
    return (
        f"this download may take {needed // 1_000_000:,} MB of memory: of a torrent of version 2 or a hybrid, libtorrent holds "
        "64 bytes of hashes for each 16 KiB of a file that is not whole, its length rounded up to a power of two"
    )


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write_file(path: str, data: bytes) -> None:
    """Writes a file of the folder, in one step."""
    with open(f"{path}.new", "wb") as file:
        file.write(data)
    os.replace(f"{path}.new", path)
