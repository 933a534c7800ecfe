"""The messages of the native exchange, to bytes and back (specs/0004 §2, §3).

Every message is a head of eight bytes and a body, whose length is bounded by its kind before a byte of it is taken.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from wherry import dagcbor
from wherry.address import ADDRESS
from wherry.cid import BINARY_BYTES, CID
from wherry.errors import DataError, DecodeError
from wherry.ipns.name import Name
from wherry.limits import (
    ADDRESS_CHARS_MAX,
    BATCH_BYTES_MAX,
    LEAF_BYTES_MAX,
    NAME_RECORD_BYTES_MAX,
    TREE_BYTES_MAX,
    WIRE_PEERS_MAX,
    WIRE_REASON_BYTES_MAX,
    WIRE_REQUESTS_MAX,
    WIRE_SPANS_MAX,
)
from wherry.wire.frames import CODING_NAME, CODINGS_MAX
from wherry.wire.messages import (
    HMAC_BYTES,
    KIND_OF,
    LENGTH_MAX,
    MAGIC,
    NONCE_BYTES,
    REQUEST_BYTES,
    SESSION_BYTES,
    SIGNATURE_BYTES,
    SIZE_UNKNOWN,
    VERSION,
    BlocksFlag,
    Bye,
    Cancel,
    Choke,
    Error,
    Fault,
    Follow,
    Have,
    HaveFlag,
    Head,
    Hello,
    Kind,
    Message,
    Peers,
    Ping,
    Pong,
    Proof,
    Record,
    Resolve,
    Unchoke,
    Unfollow,
    Want,
)
from wherry.wire.varint import decode_varints, encode_varints

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.cid import Bytes

_HEAD: Final = struct.Struct(">BBHI")
_REQUEST: Final = struct.Struct(">I")
_PING: Final = struct.Struct(">Q")
_WANT: Final = struct.Struct(f">{BINARY_BYTES}sI")
_WANT_HEAD: Final = struct.Struct(">II")
_FLAGS: Final[dict[Kind, int]] = {
    Kind.HAVE: HaveFlag.GAINED | HaveFlag.COMPLETE | HaveFlag.CHOOSY | HaveFlag.NOTHING,
    Kind.BLOCKS: BlocksFlag.FINAL | BlocksFlag.REFUSED,
}


def decode_head(data: Bytes) -> Head:
    """Reads a head. Raises DecodeError for a kind or flags that there are not, or a body longer than its kind may have."""
    number, flags, zero, length = _HEAD.unpack(data)
    try:
        kind = Kind(number)
    except ValueError:
        raise DecodeError(f"a message of the unknown kind {number}") from None
    if flags & ~_FLAGS.get(kind, 0) or zero:
        raise DecodeError(f"{kind.name} with the flags {flags:#x}, {zero:#x}")
    if length > LENGTH_MAX[kind]:
        raise DecodeError(f"{kind.name} of {length} bytes, at most {LENGTH_MAX[kind]} are taken")
    return Head(kind, flags, length)


def blocks_head(request: int, length: int, flags: BlocksFlag) -> bytes:
    """Writes what stands before the frames of a ``Blocks`` message; ``length`` is theirs."""
    return _HEAD.pack(Kind.BLOCKS, flags, 0, REQUEST_BYTES + length) + _REQUEST.pack(request)


def decode_request(data: Bytes) -> int:
    """Reads the request number that a ``Blocks`` body begins with."""
    (request,) = _REQUEST.unpack(data)
    return int(request)


def encode(message: Message) -> bytes:
    """Writes a message, head and body. What it holds must be within the bounds: `LENGTH_MAX`, and those of each kind."""
    kind = KIND_OF[type(message)]
    body = _WRITERS[kind](message)
    return _HEAD.pack(kind, message.flags if isinstance(message, Have) else 0, 0, len(body)) + body


def decode(head: Head, body: bytes) -> Message:
    """Reads a body. Raises DecodeError, whatever it is."""
    try:
        message: Message = _READERS[head.kind](head, body)
    except DecodeError:
        raise
    except (struct.error, DataError) as problem:
        raise DecodeError(f"{head.kind.name}: {problem}") from problem
    return message


def _reason(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:WIRE_REASON_BYTES_MAX]


def _write_hello(hello: Hello) -> bytes:
    return MAGIC + dagcbor.encode({
        "v": VERSION, "nonce": hello.nonce, "id": hello.id, "addresses": list(hello.addresses),
        "codings": list(hello.codings), "requests": hello.requests, "session": hello.session, "join": hello.join,
        "token": hello.token, **({"names": True} if hello.names else {}),
    })  # fmt: skip


def _write_have(have: Have) -> bytes:
    numbers, at = [], 0
    for start, end in have.spans:
        numbers += [start - at, end - start]
        at = end
    return have.root + encode_varints(numbers)


def _write_want(want: Want) -> bytes:
    sizes = [SIZE_UNKNOWN if size is None else size for size in want.sizes]
    return _WANT_HEAD.pack(want.request, want.bytes_max) + b"".join(map(_WANT.pack, want.cids, sizes))


def _write_peers(peers: Peers) -> bytes:
    return b"".join(struct.pack(">H", len(address)) + address.encode("ascii") for address in peers.addresses)


_WRITERS: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.HELLO: _write_hello,
    Kind.PROOF: lambda proof: dagcbor.encode({"token": proof.token, "signature": proof.signature}),
    Kind.FOLLOW: lambda follow: follow.root,
    Kind.UNFOLLOW: lambda unfollow: unfollow.root,
    Kind.HAVE: _write_have,
    Kind.WANT: _write_want,
    Kind.CANCEL: lambda cancel: _REQUEST.pack(cancel.request),
    Kind.CHOKE: lambda _: b"",
    Kind.UNCHOKE: lambda _: b"",
    Kind.PEERS: _write_peers,
    Kind.PING: lambda ping: _PING.pack(ping.number),
    Kind.PONG: lambda pong: _PING.pack(pong.number),
    Kind.ERROR: lambda error: bytes([error.fault]) + _reason(error.reason),
    Kind.BYE: lambda bye: _reason(bye.reason),
    Kind.RESOLVE: lambda resolve: resolve.name,
    Kind.RECORD: lambda record: bytes([len(record.name)]) + record.name + record.record,
}


def _read_hello(head: Head, body: bytes) -> Hello:
    del head
    if not body.startswith(MAGIC):
        raise DecodeError("it does not speak wherry's exchange")
    fields = _map(body[len(MAGIC) :])
    if fields.get("v") != VERSION:
        raise DecodeError(f"it speaks version {ascii(fields.get('v'))[:20]} of the exchange, this wherry {VERSION}")
    requests = fields.get("requests")
    if type(requests) is not int or not 1 <= requests <= WIRE_REQUESTS_MAX:
        raise DecodeError(f"Hello: requests is no number from 1 to {WIRE_REQUESTS_MAX}")
    token = fields.get("token")
    if type(token) is not bool:
        raise DecodeError("Hello: token is not true or false")
    names = fields.get("names", False)
    if type(names) is not bool:
        raise DecodeError("Hello: names is not true or false")
    claimed = fields.get("id")
    if not isinstance(claimed, str) or len(claimed) > 128 or not claimed.isascii():
        raise DecodeError("Hello: id is no text of a peer id")
    return Hello(
        _bytes(fields, "nonce", NONCE_BYTES), claimed, _addresses(_texts(fields, "addresses", WIRE_PEERS_MAX)),
        _codings(_texts(fields, "codings", CODINGS_MAX)), requests, _bytes(fields, "session", 0, SESSION_BYTES),
        _bytes(fields, "join", 0, SESSION_BYTES), token, names,
    )  # fmt: skip


def _read_proof(head: Head, body: bytes) -> Proof:
    del head
    fields = _map(body)
    return Proof(_bytes(fields, "token", 0, HMAC_BYTES), _bytes(fields, "signature", 0, SIGNATURE_BYTES))


def _map(body: bytes) -> dict[str, Any]:
    value: object = dagcbor.decode(body)
    if not isinstance(value, dict):
        raise DecodeError("it is no map")
    return value


def _bytes(fields: dict[str, Any], name: str, *lengths: int) -> bytes:
    value = fields.get(name)
    if type(value) is not bytes or len(value) not in lengths:
        raise DecodeError(f"{name} is not of {' or '.join(map(str, lengths))} bytes")
    return value


def _texts(fields: dict[str, Any], name: str, count_max: int) -> list[str]:
    value = fields.get(name)
    if not isinstance(value, list) or len(value) > count_max or not all(isinstance(one, str) for one in value):
        raise DecodeError(f"{name} is no list of at most {count_max} texts")
    return value


def _addresses(texts: Sequence[str]) -> tuple[str, ...]:
    for text in texts:
        if len(text) > ADDRESS_CHARS_MAX or not ADDRESS.fullmatch(text):
            raise DecodeError(f"{ascii(text)[:80]} is no address")
    return tuple(texts)


def _codings(texts: Sequence[str]) -> tuple[str, ...]:
    if len(set(texts)) != len(texts) or not all(map(CODING_NAME.fullmatch, texts)):
        raise DecodeError("codings are not different names")
    return tuple(texts)


def _read_have(head: Head, body: bytes) -> Have:
    root, flags = CID(body[:BINARY_BYTES]), HaveFlag(head.flags)
    numbers = decode_varints(memoryview(body)[BINARY_BYTES:], 2 * WIRE_SPANS_MAX)
    if len(numbers) % 2:
        raise DecodeError("HAVE: a span without an end")
    spans: list[tuple[int, int]] = []
    at = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        if not length or (spans and not gap):
            raise DecodeError("HAVE: a span that is empty, or touches the one before it")
        start, at = at + gap, at + gap + length
        if at > TREE_BYTES_MAX:
            raise DecodeError(f"HAVE: a span that ends at {at}, beyond any dataset")
        spans.append((start, at))
    if flags & HaveFlag.NOTHING and (flags != HaveFlag.NOTHING or spans):
        raise DecodeError("HAVE of nothing that says more")
    if flags & HaveFlag.CHOOSY and not flags & HaveFlag.COMPLETE:
        raise DecodeError("HAVE that is choosy without being complete")
    return Have(root, tuple(spans), flags)


def _read_want(head: Head, body: bytes) -> Want:
    del head
    request, bytes_max = _WANT_HEAD.unpack(body[: _WANT_HEAD.size])
    if bytes_max > BATCH_BYTES_MAX:
        raise DecodeError(f"WANT for up to {bytes_max} bytes, at most {BATCH_BYTES_MAX} are given")
    pairs = list(_WANT.iter_unpack(body[_WANT_HEAD.size :]))
    if not pairs:
        raise DecodeError("WANT of nothing")
    sizes = tuple(None if size == SIZE_UNKNOWN else size for _, size in pairs)
    if any(size is not None and size > LEAF_BYTES_MAX for size in sizes):
        raise DecodeError(f"WANT of a block of more than {LEAF_BYTES_MAX} bytes")
    return Want(request, bytes_max, tuple(CID(cid) for cid, _ in pairs), sizes)


def _read_peers(head: Head, body: bytes) -> Peers:
    del head
    texts: list[str] = []
    at = 0
    while at < len(body):
        (length,) = struct.unpack_from(">H", body, at)
        text = body[at + 2 : at + 2 + length]
        at += 2 + length
        if at > len(body) or len(texts) == WIRE_PEERS_MAX or not text.isascii():
            raise DecodeError(f"PEERS that are cut off, more than {WIRE_PEERS_MAX}, or no text")
        texts.append(text.decode("ascii"))
    return Peers(_addresses(texts))


def _read_record(head: Head, body: bytes) -> Record:
    del head
    if not body or len(body) <= body[0]:
        raise DecodeError("RECORD without a name, or with half of one")
    name, record = Name(body[1 : 1 + body[0]]), body[1 + body[0] :]
    if len(record) > NAME_RECORD_BYTES_MAX:
        raise DecodeError(f"RECORD of {len(record)} bytes, at most {NAME_RECORD_BYTES_MAX} are taken")
    return Record(bytes(name), record)


def _read_error(head: Head, body: bytes) -> Error:
    del head
    if not body or body[0] not in Fault.__members__.values():
        raise DecodeError("ERROR of an unknown kind")
    return Error(Fault(body[0]), _text(body[1:]))


def _text(data: bytes) -> str:
    """Reads what a stranger says, to be shown: what is not printable is replaced."""
    return "".join([char if char.isprintable() else "?" for char in data.decode("utf-8", "replace")])


def _number(form: struct.Struct, body: bytes) -> int:
    (number,) = form.unpack(body)
    return int(number)


def _nothing(body: bytes, message: Message) -> Message:
    if body:
        raise DecodeError("a body where there is none")
    return message


_READERS: Final[dict[Kind, Callable[[Head, bytes], Message]]] = {
    Kind.HELLO: _read_hello,
    Kind.PROOF: _read_proof,
    Kind.FOLLOW: lambda _, body: Follow(CID(body)),
    Kind.UNFOLLOW: lambda _, body: Unfollow(CID(body)),
    Kind.HAVE: _read_have,
    Kind.WANT: _read_want,
    Kind.CANCEL: lambda _, body: Cancel(_number(_REQUEST, body)),
    Kind.CHOKE: lambda _, body: _nothing(body, Choke()),
    Kind.UNCHOKE: lambda _, body: _nothing(body, Unchoke()),
    Kind.PEERS: _read_peers,
    Kind.PING: lambda _, body: Ping(_number(_PING, body)),
    Kind.PONG: lambda _, body: Pong(_number(_PING, body)),
    Kind.ERROR: _read_error,
    Kind.BYE: lambda _, body: Bye(_text(body)),
    Kind.RESOLVE: lambda _, body: Resolve(bytes(Name(body))),
    Kind.RECORD: _read_record,
}
