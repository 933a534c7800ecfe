"""Answers with data that is neither file nor directory: as its block has it, in another form, or as a page (specs/0033 §13)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.gateway import headers as said
from wherry.gateway.blocks import Part, Reshaped
from wherry.gateway.data import Shape, shape_of, shaped
from wherry.gateway.frames import Stretch
from wherry.gateway.request import NotAcceptable
from wherry.units import MiB
from wherry_http.gateway.page import data_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from wherry.abc.transport import Held
    from wherry.gateway.blocks import Blocks
    from wherry.gateway.files import Thing
    from wherry.gateway.request import Target, Wish
    from wherry_http.gateway.handler import Gateway

_SHOWN_BYTES: Final = 64 * 1024


async def answer_data(
    gateway: Gateway, request: web.Request, asked: Target, wanted: Wish, *, thing: Thing, headers: dict[str, str]
) -> web.StreamResponse:
    """Answers with a block as data. Raises NotAcceptable, and what reading raises."""
    if thing.kind == "link" and thing.entry is not None:
        raise NotAcceptable("a link of a wherry dataset is no block of its own")
    shape = shape_of(thing.cid.codec, wanted.format)
    if shape is None:
        raise NotAcceptable("this data is neither a file nor a directory", hint="ask with format=raw or format=car")
    cid, blocks = str(thing.cid), gateway.blocks()
    if wanted.page:
        return await _page(gateway, request, asked, thing, headers)
    tag = headers["Etag"] = said.data_etag(cid, shape.format)
    if (had := gateway.not_modified(request, headers)) is not None:
        return had
    headers["Content-Type"] = shape.media
    headers["Accept-Ranges"] = "bytes"
    if wanted.by_accept:
        headers["Content-Location"] = f"{said.where(asked)}?format={shape.format}"
    how = "attachment" if wanted.download else shape.how
    headers["Content-Disposition"] = said.disposition(how, wanted.filename or f"{cid}{shape.ending}")
    if shape.same:
        held = await gateway.off_loop(partial(blocks.one, thing.cid))
        return await gateway.whole_or_part(request, headers, held.size, partial(_as_it_lies, held), tag)
    make = partial(_made, blocks, thing, shape)
    size = len(await gateway.off_loop(make))
    return await gateway.whole_or_part(request, headers, size, partial(_in_pieces, make), tag)


async def _page(
    gateway: Gateway, request: web.Request, asked: Target, thing: Thing, headers: dict[str, str]
) -> web.StreamResponse:
    tag = headers["Etag"] = said.data_page_etag(str(thing.cid))
    headers["Content-Security-Policy"] = said.PAGE_POLICY  # a 304 says the same: it replaces what a cache was told
    del headers["Cache-Control"]  # wherry's page may change
    if (had := gateway.not_modified(request, headers)) is not None:
        return had
    make = partial(_made, gateway.blocks(), thing, Shape("dag-json", same=False))
    text = data_page(asked, thing, (await gateway.off_loop(make))[:_SHOWN_BYTES]).encode("utf-8", "replace")
    headers["Content-Type"] = "text/html; charset=utf-8"
    headers["Accept-Ranges"] = "bytes"
    return await gateway.whole_or_part(request, headers, len(text), partial(_in_pieces, lambda: text), tag)


def _made(blocks: Blocks, thing: Thing, shape: Shape) -> bytes:
    return shaped(thing.cid.codec, blocks.node(thing.cid), shape)


def _as_it_lies(held: Held, start: int, stop: int) -> Iterator[Stretch]:
    if stop > start:
        yield Stretch(held if stop - start == held.size else Part(held, start, stop), stop - start)


def _in_pieces(make: Callable[[], bytes], start: int, stop: int) -> Iterator[Stretch]:
    for at in range(start, stop, MiB):
        end = min(at + MiB, stop)
        yield Stretch(Reshaped(make, at, end), end - at)
