"""The names of a tracker: ``GET|PUT /routing/v1/ipns/{name}`` (specs/0028 §8). Verified; the best wins."""

from __future__ import annotations

import asyncio
import hashlib
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from wherry.dial import network_of
from wherry.errors import CIDError, DataError
from wherry.ipns.name import Name
from wherry.ipns.record import read
from wherry.limits import NAME_RECORD_BYTES_MAX
from wherry.offload import in_thread
from wherry_locate.naming import TYPE

if TYPE_CHECKING:
    from wherry_locate.server.book import Book

_FRESH_S = 15


async def give(book: Book, request: web.Request, now: float) -> web.StreamResponse:
    """Answers with the record of a name; 404 without one."""
    name = _name(request)
    if not _takes(request.headers.get("Accept", "")):
        raise web.HTTPNotAcceptable(text=f"a record is {TYPE}\n")
    record = await in_thread(partial(book.name, name, now))
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    if record is None:
        headers["Cache-Control"] = f"public, max-age={_FRESH_S}"
        raise web.HTTPNotFound(text="no record of this name is here\n", headers=headers)
    left_s = max(0, int(record.until_ns / 1e9 - now))
    headers["Cache-Control"] = f"public, max-age={min(record.ttl_ns // 10**9, left_s)}"
    headers["Etag"] = f'"{hashlib.sha256(record.binary).hexdigest()[:32]}"'
    headers["Expires"] = formatdate(min(record.until_ns // 10**9, 253_402_300_799), usegmt=True)
    headers["Content-Disposition"] = f'attachment; filename="{name}.ipns-record"'
    if headers["Etag"] in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=record.binary, content_type=TYPE, headers=headers)


async def take(book: Book, request: web.Request, ip: str, now: float, body_s: float) -> web.StreamResponse:
    """Takes a record: 200, 400 for one that is wrong or not the best, 406 for another type."""
    name = _name(request)
    if request.content_type != TYPE:
        raise web.HTTPNotAcceptable(text=f"send {TYPE}\n")
    try:
        async with asyncio.timeout(body_s):
            body = await _bounded(request)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the request's body took too long\n") from None
    try:
        record = await in_thread(partial(read, body, name, now))
    except DataError as problem:
        raise web.HTTPBadRequest(text=f"{problem.message}\n") from None
    if not await in_thread(partial(book.put_name, record, network_of(ip), now)):
        raise web.HTTPBadRequest(text="a better record of this name is here: a higher number, or a later end\n")
    return web.Response(headers={"Cache-Control": "no-store"})


async def _bounded(request: web.Request) -> bytes:
    held = bytearray()
    async for piece in request.content.iter_any():
        held += piece
        if len(held) > NAME_RECORD_BYTES_MAX:
            raise web.HTTPBadRequest(text=f"a record has at most {NAME_RECORD_BYTES_MAX:,} bytes\n")
    return bytes(held)


def _name(request: web.Request) -> Name:
    try:
        return Name.parse(request.match_info["name"])
    except CIDError as problem:
        raise web.HTTPBadRequest(text=f"{problem.message}\n") from None


def _takes(accept: str) -> bool:
    kinds = {part.partition(";")[0].strip().lower() for part in accept[:2048].split(",")} - {""}
    return not kinds or bool(kinds & {TYPE, "*/*", "application/*"})
