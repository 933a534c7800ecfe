"""Manifest nodes: files, directories, shards of large directories, datasets (specs/0003).

A node is one DAG-CBOR block. Decoding is validating: what these functions return obeys every rule of the specification
that can be seen in one node; what needs the parent (a child's listed size and count) `dag.walk` compares.

    file/1     size, links, sizes               children are all leaves (raw) or all file nodes
    dir/1      entries, sorted by name          a directory of at most FANOUT entries, or one piece of a larger one
    shards/1   shards, sorted by last name      an index over dir or shards nodes
    dataset/1  root, meta                       a tree or file with words about it, or a lone file with attributes

Nodes of an encrypted dataset are the same, and list the key of each child besides (specs/0016 §4).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from wherry import dagcbor
from wherry.block import EMPTY_LEAF, Block, named
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.errors import DataError, DecodeError, IntegrityError, LimitExceeded, of_block
from wherry.limits import FANOUT, LEAF_BYTES_MAX, META_BYTES_MAX, TREE_BYTES_MAX
from wherry.names import check_name, check_target, shown

FILE: Final = "f"
DIR: Final = "d"
LINK: Final = "l"
KEY_BYTES: Final = 32  # of a sealed child (specs/0016 §3)
_MTIME_ABS_MAX: Final = 1 << 40  # seconds; 34,000 years either way


class Attrs(NamedTuple):
    """What a file has besides its bytes. None: not recorded. ``mtime`` is seconds and nanoseconds since 1970."""

    executable: bool | None = False  # a manifest records it always, UnixFS where a file has a mode
    mtime: tuple[int, int] | None = None


PLAIN: Final = Attrs()
UNSAID: Final = Attrs(executable=None)


class Entry(NamedTuple):
    """One name in a directory. ``entries`` is how many it stands for: one, and for a directory all those below as well."""

    name: str
    kind: str  # FILE, DIR or LINK
    cid: CID = EMPTY_LEAF  # of the file (a leaf or a file node) or directory; unused for a link
    size: int = 0  # bytes of all files in it
    entries: int = 1
    attrs: Attrs = PLAIN
    target: str = ""  # of a link
    key: bytes = b""  # of the child's block, where the dataset is encrypted

    @property
    def has_block(self) -> bool:
        """Whether there is a block behind it: a link has none, and the empty file's is everybody's."""
        return self.kind == DIR or (self.kind == FILE and self.size > 0)


class Shard(NamedTuple):
    """One piece of a large directory: the entries up to and including the name ``last``."""

    last: str
    cid: CID
    size: int
    entries: int
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class FileNode:
    """Part or whole of a file: children in order, each with its size in bytes."""

    links: tuple[CID, ...]
    ends: tuple[int, ...]  # where each child ends, counted from the node's start
    keys: tuple[bytes, ...] = ()  # one a child, where the dataset is encrypted

    @property
    def size(self) -> int:
        """Bytes of the file that this node stands for."""
        return self.ends[-1]


@dataclass(frozen=True, slots=True)
class DirNode:
    """Entries of a directory, sorted by name."""

    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files below."""
        return sum(entry.size for entry in self.entries)

    @property
    def count(self) -> int:
        """Entries here and below."""
        return sum(entry.entries for entry in self.entries)


@dataclass(frozen=True, slots=True)
class ShardsNode:
    """An index over the pieces of a large directory, sorted by their last names."""

    shards: tuple[Shard, ...]

    @property
    def size(self) -> int:
        """Bytes of all files below."""
        return sum(shard.size for shard in self.shards)

    @property
    def count(self) -> int:
        """Entries here and below."""
        return sum(shard.entries for shard in self.shards)


@dataclass(frozen=True, slots=True)
class DatasetNode:
    """A root with metadata: ``meta`` maps words to text."""

    root: Entry  # its name is empty
    meta: dict[str, str]


Node: TypeAlias = FileNode | DirNode | ShardsNode | DatasetNode


# Encoding

# Parts of the fixed text of a directory node, in canonical order: {"wherry": "dir/1", "entries": [...]}
_WHERRY: Final = dagcbor.encode("wherry")
_DIR_1: Final = dagcbor.encode("dir/1")
_ENTRIES: Final = dagcbor.encode("entries")
_FILE_LINK: Final = dagcbor.encode(FILE) + dagcbor.LINK_HEAD


def file_block(links: list[CID], sizes: list[int], keys: list[bytes] | None = None) -> Block:
    """Writes a file node; with ``keys``, that of an encrypted dataset, to be sealed."""
    value: dict[str, object] = {"wherry": "file/1", "size": sum(sizes), "links": links, "sizes": sizes}
    if keys:
        value["keys"] = keys[0] if keys.count(keys[0]) == len(keys) else b"".join(keys)
    return named(DAG_CBOR, dagcbor.encode(value))


def dir_block(entries: list[Entry], names: list[bytes] | None = None, *, sealed: bool = False) -> Block:
    """Writes a directory node; ``entries`` are sorted by name. ``names``: theirs, where they are encoded already."""
    if sealed:
        keys = b"".join([entry.key for entry in entries if entry.has_block])
        values = [_entry_value(entry) for entry in entries]
        return named(DAG_CBOR, dagcbor.encode({"wherry": "dir/1", "entries": values, "keys": keys}))
    head = dagcbor.head
    body = [b"\xa2", _WHERRY, _DIR_1, _ENTRIES, head(4, len(entries))]
    for entry, name in zip(entries, names or [entry.name.encode() for entry in entries], strict=True):
        if entry.kind == FILE and entry.attrs == PLAIN:  # by far the commonest, three times faster than in the general way
            body += (b"\x84", head(3, len(name)), name, _FILE_LINK, entry.cid, head(0, entry.size))
        else:
            body.append(dagcbor.encode(_entry_value(entry)))
    return named(DAG_CBOR, b"".join(body))


def shards_block(shards: list[Shard]) -> Block:
    """Writes an index over pieces of a directory; ``shards`` are sorted by last name."""
    value: dict[str, object] = {"wherry": "shards/1", "shards": [shard[:4] for shard in shards]}
    if shards[0].key:
        value["keys"] = b"".join([shard.key for shard in shards])
    return named(DAG_CBOR, dagcbor.encode(value))


def dataset_block(root: Entry, meta: dict[str, str]) -> Block:
    """Writes a root with metadata. Raises LimitExceeded if ``meta`` is too large."""
    value: dict[str, object] = {"wherry": "dataset/1", "root": _entry_value(root._replace(name="")), "meta": meta}
    if root.key:
        value["keys"] = root.key
    data = dagcbor.encode(value)
    if len(data) > META_BYTES_MAX:
        raise LimitExceeded(f"dataset metadata takes {len(data)} bytes, at most {META_BYTES_MAX} are kept")
    return named(DAG_CBOR, data)


def _attrs_value(attrs: Attrs) -> dict[str, object]:
    value: dict[str, object] = {}
    if attrs.executable:
        value["exec"] = True
    if attrs.mtime is not None:
        value["mtime"] = list(attrs.mtime)
    return value


def _entry_value(entry: Entry) -> list[object]:
    if entry.kind == LINK:
        return [entry.name, LINK, entry.target]
    value: list[object] = [entry.name, entry.kind, entry.cid, entry.size]
    if entry.kind == DIR:
        value.append(entry.entries)
    if entry.attrs != PLAIN:
        value.append(_attrs_value(entry.attrs))
    return value


# Decoding


def decode(block: Block, *, sealed: bool = False) -> Node:
    """Reads a manifest node from a verified block. Raises DecodeError, IntegrityError, LimitExceeded or UnsafeName.

    ``sealed``: the data are those of an opened node of an encrypted dataset, which lists keys.
    """
    try:
        if block.cid.codec != DAG_CBOR:
            raise DecodeError(f"block {block.cid} is no wherry manifest: its codec is not dag-cbor")
        value = dagcbor.decode(block.data)
        if not isinstance(value, dict):
            raise DecodeError(f"block {block.cid} is no wherry manifest")
        keys = value.pop("keys", None) if sealed else None
        return _with_keys(_node(block, value), keys) if sealed else _node(block, value)
    except DataError as problem:
        raise of_block(problem, block.cid) from problem


def _node(block: Block, value: dict[str, dagcbor.Value]) -> Node:
    kind = value.get("wherry")
    if kind == "file/1":
        return _file(value)
    if kind == "dir/1":
        return _dir(value)
    if kind == "shards/1":
        return _shards(value)
    if kind == "dataset/1":
        return _dataset(value, len(block.data))
    hint = "it is encrypted: it has no paths without its key" if kind == "sealed/1" else "a newer wherry may read it"
    raise DecodeError(f"block {block.cid} is no wherry manifest of a known kind ({shown(kind)})", hint=hint)


def _with_keys(node: Node, value: dagcbor.Value) -> Node:
    """Puts each child's key beside it."""
    if isinstance(node, FileNode):
        count = len(node.links)
        keys = _split(value, 1 if type(value) is bytes and len(value) == KEY_BYTES else count)
        if count > 1 and len(keys) == count and keys.count(keys[0]) == count:
            raise DecodeError("sealed file node: keys that are all equal are written once")
        return FileNode(node.links, node.ends, tuple(keys) if len(keys) == count else (keys[0],) * count)
    if isinstance(node, DirNode):
        each = iter(_split(value, sum([entry.has_block for entry in node.entries])))
        return DirNode(tuple([entry._replace(key=next(each)) if entry.has_block else entry for entry in node.entries]))
    if isinstance(node, ShardsNode):
        both = zip(node.shards, _split(value, len(node.shards)), strict=True)
        return ShardsNode(tuple([shard._replace(key=key) for shard, key in both]))
    if not node.root.has_block and value is None:
        return node
    return DatasetNode(node.root._replace(key=_split(value, 1)[0]), node.meta)


def _split(value: dagcbor.Value, count: int) -> list[bytes]:
    if type(value) is not bytes or len(value) != count * KEY_BYTES:
        raise DecodeError(f"sealed node: {count} keys of {KEY_BYTES} bytes are needed")
    return [value[at : at + KEY_BYTES] for at in range(0, len(value), KEY_BYTES)]


def _keys(value: dict[str, dagcbor.Value], needed: set[str]) -> None:
    if value.keys() != needed:
        raise DecodeError(f"manifest node: has the keys {shown(sorted(value))}, needs {sorted(needed)}")


def _size(value: dagcbor.Value, low: int = 0) -> int:
    if type(value) is not int or not low <= value <= TREE_BYTES_MAX:
        raise DecodeError(f"manifest node: {shown(value)} is no size or count")
    return value


def _list(value: dagcbor.Value, what: str) -> list[dagcbor.Value]:
    if type(value) is not list:
        raise DecodeError(f"manifest node: {what} is no list")
    if len(value) > FANOUT:
        raise LimitExceeded(f"manifest node: {len(value)} {what}, at most {FANOUT}")
    return value


def _file(value: dict[str, dagcbor.Value]) -> FileNode:
    _keys(value, {"wherry", "size", "links", "sizes"})
    links, sizes = _list(value["links"], "links"), _list(value["sizes"], "sizes")
    if len(links) != len(sizes):
        raise DecodeError("file node: as many sizes as links are needed")
    if not links:
        raise DecodeError("file node: no children; an empty file is the empty leaf")
    codecs = set()
    for link in links:
        if type(link) is not CID:
            raise DecodeError("file node: a child is no link")
        if link == EMPTY_LEAF:
            raise IntegrityError("file node: a child is the empty leaf, and children have at least one byte")
        codecs.add(link.codec)
    if len(codecs) > 1 or not codecs <= {RAW, DAG_CBOR}:
        raise DecodeError("file node: children must be all leaves or all file nodes")
    largest = LEAF_BYTES_MAX if RAW in codecs else TREE_BYTES_MAX
    for size in sizes:
        if type(size) is not int or not 1 <= size <= largest:
            raise DecodeError(f"file node: {shown(size)} is no size of a child")
    ends = tuple(accumulate(sizes))
    if ends[-1] != value["size"] or type(value["size"]) is not int or value["size"] > TREE_BYTES_MAX:
        raise IntegrityError("file node: its size is not the sum of its children's")
    return FileNode(tuple(links), ends)  # type: ignore[arg-type]  # the loop above saw that all are CID


def _attrs(value: dagcbor.Value) -> Attrs:
    if type(value) is not dict or not value or not value.keys() <= {"exec", "mtime"} or value.get("exec", True) is not True:
        raise DecodeError(f"manifest node: {shown(value)} are no attributes")
    mtime = value.get("mtime")
    if mtime is None and "mtime" not in value:
        return Attrs(True)
    if type(mtime) is not list or len(mtime) != 2:
        raise DecodeError(f"manifest node: {shown(mtime)} is no time")
    seconds, nanoseconds = mtime
    if type(seconds) is not int or type(nanoseconds) is not int:
        raise DecodeError(f"manifest node: {shown(mtime)} is no time")
    if abs(seconds) > _MTIME_ABS_MAX or not 0 <= nanoseconds < 10**9:
        raise DecodeError(f"manifest node: {shown(mtime)} is no time")
    return Attrs("exec" in value, (seconds, nanoseconds))


def _dir(value: dict[str, dagcbor.Value]) -> DirNode:
    _keys(value, {"wherry", "entries"})
    entries = tuple([_entry(item) for item in _list(value["entries"], "entries")])
    before = ""
    for entry in entries:
        check_name(entry.name)
        if entry.name <= before:
            raise DecodeError(f"directory node: the name {entry.name!r} is doubled or out of order")
        before = entry.name
    node = DirNode(entries)
    _total(node)
    return node


def _total(node: DirNode | ShardsNode) -> None:
    """Bounds the sums too, not only each number: whoever stores or prints them counts on 64 bits."""
    if node.size > TREE_BYTES_MAX or node.count >= TREE_BYTES_MAX:
        raise LimitExceeded(f"manifest node: it stands for {node.size} bytes in {node.count} entries, at most 2**60 are taken")


def _entry(item: dagcbor.Value) -> Entry:
    match item:
        case [str(name), "f", CID() as cid, size, *rest] if len(rest) <= 1:
            return _file_entry(name, cid, _size(size), _attrs(rest[0]) if rest else PLAIN)
        case [str(name), "d", CID() as cid, size, count, *rest] if len(rest) <= 1 and cid.codec == DAG_CBOR:
            attrs = _attrs(rest[0]) if rest else PLAIN
            if attrs.executable:
                raise DecodeError(f"manifest node: the directory {shown(name)} cannot be executable")
            return Entry(name, DIR, cid, _size(size), _size(count, 1), attrs)
        case [str(name), "l", str(target)]:
            check_target(target)
            return Entry(name, LINK, target=target)
    raise DecodeError(f"manifest node: {shown(item)} is no entry")


def _file_entry(name: str, cid: CID, size: int, attrs: Attrs) -> Entry:
    if cid.codec == RAW:
        if size > LEAF_BYTES_MAX or (size == 0) != (cid == EMPTY_LEAF):
            raise IntegrityError(f"manifest node: the leaf {shown(name)} cannot have {size} bytes")
    elif cid.codec != DAG_CBOR:
        raise DecodeError(f"manifest node: the file {shown(name)} has a codec that wherry files do not use")
    elif size == 0:  # never walked, so never found out: an empty file is the empty leaf
        raise IntegrityError(f"manifest node: the file {shown(name)} says 0 bytes, and its content is not the empty leaf")
    return Entry(name, FILE, cid, size, 1, attrs)


def _shards(value: dict[str, dagcbor.Value]) -> ShardsNode:
    _keys(value, {"wherry", "shards"})
    shards = []
    before = ""
    for item in _list(value["shards"], "shards"):
        match item:
            case [str(last), CID() as cid, size, count] if cid.codec == DAG_CBOR:
                check_name(last)
                if last <= before:
                    raise DecodeError(f"shards node: the name {last!r} is doubled or out of order")
                before = last
                shards.append(Shard(last, cid, _size(size), _size(count, 1)))
            case _:
                raise DecodeError(f"manifest node: {shown(item)} is no shard")
    if len(shards) < 2:
        raise DecodeError("shards node: fewer than two shards")
    node = ShardsNode(tuple(shards))
    _total(node)
    return node


def _dataset(value: dict[str, dagcbor.Value], length: int) -> DatasetNode:
    _keys(value, {"wherry", "root", "meta"})
    if length > META_BYTES_MAX:
        raise LimitExceeded(f"dataset node of {length} bytes, at most {META_BYTES_MAX}")
    root, meta = _entry(value["root"]), value["meta"]
    if root.name or root.kind == LINK:
        raise DecodeError("dataset node: its root is no file or directory")
    if type(meta) is not dict or not all(type(word) is str for word in meta.values()):
        raise DecodeError("dataset node: metadata must be text under names")
    return DatasetNode(root, meta)  # type: ignore[arg-type]  # seen just above
