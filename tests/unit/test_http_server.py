"""The server over bare sockets: who is let in, what is answered, and what readers that are slow can cost."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from contextlib import asynccontextmanager, closing

import psutil
import pytest

from wherry.errors import PeerBusy, PeerDenied
from wherry.store.index import FileRecord, LeafRow, Signature
from wherry.store.store import Store
from wherry.testing.blocks import CountedPool, MemorySource, harvest
from wherry.testing.leaves import file_of, right, source_of
from wherry_http.frames import BLOCKS_PATH, INFO_PATH, WANTS_TYPE, encode_wants
from wherry_http.options import HttpOptions
from wherry_http.places import parse_base
from wherry_http.transport import HttpTransport

FILE = file_of("file", 1000, 300_000)
WANTED = encode_wants([FILE[0].want])
QUICK = HttpOptions(idle_timeout=1.0, keepalive=1.0)


@asynccontextmanager
async def serving(options=QUICK, source=None, address="http://127.0.0.1:0", **more):
    async with HttpTransport(options, **more).listen(address, source or source_of(FILE)) as found:
        yield found


async def ask(address, method="POST", path=BLOCKS_PATH, body=WANTED, version="1.1", **headers):
    """One request; gives status, headers and body."""
    base = parse_base(address)
    given = {"Host": f"{base.host}:{base.port}", "Content-Type": WANTS_TYPE, "Content-Length": len(body), "Connection": "close"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/{version}", *[f"{name}: {value}" for name, value in given.items() if value is not None]]
    reader, writer = await asyncio.open_connection(base.host, base.port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        data = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, rest = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), rest


async def status(address, **more):
    return (await ask(address, **more))[0]


async def test_a_right_request_is_answered():
    async with serving() as address:
        code, head, body = await ask(address)
    assert code == 200
    assert f"content-length: {len(body)}" in head
    assert body.endswith(FILE[0].data)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"body": b""}, 400),
        ({"body": b"x" * 35}, 400),
        ({"body": b"\0" * 36}, 400),
        ({"body": WANTED * 513}, 400),
        ({"path": f"{BLOCKS_PATH}?max=many"}, 400),
        ({"path": f"{BLOCKS_PATH}?max=1_0"}, 400),
        ({"path": f"{BLOCKS_PATH}?max=%D9%A1%D9%A2"}, 400),  # digits, of another script
        ({"path": f"{BLOCKS_PATH}?max=-1"}, 200),
        ({"path": f"{BLOCKS_PATH}?max={10**30}"}, 200),
        ({"body": b"x" * 70_000}, 413),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": None}, 415),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"path": "/"}, 405),  # the front page, which nothing is sent to
        ({"path": "/wherry/v2/blocks"}, 404),
        ({"path": "/wherry/v1/blocks/../../../etc/passwd"}, 404),
        ({"method": "GET", "path": INFO_PATH, "body": b""}, 200),
    ],
)
async def test_the_status_says_what_is_wrong(more, expected):
    async with serving() as address:
        assert await status(address, **more) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "192.168.0.1"}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:1234"}, 200),
        ({"Host": "127.0.0.2:1"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "[::2]:80"}, 403),
        ({"Host": None, "version": "1.0"}, 200),
    ],
)
async def test_pages_of_browsers_are_refused(more, expected):
    async with serving() as address:
        assert await status(address, **more) == expected
        assert await status(address, method="GET", path=INFO_PATH, body=b"", **more) == expected


async def test_a_public_listener_takes_any_host():
    async with serving(address="http://0.0.0.0:0", allow_public=True) as address:
        assert await status(address, Host="data.example") == 200
        assert await status(address, Host="data.example", Origin="http://data.example") == 403


async def test_the_token_is_asked_for():
    async with serving(HttpOptions(token="s3cret")) as address:
        for shown in (None, "Bearer wrong", "Bearer s3cret ", "s3cret", "Bearer", "Bearer s3cre", "Basic s3cret", "Bearer ü"):
            code, head, _ = await ask(address, Authorization=shown)
            assert (shown, code) == (shown, 200 if shown == "Bearer s3cret " else 401)
            assert code == 200 or "www-authenticate: bearer" in head
        for scheme in ("Bearer", "bearer", "BEARER", "bEaReR "):
            assert await status(address, Authorization=f"{scheme} s3cret") == 200
        assert await status(address, path="/elsewhere", Authorization=None) == 401
        for options in (HttpOptions(), HttpOptions(token="other")):
            with pytest.raises(PeerDenied) as caught:
                async with HttpTransport(options).connect(address):
                    pass
            assert "token" in caught.value.hint


async def test_too_many_requests_are_told_to_come_later():
    source = Slow({FILE[0].want.cid: FILE[0].data})
    async with serving(HttpOptions(max_requests=1), source) as address, asyncio.TaskGroup() as group:
        first = group.create_task(status(address))
        await asyncio.to_thread(source.begun.wait)
        code, head, _ = await ask(address)
        async with HttpTransport(HttpOptions()).connect(address) as channel:
            with pytest.raises(PeerBusy):
                await harvest(channel, [FILE[0].want], CountedPool())
        source.go_on.set()
        assert (code, await first) == (503, 200)
        assert "retry-after" in head


class Slow(MemorySource):
    """Looks only when it is told to go on."""

    def __init__(self, blocks):
        import threading

        super().__init__(blocks)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def find(self, cids):
        self.begun.set()
        self.go_on.wait(20)
        return super().find(cids)


async def test_a_body_that_takes_too_long():
    async with serving() as address:
        base = parse_base(address)
        reader, writer = await asyncio.open_connection(base.host, base.port)
        head = f"POST {BLOCKS_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {WANTS_TYPE}\r\nContent-Length: 36\r\n\r\n"
        writer.write(head.encode() + b"\1")
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()


async def test_a_header_that_takes_too_long():
    async with serving() as address:
        base = parse_base(address)
        for sent in (b"", b"POST /wh", b"GET / HTTP/1.1\r\nHost: loc"):
            reader, writer = await asyncio.open_connection(base.host, base.port)
            writer.write(sent)
            assert b"200" not in await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await writer.wait_closed()


def complaints(caplog):
    """What was logged as a warning or worse, but for what asyncio's debug mode says of a machine that is busy."""
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record for record in said if not (record.name == "asyncio" and record.msg.startswith("Executing "))]


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\0" * 9000]
)
async def test_nonsense_is_refused_and_said_nowhere(sent, caplog):
    async with serving() as address:
        caplog.clear()  # that the server was loaded, which takes a moment
        base = parse_base(address)
        reader, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(sent)
        writer.write_eof()
        assert b" 200 " not in await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        assert await status(address) == 200
    assert complaints(caplog) == []


async def test_who_leaves_in_the_middle_of_a_request_is_said_nowhere(caplog):
    async with serving() as address:
        base = parse_base(address)
        _, writer = await asyncio.open_connection(base.host, base.port)
        head = f"POST {BLOCKS_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {WANTS_TYPE}\r\nContent-Length: 100\r\n\r\n"
        writer.write(head.encode() + b"some of it")
        await asyncio.sleep(0.2)
        writer.close()
        await writer.wait_closed()
        assert await status(address) == 200
    assert complaints(caplog) == []


class Reader:
    """A client that asks and then reads nothing, with little room in its kernel."""

    def __init__(self, address, wants, count=1):
        base = parse_base(address)
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect((base.host, base.port))
        body = encode_wants(wants)
        head = f"POST {BLOCKS_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {WANTS_TYPE}\r\n"
        self.sock.sendall((f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body) * count)
        self.sock.setblocking(False)

    def at_the_server(self):
        """Gives the states that the server's end of the connection is in."""
        name = self.sock.getsockname()
        return [one.status for one in psutil.Process().net_connections("tcp") if one.raddr == name]

    async def ended(self, within_s):
        """Reads nothing until the server has given up; tells whether it did."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while loop.time() < end:
            await asyncio.sleep(0.1)
            states = [one.status for one in psutil.Process().net_connections("tcp") if one.laddr == self.sock.getsockname()]
            if states != ["ESTABLISHED"]:
                return True
        return False


@asynccontextmanager
async def store_of(folder, *files, hashed=False):
    """A real store that has these files on disk."""
    home, data = folder / "home", folder / "data"
    home.mkdir()
    with closing(Store(home, None, hashed=hashed)) as store:
        for file in files:
            path = data / file[0].want.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(leaf.data for leaf in file))
            rows = [LeafRow(leaf.want.cid.digest, leaf.want.offset, leaf.want.size) for leaf in file]
            store.index.record([FileRecord(str(path), Signature.of(path.stat()), None, "c", rows)])
        yield store


@pytest.mark.parametrize("hashed", [False, True])
async def test_readers_that_take_nothing_are_cut_and_hold_nobody_up(hashed, tmp_path):
    """Thirty of them, more than there are workers and buffers; meanwhile others are served at once."""
    file = file_of("large", *[1_000_000] * 4)
    wants = [leaf.want for leaf in file]
    options = HttpOptions(idle_timeout=3.0)
    async with store_of(tmp_path, file, hashed=hashed) as store, serving(options, store) as address:
        gc.collect()
        before = psutil.Process().memory_info().rss
        async with HttpTransport(options).connect(address) as channel:
            readers = [Reader(address, wants) for _ in range(30)]
            try:
                await asyncio.sleep(0.3)
                loop = asyncio.get_running_loop()
                began = loop.time()
                right(await asyncio.wait_for(harvest(channel, wants, CountedPool()), 20), file)
                assert loop.time() - began < 2.5
                assert psutil.Process().memory_info().rss - before < 60_000_000
                assert all(await asyncio.gather(*[reader.ended(10) for reader in readers]))
            finally:
                for reader in readers:
                    reader.sock.close()
            right(await harvest(channel, wants, CountedPool()), file)


async def test_a_reader_that_closes_its_side_and_takes_nothing_is_not_waited_for_long(tmp_path):
    """A client that goes while its window is shut is not reset by its kernel: the server has to see that it said good-bye."""
    file = file_of("large", *[1_000_000] * 8)
    async with store_of(tmp_path, file) as store, serving(HttpOptions(idle_timeout=60.0), store) as address:
        reader = Reader(address, [leaf.want for leaf in file])
        try:
            await asyncio.sleep(0.3)
            assert reader.at_the_server() == ["ESTABLISHED"]
            reader.sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(20):
                while reader.at_the_server():
                    await asyncio.sleep(0.1)
        finally:
            reader.sock.close()


async def test_a_reader_that_asks_again_and_again_and_reads_nothing_is_cut(tmp_path):
    file = file_of("large", *[1_000_000] * 4)
    async with store_of(tmp_path, file) as store, serving(QUICK, store) as address:
        reader = Reader(address, [leaf.want for leaf in file], count=50)
        assert await reader.ended(10)
        reader.sock.close()


async def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection(tmp_path):
    """What was promised cannot be sent: the client must not take what it got for the answer."""
    file = file_of("large", *[1_000_000] * 4)
    async with store_of(tmp_path, file) as store, serving(QUICK, store) as address:
        reader = Reader(address, [leaf.want for leaf in file])
        await asyncio.sleep(0.3)
        os.truncate(tmp_path / "data/large", 1)
        got = 0
        loop = asyncio.get_running_loop()
        try:
            while data := await asyncio.wait_for(loop.sock_recv(reader.sock, 65536), 10):
                got += len(data)
        except ConnectionResetError:
            pass
        assert got < 4_000_000
        reader.sock.close()
