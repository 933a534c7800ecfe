"""Answers /ipfs and /ipns (specs/0033). What is decided is in `wherry.gateway`; here it meets HTTP, threads and limits."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from wherry.errors import BlockNotFound, CIDError, DataError, NotFound, SourceChanged, UsageError, WherryError
from wherry.gateway import headers as said
from wherry.gateway.blocks import Blocks, Part
from wherry.gateway.files import located, look
from wherry.gateway.frames import Stretch, begun, car, in_chunks, plain
from wherry.gateway.order import Walk
from wherry.gateway.request import CAR, RAW, RECORD, NotAcceptable, target, unable, wish
from wherry.gateway.room import Room
from wherry.limits import GATEWAY_READS_MAX
from wherry.observe import Served
from wherry.offload import in_thread
from wherry_http.gateway.page import FRONT
from wherry_http.gateway.people import People, Unreached
from wherry_http.gateway.records import answer_record, followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from wherry.abc.transport import BlockSource, Held
    from wherry.gateway.request import Target, Wish
    from wherry.gateway.room import Share
    from wherry.observe import Emit
    from wherry.wire.frames import Frame
    from wherry_http.options import HttpOptions
    from wherry_http.sending import Sender

    T = TypeVar("T")

_FINDERS: Final = 2
_ROUTE: Final = r"/{space:ip[fn]s}/{rest:[\s\S]*}"  # a name may hold a newline, which "." does not match
_CANONICAL: Final = "/{space}/{rest}"  # as the router calls it
_EXPOSED: Final = (
    "Content-Length, Content-Location, Content-Range, Etag, Ipfs-Uri, X-Ipfs-Path, X-Ipfs-Roots, X-Chunked-Output, "
    "X-Stream-Output"  # the last two other gateways send, and pages may ask for
)
_METHODS: Final = "GET, HEAD, OPTIONS"
_ROOM: Final = Room()  # of the process, however many servers it has
_WALKS_REST_S: Final = 5


class Gateway:
    """The gateway of one server. Used on its event loop."""

    def __init__(self, source: BlockSource, options: HttpOptions, sender: Sender, emit: Emit) -> None:
        self.source = source
        self._options = options
        self._sender = sender
        # Apart from those that send: whoever asks for paths and pages that cost much to find waits for his like alone.
        self._threads = ThreadPoolExecutor(_FINDERS, "wherry-gateway")
        self._emit = emit
        self._people = People(self) if options.gateway == "path" else None

    def close(self) -> None:
        """Ends its threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_get(_ROUTE, self._limited)
        app.router.add_get("/", self._front)
        app.router.add_route("OPTIONS", _ROUTE, self._options_of)

    def serves(self, request: web.Request) -> bool:
        """Tells whether a request is the gateway's."""
        resource = request.match_info.route.resource
        return resource is not None and resource.canonical == _CANONICAL and request.method in ("GET", "HEAD", "OPTIONS")

    @staticmethod
    def is_beside(request: web.Request) -> bool:
        """Tells whether a request is for what lies beside all that is served: the front page, or nothing."""
        return request.path == "/" or isinstance(request.match_info.http_exception, web.HTTPNotFound)

    async def _front(self, request: web.Request) -> web.Response:
        """Says what this is to people who look; of the node it says nothing."""
        del request
        headers = said.REFUSAL | {"Content-Security-Policy": said.PAGE_POLICY, "Cache-Control": "public, max-age=3600"}
        return web.Response(text=FRONT, content_type="text/html", charset="utf-8", headers=headers)

    async def _options_of(self, request: web.Request) -> web.Response:
        del request
        return web.Response(status=204, headers=self.common() | {"Allow": _METHODS, "Access-Control-Max-Age": "86400"})

    def common(self) -> dict[str, str]:
        """Gives what every answer says: pages of any origin may read what everybody may."""
        if self._options.token is not None:
            return {}
        return {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": "Content-Type, Range, User-Agent, X-Requested-With",
            "Access-Control-Expose-Headers": _EXPOSED,
        }

    async def _limited(self, request: web.Request) -> web.StreamResponse:
        if self._sender.active >= self._options.max_requests:
            raise self.refusal(web.HTTPTooManyRequests, "too many requests at a time", {"Retry-After": "2"})
        self._sender.active += 1
        try:
            return await self._checked(request)
        finally:
            self._sender.active -= 1

    def refusal(
        self, kind: Callable[..., web.HTTPException], text: str, headers: dict[str, str] | None = None
    ) -> web.HTTPException:
        """Makes a refusal: a line of plain text, which no browser takes for anything else."""
        more = self.common() | said.REFUSAL | (headers or {})
        return kind(text=f"{text}\n", headers=more)

    async def _checked(self, request: web.Request) -> web.StreamResponse:
        asked: Target | None = None
        try:
            asked = target(request.rel_url.raw_path)
            not_given = unable(asked, trustless=self._people is None)
            wanted = wish(request.rel_url.raw_query_string, ", ".join(request.headers.getall("Accept", ())), not_given)
            return await self._answer(request, asked, wanted)
        except Unreached as problem:
            raise self.refusal(web.HTTPNotImplemented, _line(problem)) from None
        except NotAcceptable as problem:
            raise self.refusal(web.HTTPNotAcceptable, _line(problem)) from None
        except (NotFound, DataError, UsageError, SourceChanged) as problem:
            lost = isinstance(problem, SourceChanged) or isinstance(problem.__cause__, OSError)
            text = "what it leads to is not here any more" if lost else _line(problem)  # strangers learn no path of a file
            unkept = asked is not None and isinstance(problem, CIDError)  # a block of a hash that nothing is kept by
            not_here = lost or unkept or isinstance(problem, BlockNotFound)
            if not_here and said.only_cached(request.headers.getall("Cache-Control", ())):
                raise self.refusal(web.HTTPPreconditionFailed, text) from None
            absent = not_here or isinstance(problem, NotFound) or _of_data(problem)
            found = web.HTTPNotFound if absent else web.HTTPBadRequest
            raise self.refusal(found, text) from None
        except WherryError:
            raise self.refusal(web.HTTPInternalServerError, "the store cannot be read") from None

    async def _answer(self, request: web.Request, asked: Target, wanted: Wish) -> web.StreamResponse:
        kept = said.IMMUTABLE
        if wanted.format == RECORD:
            if asked.space != "ipns":
                raise UsageError("a record belongs to a name: /ipns/NAME?format=ipns-record")
            return await answer_record(self, request, asked, wanted)
        if asked.space == "ipns":
            if self._people is not None and asked.canonical and asked.name != asked.canonical:
                return self._elsewhere(request, asked._replace(name=asked.canonical))
            asked, kept = await followed(self, asked)
        if wanted.format == RAW:
            return await self._raw(request, asked, wanted, kept)
        if wanted.format == CAR:
            return await self._car(request, asked, wanted, kept)
        if self._people is None:
            hint = "ask with format=raw or format=car"
            if wanted.format is not None:
                raise NotAcceptable(f"format={wanted.format} is not offered here", hint=hint)
            raise UsageError("this gateway gives verifiable answers alone", hint=hint)
        return await self._people.answer(request, asked, wanted, kept)

    async def off_loop(self, work: Callable[[], T], *, walk: bool = False) -> T:
        """Does what reads the disk on a thread. ``walk``: on one of those that walk trees."""
        return await in_thread(work, self._sender.walkers if walk else self._threads)

    def blocks(self, reads_max: int | None = None) -> Blocks:
        """Gives the blocks of this node, for one answer."""
        return Blocks(self.source, reads_max)

    def _elsewhere(self, request: web.Request, asked: Target) -> web.Response:
        """Sends a client to the one form of a name that fits everywhere, also where case is lost (path gateway, /ipns)."""
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        to = said.where(asked) + ("/" if asked.slash else "") + query
        return web.Response(
            status=302, headers=self.common() | said.named(asked) | {"Location": to, "Cache-Control": "no-store"}
        )

    async def _raw(self, request: web.Request, asked: Target, wanted: Wish, kept: str) -> web.StreamResponse:
        root = asked.root
        if root is None or (asked.below and self._people is None):
            raise UsageError("a raw block has no path", hint="ask for /ipfs/CID?format=raw, or for a CAR of the path")
        cid, roots = root, asked.root_text
        if asked.below:
            thing = await self.off_loop(partial(look, self.blocks(GATEWAY_READS_MAX), root, asked.below))
            if thing.rest or (thing.kind == "link" and thing.entry is not None):
                raise NotFound("what lies there is no block of its own")
            cid, roots = thing.cid, ",".join([str(one) for one in thing.roots]) or roots
        name = str(cid) if asked.below else asked.root_text
        tag = said.raw_etag(name)
        headers = said.trustless(asked, wanted, tag, block=name) | {"Cache-Control": kept, "X-Ipfs-Roots": roots}
        if (had := self.not_modified(request, headers)) is not None:
            return had
        held = await self.off_loop(partial(self.blocks().one, cid))
        return await self.whole_or_part(request, headers, held.size, partial(_of_block, held), tag)

    async def _car(self, request: web.Request, asked: Target, wanted: Wish, kept: str) -> web.StreamResponse:
        root = asked.root
        if root is None:
            raise UsageError("a CAR belongs to a CID")
        tag = said.car_etag(asked, wanted)
        headers = said.trustless(asked, wanted, tag) | {"Cache-Control": kept}
        if (had := self.not_modified(request, headers)) is not None:
            return had
        found = await self.off_loop(partial(located, self.blocks(GATEWAY_READS_MAX), root, asked.below))
        await self.off_loop(lambda: self.blocks().one(found.cid).confirm())
        if wanted.car.scope == "block":
            return await self.stream(request, headers, car(root, Walk(self.blocks(), wanted.car).blocks(found)))
        with self.walking() as share:
            walk = Walk(self.blocks(), wanted.car, share)
            return await self.stream(request, headers, car(root, walk.blocks(found)), walk=True)

    @contextmanager
    def walking(self) -> Iterator[Share]:
        """Lets a walk of a tree begin, and end; refuses it where there are too many. What it holds is bounded by the share."""
        with _ROOM.share() as share:
            if share is None:
                wait = {"Retry-After": str(_WALKS_REST_S)}
                raise self.refusal(web.HTTPServiceUnavailable, "too many CARs and archives at a time", wait)
            yield share

    async def stream(
        self, request: web.Request, headers: dict[str, str], frames: Iterable[Frame], *, walk: bool = False
    ) -> web.StreamResponse:
        """Answers with a body whose length nobody knows. What ``frames`` raises ends it abnormally. ``walk``: see `Sender`."""
        self.check(request, headers)
        response = web.StreamResponse(headers=headers | self.common())
        if request.method == "HEAD":
            response.content_length = None
            await response.prepare(request)
            return response
        plain_http = request.transport is not None and request.transport.get_extra_info("ssl_object") is None
        chunked = request.version >= (1, 1)
        if chunked:
            response.enable_chunked_encoding()
        return await self.send(request, response, in_chunks(frames) if chunked and plain_http else frames, walk=walk)

    def not_modified(self, request: web.Request, headers: dict[str, str], *tags: str) -> web.Response | None:
        """Makes the answer to who has it already, by its Etag or one of ``tags``; None: it is to be given, or is `check`'s."""
        known = said.one_list(request.headers.getall("If-None-Match", ()))
        if not any(said.unchanged(known, tag) for tag in (headers["Etag"], *tags)) or not _matched(request, headers):
            return None
        kept = {name: value for name, value in headers.items() if name not in ("Content-Type", "Content-Disposition")}
        return web.Response(status=304, headers=kept | self.common())

    def check(self, request: web.Request, headers: dict[str, str]) -> None:
        """Refuses what is there, and has none of the tags that If-Match names."""
        if not _matched(request, headers):
            raise self.refusal(web.HTTPPreconditionFailed, "If-Match names another version", {"Etag": headers["Etag"]})

    async def whole_or_part(
        self,
        request: web.Request,
        headers: dict[str, str],
        size: int,
        made: Callable[[int, int], Iterator[Stretch]],
        tag: str,
    ) -> web.StreamResponse:
        """Answers with ``size`` bytes, or the range of them that is asked for."""
        self.check(request, headers)
        span = said.byte_range(request.headers, tag, size)
        headers = headers | self.common()
        if span == "none":
            raise self.refusal(web.HTTPRequestRangeNotSatisfiable, "no such bytes", {"Content-Range": f"bytes */{size}"})
        start, stop = span if isinstance(span, tuple) else (0, size)
        response = web.StreamResponse(status=206 if span else 200, headers=headers)
        if span:
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        response.content_length = stop - start
        frames = await self.off_loop(partial(begun, plain(made(start, stop))))
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        return await self.send(request, response, frames)

    async def send(
        self, request: web.Request, response: web.StreamResponse, frames: Iterable[Frame], *, walk: bool = False
    ) -> web.StreamResponse:
        """Sends a body in frames that are made as they go; tells the observers."""
        began = time.monotonic()
        counted = _Counted(frames)
        ok = await self._sender.send(request, response, counted, strict=True, walk=walk)
        self._emit(
            Served(
                scheme=request.scheme, blocks=counted.blocks, bytes=counted.bytes, wire_bytes=counted.bytes,
                seconds=time.monotonic() - began, ok=ok,
            )
        )  # fmt: skip
        return response


class _Counted:
    """Frames, counted as they are taken."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = iter(frames)
        self.blocks = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = next(self._frames)
        self.blocks += len(frame.blocks)
        self.bytes += len(frame.head) + frame.size
        return frame


def _of_block(held: Held, start: int, stop: int) -> Iterator[Stretch]:
    if stop > start:
        yield Stretch(held if stop - start == held.size else Part(held, start, stop), stop - start)


def _matched(request: web.Request, headers: dict[str, str]) -> bool:
    return said.matched(said.one_list(request.headers.getall("If-Match", ())), headers["Etag"])


def _of_data(problem: WherryError) -> bool:
    """Tells whether what is wrong lies in a block rather than in the request: then the path does not resolve."""
    return isinstance(problem, DataError) and not isinstance(problem, CIDError)


def _line(problem: WherryError) -> str:
    """Says what is wrong, on one line without anything that a terminal or a page would act on."""
    text = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
    return "".join([c if c.isprintable() else "?" for c in text])[:500]
