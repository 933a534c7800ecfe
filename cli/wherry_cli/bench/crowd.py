"""A crowd of clients in one process: many transfers from one server, all of them open at once. Run by ``concurrent``.

    python -m wherry_cli.bench.crowd REQUEST.json

It speaks the protocol on plain sockets (specs/0008 §3) with small receive buffers, so that the server cannot hand everything
to the kernel and be done: it has to hold every answer until the last client is ready. Every leaf is hashed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wherry.abc.transport import Want
from wherry.cid import CID
from wherry.units import KiB, MiB
from wherry.wire.frames import HEADER_BYTES, RUN, SIZE_BYTES, Answer
from wherry_http.frames import BLOCKS_PATH, WANTS_TYPE, encode_wants

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE_BYTES: Final = 64 * KiB
OPEN_S: Final = 120.0  # until every answer has begun
WHOLE_S: Final = 600.0
_ANSWER_BYTES_MAX: Final = 4 * MiB + 16 * KiB


class Gate:
    """Opens when everyone has come, or failed on the way."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._event = asyncio.Event()
        self.waiting = 0  # now
        self.most = 0  # at one time

    async def wait(self) -> None:
        """Waits for the others."""
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self._look()
        async with asyncio.timeout(OPEN_S):
            await self._event.wait()

    def give_up(self) -> None:
        """Says that one will not come."""
        self._expected -= 1
        self._look()

    def _look(self) -> None:
        if self.waiting >= self._expected:
            self._event.set()


async def transfer(host: str, port: int, wants: Sequence[Want], gate: Gate | None) -> int:
    """Fetches and verifies ``wants`` over a connection of its own; gives their bytes.

    Raises OSError, ValueError, WherryError.
    """
    passed = False
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * PIECE_BYTES)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=PIECE_BYTES)
    except BaseException:
        sock.close()
        if gate is not None:
            gate.give_up()
        raise
    try:
        body = encode_wants(wants)
        head = (
            f"POST {BLOCKS_PATH}?max={_ANSWER_BYTES_MAX} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {WANTS_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        async with asyncio.timeout(OPEN_S):
            status = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0]
        if b" 200 " not in status + b" ":
            raise ValueError(f"the server answered {status.decode(errors='replace')!r}")
        passed = True
        if gate is not None:
            await gate.wait()
        async with asyncio.timeout(WHOLE_S):
            return await receive(reader, wants, f"{host}:{port}")
    finally:
        if gate is not None and not passed:
            gate.give_up()
        writer.close()


async def receive(reader: asyncio.StreamReader, wants: Sequence[Want], peer: str) -> int:
    """Reads the frames of an answer, hashing a piece at a time. Raises ValueError for leaves that are wrong or missing."""
    answer, total = Answer(wants, peer), 0
    while len(answer.blocks) < len(wants):
        header = answer.header(await reader.readexactly(HEADER_BYTES))
        if header.kind != RUN:
            raise ValueError(f"the server left out {header.wants} leaves")
        first = len(answer.blocks)
        answer.run(header, await reader.readexactly(SIZE_BYTES * header.wants), 0)
        for want, start, stop in answer.blocks[first:]:
            if await _digest(reader, stop - start) != wants[want].cid.digest:
                raise ValueError(f"the leaf {wants[want].cid} came with other bytes")
            total += stop - start
    return total


async def _digest(reader: asyncio.StreamReader, size: int) -> bytes:
    digest = hashlib.sha256()
    while size:
        piece = await reader.read(min(PIECE_BYTES, size))
        if not piece:
            raise ConnectionResetError("the server cut the answer short")
        digest.update(piece)
        size -= len(piece)
    return digest.digest()


async def crowd(request: dict[str, Any]) -> dict[str, object]:
    """Runs all transfers of ``request``, ``at_once`` of them side by side, and tells how it went."""
    batches = [[Want(CID.parse(cid), size) for cid, size in batch] for batch in request["batches"]]
    at_once = min(int(request["at_once"]), len(batches))
    gate = Gate(len(batches)) if at_once == len(batches) else None
    turn = asyncio.Semaphore(at_once)
    problems: list[str] = []
    total = 0

    async def one(wants: list[Want]) -> None:
        nonlocal total
        async with turn:
            try:
                total += await transfer(request["host"], request["port"], wants, gate)
            except Exception as problem:  # noqa: BLE001 - whatever it is, it is an error to be counted
                problems.append(f"{type(problem).__name__}: {problem}")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for wants in batches:
            group.create_task(one(wants))
    return {
        "seconds": time.perf_counter() - began, "bytes": total, "errors": len(problems), "first_errors": problems[:5],
        "open_at_once": gate.most if gate is not None else at_once,
    }  # fmt: skip


def main() -> None:
    """Reads the request, runs it, prints the result."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps(asyncio.run(crowd(request))))


if __name__ == "__main__":
    main()
