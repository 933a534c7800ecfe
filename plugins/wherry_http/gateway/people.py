"""The path gateway: files and listings for people (specs/0033 §7, §8)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from wherry.errors import BlockNotFound, NotFound, UsageError
from wherry.gateway import headers as said
from wherry.gateway.files import Thing, content, has_child, listing, look
from wherry.gateway.frames import begun, pieces
from wherry.gateway.padding import padding_bytes, zeros
from wherry.gateway.request import MEDIA, TAR, NotAcceptable
from wherry.gateway.tar import archive
from wherry.limits import GATEWAY_READS_MAX
from wherry_http.gateway.data import answer_data
from wherry_http.gateway.kinds import SNIFF_BYTES, media_type
from wherry_http.gateway.page import directory

if TYPE_CHECKING:
    from wherry.gateway.blocks import Blocks
    from wherry.gateway.request import Target, Wish
    from wherry_http.gateway.handler import Gateway


class Unreached(UsageError):
    """What a path leads to inside of a block, which is not given apart."""


class People:
    """Answers of a path gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, request: web.Request, asked: Target, wanted: Wish, kept: str) -> web.StreamResponse:
        """Answers with a file or a page."""
        gateway, root = self._gateway, asked.root
        if root is None:
            raise NotAcceptable("names are answered with their records alone")
        blocks = gateway.blocks(GATEWAY_READS_MAX)
        try:
            thing = await gateway.off_loop(partial(look, blocks, root, asked.below))
        except BlockNotFound:
            raise
        except NotFound as problem:
            problem.hint = problem.hint or "the page of the directory above shows what there is"
            size = padding_bytes(asked.below)
            if size is None or asked.slash or wanted.format is not None or asked.space != "ipfs":
                raise
            above = await gateway.off_loop(partial(look, blocks, root, asked.below[:-2]))
            if above.kind != "dir" or above.rest:
                raise
            return await self._padding(request, size, kept)
        headers = {
            "Cache-Control": kept,
            "X-Content-Type-Options": "nosniff",
            **said.named(asked),
            "X-Ipfs-Roots": ",".join([str(cid) for cid in thing.roots]) or asked.root_text,
            "Content-Security-Policy": said.CONTENT_POLICY,
            "Referrer-Policy": "no-referrer",
            "Vary": "Accept",
        }
        if thing.rest:
            raise Unreached(
                f"{'/'.join(thing.rest)!r} lies inside of block {thing.cid}, and only what a link leads to is given",
                hint="ask for the block with format=dag-json",
            )
        if wanted.format == TAR:
            if wanted.by_accept:
                headers["Content-Location"] = f"{said.where(asked)}?format={TAR}"
            return await self._tar(request, wanted, thing, headers)
        if thing.kind == "block" or wanted.format in ("dag-json", "dag-cbor"):
            return await answer_data(gateway, request, asked, wanted, thing=thing, headers=headers)
        name = asked.parts[-1] if asked.parts else ""
        if thing.kind == "dir":
            if not asked.slash:
                query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
                headers["Location"] = f"{said.where(asked)}/{query}"
                return web.Response(status=301, headers=gateway.common() | headers)
            index = await gateway.off_loop(partial(has_child, blocks, thing, "index.html"))
            if index is None:
                return await self._page(request, asked, wanted, thing, headers)
            return await self._file(request, wanted, index, "index.html", headers | {"Etag": f'"{thing.cid}"'})
        if asked.slash:
            raise NotFound(f"this is a {thing.kind}; leave out the / at the end")
        return await self._file(request, wanted, thing, name, headers)

    async def _file(
        self, request: web.Request, wanted: Wish, thing: Thing, name: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        gateway = self._gateway
        name = wanted.filename or name
        tag = headers.setdefault("Etag", f'"{thing.cid}"' if thing.kind != "link" else f'"{thing.cid}.link"')
        if (had := gateway.not_modified(request, headers)) is not None:
            return had
        if thing.kind == "link":
            headers["Content-Type"] = "inode/symlink"
        else:
            head = await gateway.off_loop(partial(_head, gateway.blocks(), thing))
            headers["Content-Type"] = media_type(name, head)
        headers["Accept-Ranges"] = "bytes"
        if wanted.filename or wanted.download:
            how = "attachment" if wanted.download else "inline"
            headers["Content-Disposition"] = said.disposition(how, name or str(thing.cid))
        made = partial(content, gateway.blocks(), thing)
        return await gateway.whole_or_part(request, headers, thing.size, made, tag)

    async def _padding(self, request: web.Request, size: int, kept: str) -> web.StreamResponse:
        """Answers with a file of padding, which nothing in the dataset is: no CID is said of it (specs/0036 §2)."""
        gateway, tag = self._gateway, f'"pad-{size}"'
        headers = {
            "Cache-Control": kept, "Etag": tag, "Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
            "Accept-Ranges": "bytes", "Vary": "Accept",
        }  # fmt: skip
        if (had := gateway.not_modified(request, headers)) is not None:
            return had
        return await gateway.whole_or_part(request, headers, size, zeros, tag)

    async def _tar(self, request: web.Request, wanted: Wish, thing: Thing, headers: dict[str, str]) -> web.StreamResponse:
        gateway, cid = self._gateway, str(thing.cid)
        if thing.kind not in ("file", "dir"):
            raise NotAcceptable("this data is neither a file nor a directory", hint="ask with format=raw or format=car")
        headers["Etag"] = said.tar_etag(cid)
        if (had := gateway.not_modified(request, headers)) is not None:
            return had
        headers["Content-Type"] = MEDIA[TAR]
        headers["Content-Disposition"] = said.disposition("attachment", wanted.filename or f"{cid}.tar")
        headers["Accept-Ranges"] = "none"
        with gateway.walking() as share:
            frames = await gateway.off_loop(partial(begun, archive(gateway.blocks(), thing, cid, share)), walk=True)
            return await gateway.stream(request, headers, frames, walk=True)

    async def _page(
        self, request: web.Request, asked: Target, wanted: Wish, thing: Thing, headers: dict[str, str]
    ) -> web.StreamResponse:
        gateway = self._gateway
        blocks = gateway.blocks(GATEWAY_READS_MAX)
        headers["Etag"] = said.page_etag(str(thing.cid), wanted)
        headers["Content-Security-Policy"] = said.PAGE_POLICY  # a 304 says the same: it replaces what a cache was told
        if asked.space == "ipfs":
            headers["Cache-Control"] = "public, max-age=604800, stale-while-revalidate=2678400"  # wherry's page may change
        if (had := gateway.not_modified(request, headers, f'"{thing.cid}"')) is not None:
            return had
        page = await gateway.off_loop(partial(listing, blocks, thing, wanted.after))
        if not page.whole:  # what it does not know it may know tomorrow
            headers["Etag"] = said.page_etag(str(thing.cid), wanted, repr([row[1:3] for row in page.rows]))
            headers["Cache-Control"] = "no-cache"
            if (had := gateway.not_modified(request, headers)) is not None:
                return had
        gateway.check(request, headers)
        text = "".join(directory(asked, page, wanted.after)).encode("utf-8", "replace")
        headers["Content-Type"] = "text/html; charset=utf-8"
        response = web.StreamResponse(headers=headers | gateway.common())
        response.content_length = len(text)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        return await gateway.send(request, response, pieces(text))


def _head(blocks: Blocks, thing: Thing) -> bytes:
    """Reads the first bytes of a file."""
    found = bytearray()
    for stretch in content(blocks, thing, 0, min(thing.size, SNIFF_BYTES)):
        piece = bytearray(stretch.size)
        with memoryview(piece) as view:
            stretch.held.read_into(view)
        found += piece
    return bytes(found)
