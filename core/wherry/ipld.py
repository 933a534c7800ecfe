"""A block as a value of the IPLD data model, by its codec, and a value as a block (specs/0038 §1, §3). Pure.

dag-pb has the logical form of its public specification: ``{"Data": bytes, "Links": [{"Hash": link, "Name": text, "Tsize":
number}, ...]}``, in which Data, Name and Tsize may be absent. A raw block is bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wherry import dagcbor, dagjson, dagpb
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.errors import DataError, DecodeError, NotFound, UsageError, of_block
from wherry.limits import PB_BYTES_MAX
from wherry.publiccid import PublicCID, codec_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.dagcbor import Value

DAG_JSON: Final = 0x0129
CODECS: Final = {"dag-json": DAG_JSON, "dag-cbor": DAG_CBOR, "dag-pb": DAG_PB, "raw": RAW}
LINKED: Final = frozenset({DAG_JSON, DAG_CBOR, DAG_PB})  # codecs whose blocks have links
_NODE_KEYS: Final = {"Data", "Links"}
_LINK_KEYS: Final = {"Hash", "Name", "Tsize"}
_INDEX_DIGITS_MAX: Final = 7


def read(codec: int, data: bytes) -> Value:
    """Reads a block. Raises DecodeError for one that is malformed, or of a codec not known here, and LimitExceeded."""
    if codec == RAW:
        return data
    if codec == DAG_CBOR:
        return dagcbor.decode_public(data)
    if codec == DAG_JSON:
        return dagjson.decode(data)
    if codec == DAG_PB:
        return _of_node(dagpb.decode(data))
    raise DecodeError(f"blocks of {codec_name(codec)} cannot be read here", hint="--output-codec raw gives the bytes")


def read_block(cid: PublicCID, data: bytes) -> Value:
    """As `read`, by the codec of the block's CID; errors name it."""
    try:
        return read(cid.codec, data)
    except DataError as problem:
        raise of_block(problem, cid) from problem


def write(codec: int, value: Value) -> bytes:
    """Writes a block in the canonical form of its codec. Raises DataError for a value that has none."""
    try:
        if codec == RAW:
            if not isinstance(value, bytes) or isinstance(value, CID | PublicCID):
                raise ValueError("only bytes can be written as raw")  # met below, with the others
            data = bytes(value)
        elif codec == DAG_CBOR:
            data = dagcbor.encode(value)
        elif codec == DAG_JSON:
            data = dagjson.encode(value)
        elif codec == DAG_PB:
            data = dagpb.encode(_node(value))
        else:
            raise UsageError(f"blocks of {codec_name(codec)} cannot be written here")
    except ValueError as problem:
        raise DataError(str(problem)) from problem
    if len(data) > PB_BYTES_MAX:
        raise DataError(
            f"a block of {len(data)} bytes: other tools read {PB_BYTES_MAX} at most",
            hint="split it into several blocks with links between them; `wherry add` does so with files",
        )
    return data


def links(value: Value) -> Iterator[tuple[str, PublicCID]]:
    """Gives the links of a value with their paths in it, in its order. No recursion, so any depth that was read will do."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, found = waiting.pop()
        if isinstance(found, PublicCID):
            yield path, found
        elif isinstance(found, dict):
            waiting.extend([(f"{path}/{key}" if path else key, inner) for key, inner in reversed(found.items())])
        elif isinstance(found, list):
            waiting.extend([(f"{path}/{at}" if path else str(at), found[at]) for at in range(len(found) - 1, -1, -1)])


def within(value: Value, parts: Sequence[str], where: object) -> tuple[Value, int]:
    """Follows a path in a value of the block ``where``, to its end or to a link; gives that, and how many parts led there.

    Raises NotFound.
    """
    for used, part in enumerate(parts):
        if isinstance(value, PublicCID):
            return value, used
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and _is_index(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            raise NotFound(f"block {where} has no {'/'.join(parts[: used + 1])!r} in it")
    return value, len(parts)


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= _INDEX_DIGITS_MAX


def _of_node(node: dagpb.PBNode) -> Value:
    listed: list[Value] = []
    for link in node.links:
        found: dict[str, Value] = {"Hash": link.cid}
        if link.name is not None:
            try:
                found["Name"] = link.name.decode()
            except UnicodeDecodeError:
                raise DecodeError(
                    f"dag-pb: the name of a link is not UTF-8, so it has no logical form: {link.name!r}"
                ) from None
        if link.tsize is not None:
            found["Tsize"] = link.tsize
        listed.append(found)
    return {"Links": listed} if node.data is None else {"Data": node.data, "Links": listed}


def _node(value: Value) -> dagpb.PBNode:
    """Reads the logical form. Raises ValueError."""
    if not isinstance(value, dict) or not value.keys() <= _NODE_KEYS:
        raise ValueError("dag-pb: a node is a map of Data and Links, and of nothing else")
    data, listed = value.get("Data", b""), value.get("Links")
    if type(data) is not bytes:
        raise ValueError("dag-pb: Data is bytes")
    if not isinstance(listed, list):
        raise ValueError("dag-pb: Links is a list")  # noqa: TRY004  # `write` meets ValueError
    return dagpb.PBNode(tuple([_link(link) for link in listed]), data if "Data" in value else None)


def _link(value: Value) -> dagpb.PBLink:
    if not isinstance(value, dict) or not value.keys() <= _LINK_KEYS:
        raise ValueError("dag-pb: a link is a map of Hash, Name and Tsize, and of nothing else")
    cid, name, tsize = value.get("Hash"), value.get("Name", ""), value.get("Tsize", 0)
    if not isinstance(cid, PublicCID):
        raise ValueError("dag-pb: the Hash of a link is a link")  # noqa: TRY004  # as above
    if not isinstance(name, str):
        raise ValueError("dag-pb: the Name of a link is text")  # noqa: TRY004  # as above
    if type(tsize) is not int:
        raise ValueError("dag-pb: the Tsize of a link is an integer")
    return dagpb.PBLink(cid, name.encode() if "Name" in value else None, tsize if "Tsize" in value else None)
