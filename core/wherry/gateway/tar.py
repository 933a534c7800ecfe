"""Lays out a file or a directory as a tar archive, while it is read (specs/0033 §12).

Everything lies under one name, that of the CID. Names obey the hard rule of 0003, so nothing that is unpacked lies outside of
it; a link is written as it is, and no entry lies behind one. What breaks a rule ends the archive abnormally.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Final

from wherry.errors import DecodeError, IntegrityError, LimitExceeded, UnsafeName
from wherry.gateway.files import content, look, native_items, native_thing, sharded
from wherry.gateway.frames import plain
from wherry.gateway.nodes import Directory, Shard, view
from wherry.gateway.order import bounded
from wherry.limits import TREE_DEPTH_MAX, TREE_ENTRIES_MAX
from wherry.names import check_name, check_target, shown
from wherry.outlet import GATHER_BYTES
from wherry.wire.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.gateway.blocks import Blocks
    from wherry.gateway.files import Thing
    from wherry.gateway.room import Share

_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
_TYPES: Final = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
_SMALL_BYTES: Final = 16 * 1024
_SHARD_WEIGHT: Final = 256  # links that a large directory holds at a time, as a rule


def archive(blocks: Blocks, thing: Thing, name: str, share: Share | None = None) -> Iterator[Frame]:
    """Gives the archive of what lies at a path, under ``name``, a file or a directory at a time.

    The same data give the same bytes. ``share``: see `Walk`. Raises UnsafeName, DecodeError, IntegrityError, LimitExceeded,
    BlockNotFound: whoever sends it ends it abnormally.
    """
    held = bytearray()  # small files go together
    for path, found in _walk(blocks, thing, name, share):
        held += _head(path, found)
        if found.kind == "file":
            if found.size > _SMALL_BYTES:
                yield Frame(bytes(held), (), 0, 0)
                held.clear()
                yield from plain(content(blocks, found, 0, found.size))
            else:
                held += _read(blocks, found)
            held += bytes(-found.size % _BLOCK)
        if len(held) > GATHER_BYTES:
            yield Frame(bytes(held), (), 0, 0)
            held.clear()
    yield Frame(bytes(held) + _END, (), 0, 0)


def _read(blocks: Blocks, thing: Thing) -> bytes:
    data = bytearray()
    for held, size in content(blocks, thing, 0, thing.size):
        piece = bytearray(size)
        with memoryview(piece) as into:
            held.read_into(into)
        data += piece
    if len(data) != thing.size:
        raise IntegrityError(f"block {thing.cid} stands for {len(data)} bytes, not {thing.size}")
    return bytes(data)


def _head(path: str, thing: Thing) -> bytes:
    info = tarfile.TarInfo(path)
    info.type = _TYPES[thing.kind]
    attrs = thing.entry.attrs if thing.entry is not None else None
    info.mode = 0o755 if thing.kind == "dir" or (attrs is not None and attrs.executable) else 0o644
    info.mtime = attrs.mtime[0] if attrs is not None and attrs.mtime is not None else 0
    if thing.kind == "file":
        info.size = thing.size
    elif thing.kind == "link":
        info.linkname = _target(thing.target)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _target(raw: bytes) -> str:
    target = raw.decode("utf-8", "surrogateescape")
    check_target(target)
    return target


def _walk(blocks: Blocks, thing: Thing, name: str, share: Share | None) -> Iterator[tuple[str, Thing]]:
    """Goes through all that lies at or under a path, a directory before what is in it."""
    yield name, thing
    stack = [(name, *_children(blocks, thing))] if thing.kind == "dir" else []
    count = 1
    while stack:
        path, _, rows = stack[-1]
        row = next(rows, None)
        if row is None:
            stack.pop()
            continue
        inner, found = row
        count += 1
        if count > TREE_ENTRIES_MAX or len(stack) > TREE_DEPTH_MAX:
            raise LimitExceeded(f"{shown(path)}: more entries, or deeper, than an archive may be")
        if found.kind not in _TYPES:
            raise DecodeError(f"{shown(inner)} is neither a file nor a directory")
        path = f"{path}/{_checked(inner)}"
        yield path, found
        if found.kind == "dir":
            stack.append((path, *_children(blocks, found)))
            bounded(sum(weight for _, weight, _ in stack), share)


def _checked(name: str) -> str:
    check_name(name)
    if ".." in name.split("\\"):
        raise UnsafeName(f"name {shown(name)} leads upwards where backslashes part names")
    return name


def _children(blocks: Blocks, thing: Thing) -> tuple[int, Iterator[tuple[str, Thing]]]:
    """Gives the entries of a directory, one after the other, and how many links it holds meanwhile."""
    if thing.entry is not None:
        return _SHARD_WEIGHT, ((item.name, native_thing(item)) for item in native_items(blocks, thing.entry))
    node = view(thing.cid, blocks.node(thing.cid))
    if isinstance(node, Shard):
        links, weight = sharded(blocks, node), _SHARD_WEIGHT
    elif isinstance(node, Directory):
        first = {link.name: link for link in reversed(node.entries)}  # of equal names the first counts, as in a path
        links, weight = (link for link in node.entries if first[link.name] is link), len(node.entries)
    else:
        raise DecodeError(f"block {thing.cid} is no directory")
    return weight, ((link.name.decode("utf-8", "surrogateescape"), look(blocks, link.cid, ())) for link in links)
