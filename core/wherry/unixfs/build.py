"""Builds UnixFS files and links from chunks that come in order (specs/0031 §4). Holds a node a level, never a whole file.

Files become balanced trees: ``width`` children a node, all leaves equally deep. A tree is packed level by level; where one
child is left over it still gets nodes above it, up to the level of the others. Directories are in `build_dir`.

``emit`` gets each node when it is whole, before any node that links to it. Leaves are not emitted unless they are made here
(`FileBuilder.chunk`): those that lie in files of the user are named by their caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wherry.block import Block
from wherry.cid import CID, DAG_PB, RAW
from wherry.dagpb import encode_links, join
from wherry.errors import LimitExceeded
from wherry.limits import PB_BYTES_MAX
from wherry.units import KiB, MiB
from wherry.unixfs.data import FILE, SYMLINK, Data, UnixTime, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    Emit: TypeAlias = Callable[[Block], None]


class Profile(NamedTuple):
    """What makes two writers give one CID for the same files (IPIP-499)."""

    name: str
    version: int  # of the CIDs of nodes
    chunk: int  # bytes
    width: int  # links a node of a file
    raw_leaves: bool  # else leaves are nodes with their bytes inside
    whole_block: bool  # whether a directory is measured by its whole block; else by its names and CIDs


V1_2025: Final = Profile("unixfs-v1-2025", 1, 1 * MiB, 1024, raw_leaves=True, whole_block=True)
V0_2015: Final = Profile("unixfs-v0-2015", 0, 256 * KiB, 174, raw_leaves=False, whole_block=False)
PROFILES: Final = {profile.name: profile for profile in (V1_2025, V0_2015)}

_V0_HEAD: Final = b"\x12\x20"


class Child(NamedTuple):
    """A file, directory or part of one, as its parent links to it."""

    cid: bytes  # binary, as in the link
    size: int = 0  # bytes of the file that it stands for; 0 for directories
    tsize: int = 0  # bytes of its block and of all blocks below


class Attributes(NamedTuple):
    """What a node may say besides: it becomes part of the CID, so it is asked for or left out."""

    mode: int | None = None
    mtime: UnixTime | None = None


NO_ATTRIBUTES: Final = Attributes()


def leaf_of(cid: CID, size: int) -> Child:
    """Links to a raw block that lies elsewhere. Raises LimitExceeded if it has more bytes than an IPFS block may have."""
    if size > PB_BYTES_MAX:
        raise LimitExceeded(f"a chunk of {size} bytes, and an IPFS block has at most {PB_BYTES_MAX}")
    return Child(cid, size, size)


def made(profile: Profile, data: bytes, below: int, emit: Emit, size: int = 0) -> Child:
    """Emits ``data`` as a node and gives the link to it; ``below``: bytes of all blocks below the node."""
    cid = CID.of(DAG_PB, data)
    emit(Block(cid, data))
    return Child(_V0_HEAD + cid.digest if profile.version == 0 else cid, size, len(data) + below)


class FileBuilder:
    """Takes the chunks of one file in order; gives the link to the file."""

    def __init__(self, emit: Emit, profile: Profile = V1_2025, attributes: Attributes = NO_ATTRIBUTES) -> None:
        self._emit = emit
        self._profile = profile
        self._attributes = attributes
        self._levels: list[list[Child]] = [[]]

    def add(self, leaf: Child) -> None:
        """Takes the next chunk, as the link to it (`leaf_of`)."""
        self._put(0, leaf)

    def chunk(self, data: bytes) -> None:
        """Takes the bytes of the next chunk, and emits them as a leaf of the profile. Raises LimitExceeded."""
        self._put(0, self._leaf(data, NO_ATTRIBUTES))

    def finish(self, *, last: bytes | None = None) -> Child:
        """Gives the link to the file: to its only chunk, or to the root node.

        ``last``: the bytes of the last chunk; leaves that are nodes carry the attributes of a file that has one chunk alone.
        """
        if last is not None:
            self._put(
                0, self._leaf(last, self._attributes if not self._levels[0] and len(self._levels) == 1 else NO_ATTRIBUTES)
            )
        elif len(self._levels) == 1 and not self._levels[0]:
            self._put(0, self._leaf(b"", self._attributes))
        level = 0
        while level < len(self._levels) - 1:  # pushing up may add a level
            if self._levels[level]:
                self._push_up(level)
            level += 1
        top = self._levels[-1]
        if len(top) == 1 and not (level == 0 and self._profile.raw_leaves and self._attributes != NO_ATTRIBUTES):
            return top[0]
        return self._node(top, self._attributes)

    def _leaf(self, data: bytes, attributes: Attributes) -> Child:
        if len(data) > PB_BYTES_MAX:
            raise LimitExceeded(f"a chunk of {len(data)} bytes, and an IPFS block has at most {PB_BYTES_MAX}")
        if self._profile.raw_leaves:
            block = Block(CID.of(RAW, data), data)
            self._emit(block)
            return Child(block.cid, len(data), len(data))
        inner = Data(FILE, data or None, len(data), mode=attributes.mode, mtime=attributes.mtime)
        return made(self._profile, join((), encode(inner)), 0, self._emit, len(data))

    def _put(self, level: int, child: Child) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == self._profile.width:
            self._push_up(level)
        self._levels[level].append(child)

    def _push_up(self, level: int) -> None:
        children, self._levels[level] = self._levels[level], []
        # The root is made last, by `finish`: what is pushed up has a sibling, or will be the only child of a node above.
        self._put(level + 1, self._node(children, NO_ATTRIBUTES))

    def _node(self, children: list[Child], attributes: Attributes) -> Child:
        sizes = tuple([child.size for child in children])
        size = sum(sizes)
        inner = Data(FILE, None, size, sizes, mode=attributes.mode, mtime=attributes.mtime)
        # A name that is empty rather than absent: so does every writer, whatever the specification says.
        links = encode_links([(b"", child.cid, child.tsize) for child in children])
        below = sum([child.tsize for child in children])
        return made(self._profile, join(links, encode(inner)), below, self._emit, size)


def link(target: bytes, emit: Emit, profile: Profile = V1_2025, attributes: Attributes = NO_ATTRIBUTES) -> Child:
    """Emits a symbolic link; gives the link to it."""
    inner = encode(Data(SYMLINK, target, mode=attributes.mode, mtime=attributes.mtime))
    return made(profile, join((), inner), 0, emit)
