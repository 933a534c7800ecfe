"""What tests of the gateway share: DAGs built and read by plain code of their own, and requests over a bare socket."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from wherry import dagpb
from wherry.cid import CID, RAW
from wherry.publiccid import PublicCID
from wherry.testing.blocks import MemorySource
from wherry.unixfs import data as unixfs
from wherry.unixfs.build import FileBuilder, link
from wherry.unixfs.build_dir import DirBuilder
from wherry_http.options import HttpOptions
from wherry_http.places import parse_base
from wherry_http.transport import HttpTransport

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
RECORD_TYPE = "application/vnd.ipfs.ipns-record"


class Records(MemorySource):
    """A source of blocks that has records too."""

    def __init__(self, blocks, records=None):
        super().__init__(blocks)
        self.records = records or {}

    def record(self, name):
        return self.records.get(name)


class Tree:
    """Builds DAGs in memory."""

    def __init__(self):
        self.blocks = {}

    def emit(self, block):
        self.blocks[block.cid] = block.data

    def put(self, data, codec=RAW):
        cid = CID.of(codec, data)
        self.blocks[cid] = data
        return PublicCID(cid)

    def file(self, *chunks):
        builder = FileBuilder(self.emit)
        for chunk in chunks:
            builder.chunk(chunk)
        return builder.finish()

    def link(self, target):
        return link(target, self.emit)

    def dir(self, **entries):
        return self.names({name.encode(): child for name, child in entries.items()})

    def names(self, entries):
        builder = DirBuilder(self.emit)
        for name, child in entries.items():
            builder.add(name, child)
        return builder.finish()

    def node(self, message, *links):
        """A dag-pb node as it is told, whether it makes sense or not; links are (name, cid, tsize)."""
        rows = [dagpb.encode_link(dagpb.PBLink(PublicCID(cid), name, size)) for name, cid, size in links]
        return self.put(dagpb.join(rows, unixfs.encode(message)), 0x70)

    def source(self):
        return Records(self.blocks)


class Answer(NamedTuple):
    """One answer: ``body`` is without chunks; ``whole`` tells whether it came to its end."""

    status: int
    headers: dict
    body: bytes
    whole: bool


@asynccontextmanager
async def gateway(source, address="http://127.0.0.1:0", *, more=None, **options):
    """A gateway over a source; gives its address. ``more`` is given to the transport besides its options."""
    given = HttpOptions(**({"idle_timeout": 5.0, "keepalive": 5.0} | options))
    async with HttpTransport(given, **(more or {})).listen(address, source) as found:
        yield found


async def ask(address, path, method="GET", version="1.1", **headers):
    """One request over a socket of its own, written as it is told: no client library tidies the path up."""
    base = parse_base(address)
    lines = [f"{method} {path} HTTP/{version}", f"Host: {base.host}:{base.port}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    reader, writer = await asyncio.open_connection(base.host, base.port)
    data = b""
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            while piece := await asyncio.wait_for(reader.read(1 << 20), 20):
                data += piece
        except ConnectionError:
            return _answer(data, method, cut=True)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return _answer(data, method, cut=False)


def _answer(data, method, *, cut):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rows = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
    whole = not cut
    if headers.get("transfer-encoding") == "chunked" and method != "HEAD":
        body, ended = unchunked(body)
        whole = whole and ended
    elif "content-length" in headers and method != "HEAD":
        whole = whole and len(body) == int(headers["content-length"])
    return Answer(int(first.split()[1]) if first else 0, headers, body, whole)


def unchunked(body):
    """Gives the bytes in chunks, and whether the last chunk is there."""
    pieces, at = [], 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:end], 16)
        if size == 0:
            return b"".join(pieces), body[end:] == b"\r\n\r\n"
        piece = body[end + 2 : end + 2 + size]
        pieces.append(piece)
        if len(piece) < size or body[end + 2 + size : end + 4 + size] != b"\r\n":
            break
        at = end + 4 + size
    return b"".join(pieces), False


def car_blocks(data):
    """The blocks of a CAR, in order, each checked against its CID, as (text of the CID, bytes)."""
    size, at = _varint(data, 0)
    assert data[at : at + size].startswith(b"\xa2\x65roots")
    assert data[at : at + size].endswith(b"\x67version\x01")
    at += size
    found = []
    while at < len(data):
        size, at = _varint(data, at)
        cid, start = PublicCID.read(data, at)
        assert start <= at + size <= len(data), "a section that is cut off"
        block = data[start : at + size]
        if cid.inline is None:
            assert CID.of(RAW, block).digest == cid.digest
        found.append((str(cid), block))
        at += size
    return found


def car_cids(data):
    """The CIDs of a CAR, in order."""
    return [cid for cid, _ in car_blocks(data)]


def _varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return number, at


def fixtures():
    """The folder of public fixtures, or a skip."""
    folder = os.environ.get("WHERRY_FIXTURES")
    if not folder:
        pytest.skip("WHERRY_FIXTURES does not name the folder of the public fixtures")
    return Path(folder)


class Fixture:
    """A fixture read by plain code: what must be in an answer, by names of files."""

    def __init__(self, path):
        self.data = path.read_bytes()
        rows = car_blocks(self.data)
        self.all = dict(rows)
        self.blocks = {PublicCID.parse(cid).block(): data for cid, data in rows if PublicCID.parse(cid).inline is None}
        size, at = _varint(self.data, 0)
        self.root = str(PublicCID.read(self.data[at : at + size], self.data[at : at + size].index(b"\xd8\x2a") + 5)[0])

    def links(self, cid):
        return dagpb.decode(self.all[cid]).links if PublicCID.parse(cid).codec == 0x70 else []

    def sharded(self, cid):
        node = dagpb.decode(self.all[cid])
        return unixfs.decode(node.data).type == unixfs.HAMT_SHARD

    def way(self, *names):
        """The CIDs from the root to what the names lead to; through shards by looking for the name, not for its hash."""
        found = [self.root]
        for name in names:
            found += self._step(found[-1], name.encode())
        return found

    def _step(self, cid, name):
        skip = 2 if self.sharded(cid) else 0
        for entry in self.links(cid):
            if entry.name[skip:] == name:
                return [str(entry.cid)]
            if skip and len(entry.name) == 2:
                below = self._step(str(entry.cid), name)
                if below:
                    return [str(entry.cid), *below]
        return []

    def below(self, cid):
        """All CIDs below one, depth first."""
        found = []
        for entry in self.links(cid):
            found += [str(entry.cid), *self.below(str(entry.cid))]
        return found

    def shards(self, cid):
        """All shards below one."""
        found = []
        for entry in self.links(cid):
            if len(entry.name) == 2:
                found += [str(entry.cid), *self.shards(str(entry.cid))]
        return found
