"""A trustless gateway that is none of wherry's: a plain HTTP server over a dict of blocks, as good as a test makes it."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from wherry import dagpb
from wherry.abc.transport import FilePart, Want
from wherry.car import header, section_head
from wherry.cid import CID, DAG_PB
from wherry.cid import RAW as RAW_CODEC
from wherry.publiccid import PublicCID
from wherry.testing.blocks import CountedPool, fetch_once
from wherry.units import KiB
from wherry.unixfs import data as unixfs
from wherry.unixfs.build import FileBuilder
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport

RAW = "application/vnd.ipld.raw"
CAR = "application/vnd.ipld.car"
QUICK = HttpOptions(connect_timeout=2.0, idle_timeout=1.0)


class Gateway(BaseHTTPRequestHandler):
    """Answers raw blocks, and CARs of a range of a file."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Says nothing."""

    def do_GET(self):
        """Answers."""
        path, _, query = self.path.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        self.server.asked.append(path)
        self.server.requests.append(self.path)
        self.server.seen.append(dict(self.headers.items()))
        if self.server.moved is not None and self.server.moved(self, path, query):
            return
        if not path.startswith("/ipfs/"):
            self.say(404, b"what?", "text/plain")
            return
        cid = PublicCID.parse(path[6:])
        if asked.get("format") == "car":
            self.server.cars += 1
            if self.server.car is None:
                self.say(406, b"no CARs here", "text/plain")
            else:
                self.server.car(self, cid, asked)
            return
        assert query == "format=raw"
        data = cid.inline if cid.inline is not None else self.server.blocks.get(cid.multihash)
        if cid.inline is None and self.server.twist is not None:
            self.server.twist(self, cid, data)
        elif data is None:
            self.say(404, b"not here", "text/plain")
        else:
            self.say(200, data, RAW)

    def say(self, status, body, kind, length=None, **more):
        """Answers with these words."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Content-Type", kind)
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self, status=200, kind=f"{CAR}; version=1; order=dfs; dups=n", **more):
        """Begins an answer in chunks."""
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Type", kind)
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def chunk(self, data):
        """Sends a chunk; b"" is the last."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def good_car(handler, cid, asked):
    """Answers with the CAR that was asked for."""
    assert asked["dag-scope"] == "entity"
    first, last = (int(part) for part in asked["entity-bytes"].split(":"))
    blocks = handler.server.blocks
    if cid.multihash not in blocks:
        handler.say(404, b"not here", "text/plain")
        return
    handler.begin()
    handler.chunk(header([cid]))
    sent = set()
    for block, data in entity(blocks, cid, first, last + 1):
        if block not in sent:
            sent.add(block)
            handler.chunk(section_head(block, len(data)) + data)
    handler.chunk(b"")


def entity(blocks, cid, start, stop):
    """The blocks of a file that have a byte of a range, depth first, by plain recursion."""
    data = blocks[cid.multihash]
    yield cid, data
    if cid.codec == DAG_PB:
        node = dagpb.decode(data)
        message = unixfs.decode(node.data)
        at = len(message.data or b"")
        for link, size in zip(node.links, message.blocksizes, strict=True):
            if at < stop and at + size > start:
                yield from entity(blocks, link.cid, start - at, stop - at)
            at += size


@contextmanager
def foreign(blocks, twist=None, car=None, moved=None):
    """Runs one; gives it. ``twist`` answers instead for raw blocks, ``car`` for CARs; ``moved`` answers first, or not."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        server.daemon_threads = True
        server.blocks, server.twist, server.car, server.moved = blocks, twist, car, moved
        server.asked, server.requests, server.seen, server.cars = [], [], [], 0
        server.handle_error = lambda *_: None  # a client may go in the middle
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        server.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def made_file():
    """A file of 200 leaves of 40 KiB, some of them equal: its root, its blocks by multihash, its wants, its bytes."""
    blocks, wants, content = {}, [], b""
    rng = random.Random(5)

    def emit(block):
        blocks[PublicCID(block.cid).multihash] = block.data

    builder = FileBuilder(emit)
    leaves = [rng.randbytes(40 * KiB) for _ in range(199)]
    for data in (*leaves[:150], leaves[0], *leaves[150:]):
        cid = CID.of(RAW_CODEC, data)
        blocks[PublicCID(cid).multihash] = data
        builder.chunk(data)
        wants.append((cid, data))
        content += data
    root = builder.finish().cid
    made = [
        Want(cid, len(data), "file", at * 40 * KiB, FilePart(CID(root), at * 40 * KiB, (at + 1) * 40 * KiB))
        for at, (cid, data) in enumerate(wants)
    ]
    return PublicCID(root), blocks, made, content


async def fetched(address, wants, *, dial=None, options=QUICK, again=1):
    """Fetches wants over one channel, and gives what came and is right."""
    pool = CountedPool()
    try:
        transport = HttpTransport(options, **({} if dial is None else {"dial": dial}))
        async with transport.connect(address) as channel:
            for _ in range(again):
                harvest = await fetch_once(channel, wants, pool)
        return harvest
    finally:
        assert pool.out == 0


def whole(harvest, wants):
    """Checks that all came, and is what it is called."""
    assert sorted(harvest.blocks) == list(range(len(wants)))
    for number, want in enumerate(wants):
        assert CID.of(RAW_CODEC, harvest.blocks[number]) == want.cid
