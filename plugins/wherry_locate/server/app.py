"""The HTTP side of a tracker: Delegated Routing V1, answers and announcements (specs/0028 §2-4).

https://specs.ipfs.tech/routing/http-routing-v1/. Every request is foreign: gates come first, then rates, then bounds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from wherry.dial import LAN, NAMED, PUBLIC, network_of
from wherry.errors import CIDError, DataError, DecodeError, WherryError
from wherry.nodekey import peer_id_of
from wherry.offload import in_thread
from wherry.publiccid import PublicCID
from wherry_locate.announcement import BODY_BYTES_MAX, PATH, Announcement, decode
from wherry_locate.server import names
from wherry_locate.server.book import record_of
from wherry_locate.server.filters import Filters
from wherry_locate.server.rates import Rates
from wherry_locate.server.vouched import plain_ip, vouched

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from wherry.dial import Dial
    from wherry_locate.server.book import Book, Listed
    from wherry_locate.server.options import TrackerServerOptions

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DIALS: Final = {"named": NAMED, "lan": LAN, "public": PUBLIC}
NAMES: Final = "/routing/v1/ipns"
_API: Final = "/routing/v1/"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CLOSEST: Final = "/routing/v1/dht/closest/peers/{key}"
_NDJSON: Final = "application/x-ndjson"
_JSON: Final = "application/json"
_OTHER_CID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+/=_-]{7,255}", re.ASCII)  # of a kind that nobody announces here
_QUERY_CHARS_MAX: Final = 2048
_FRESH_S: Final = 15  # an answer without records is not kept for long: the first one may announce at any moment
_KEPT_S: Final = 60  # one with records; the specification's 300 s would hide half of a swarm that is starting
_KEY: Final = bytes((0x01, 0x72, 0x00, 0x24, 0x08, 0x01, 0x12, 0x20))  # CIDv1, libp2p-key, identity, Ed25519
_BASE36: Final = re.compile(r"k[0-9a-z]{10,80}", re.ASCII)
_BASE32: Final = re.compile(r"b[a-z2-7]{10,80}", re.ASCII)


class Tracker:
    """Answers one listener. Made and used on one event loop."""

    def __init__(
        self,
        book: Book,
        options: TrackerServerOptions,
        host: str,
        clock: Callable[[], float],
        chance: random.Random,
    ) -> None:
        """``clock`` gives seconds since 1970; ``host`` is what is listened on, and says who is listed."""
        self._book = book
        self._options = options
        self._host = host
        self._loopback = is_loopback(host)
        self._dial = dial_of(host, options)
        self._clock = clock
        self._chance = chance
        self._announces = Rates(options.announces_per_minute)
        self._queries = Rates(options.queries_per_minute)
        self._active = 0

    def app(self) -> web.Application:
        """Makes the application."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._gate, self._room])
        app.router.add_get(PATH + "/{cid}", self._providers)
        app.router.add_get("/routing/v1/peers/{peer}", self._peers)
        app.router.add_put(PATH, self._announce)
        app.router.add_get(NAMES + "/{name}", self._name)
        app.router.add_put(NAMES + "/{name}", self._put_name)
        for path in (PATH, PATH + "/{cid}", "/routing/v1/peers", "/routing/v1/peers/{peer}", NAMES + "/{name}", _CLOSEST):
            app.router.add_route("OPTIONS", path, self._options_of)
            app.router.add_route("*", path, self._unsupported)
        app.router.add_route("*", "/{path:.*}", self._unknown)
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets no web page in: neither by its origin nor by a name of its own that was made to lead here."""
        page = "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none"
        pages = self._lets_pages(request)
        if page and not pages:
            raise web.HTTPForbidden(text="this is no place for web pages\n")
        if self._loopback and not all(self._is_ours(host) for host in request.headers.getall("Host", ())):
            raise web.HTTPForbidden(text="this name does not lead here\n")
        if not pages:
            return await handler(request)
        try:
            answer = await handler(request)
        except web.HTTPException as problem:
            problem.headers["Access-Control-Allow-Origin"] = "*"  # and no credentials: nobody has any here
            raise
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer

    def _lets_pages(self, request: web.Request) -> bool:
        """Tells whether a web page may make this request: one of the API, and, if nobody says so, one that changes nothing."""
        if not request.path.startswith(_API):
            return False
        if self._options.web_pages is None:
            return self._dial.reach == "public" and request.method in _READS
        return self._options.web_pages

    @web.middleware
    async def _room(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Bounds how often one address asks, and how many are answered at a time."""
        if len(request.rel_url.raw_path_qs) > _QUERY_CHARS_MAX:
            raise web.HTTPRequestURITooLong(text=f"at most {_QUERY_CHARS_MAX} characters\n")
        rates = self._announces if request.method == "PUT" else self._queries
        wait_s = rates.take(_rated(self._ip(request)), asyncio.get_running_loop().time())
        if wait_s > 0.0:
            raise web.HTTPTooManyRequests(text="too many requests\n", headers={"Retry-After": str(math.ceil(wait_s))})
        if self._active >= self._options.requests_max:
            raise web.HTTPServiceUnavailable(text="too many requests at a time\n", headers={"Retry-After": "2"})
        self._active += 1
        try:
            return await handler(request)
        except WherryError:
            raise web.HTTPInternalServerError(text="the tracker's records cannot be used\n") from None
        finally:
            self._active -= 1

    def _is_ours(self, host: str) -> bool:
        name = host.strip().lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        return name == self._host.lower() or is_loopback(name)

    def _ip(self, request: web.Request) -> str:
        """Gives the IP address of who asks; behind a front server that is trusted, what that one says."""
        found = request.transport.get_extra_info("peername") if request.transport is not None else None
        ip = plain_ip(str(found[0])) if isinstance(found, tuple) else ""
        if ip in self._options.proxies:
            ip = plain_ip(request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip())
        return ip

    async def _providers(self, request: web.Request) -> web.StreamResponse:
        filters, now = _filters(request), self._clock()
        text = request.match_info["cid"]
        try:
            digest = PublicCID.parse(text).block().digest  # in any form: kubo asks for version 0 as it is
        except CIDError as problem:
            if not _OTHER_CID.fullmatch(text):
                raise web.HTTPUnprocessableEntity(text=f"{problem.message}\n") from None
            return _answer(request, "Providers", [], _FRESH_S)
        listed = await in_thread(partial(self._book.providers, digest, now))
        records = [filters.apply(record_of(places, of_dataset=True)) for places in _by_peer(listed)]
        found = [record for record in records if record is not None]
        if len(found) > self._options.answer_peers:
            found = self._chance.sample(found, self._options.answer_peers)
        else:
            self._chance.shuffle(found)
        return _answer(request, "Providers", found, _age(listed, now))

    async def _peers(self, request: web.Request) -> web.StreamResponse:
        filters, now = _filters(request), self._clock()
        peer = peer_of(request.match_info["peer"])
        if not peer:
            raise web.HTTPUnprocessableEntity(text="this is no peer id\n")
        listed = await in_thread(partial(self._book.peer, peer, now))
        record = filters.apply(record_of(listed, of_dataset=False)) if listed else None
        return _answer(request, "Peers", [record] if record is not None else [], _age(listed, now))

    async def _announce(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != _JSON:
            raise web.HTTPUnsupportedMediaType(text=f"send {_JSON}\n")
        try:
            async with asyncio.timeout(self._options.body_s):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the request's body took too long\n") from None
        try:
            said = await in_thread(partial(decode, body))
            return await self._take(said, self._ip(request))
        except DecodeError as problem:
            raise web.HTTPBadRequest(text=f"{problem.message}\n") from None
        except DataError as problem:
            raise web.HTTPUnprocessableEntity(text=f"{problem.message}\n") from None

    async def _take(self, said: Announcement, ip: str) -> web.Response:
        """Takes an announcement of a node at ``ip``. Raises DataError."""
        now, options = self._clock(), self._options
        if not now - options.skew_s_behind <= said.at / 1e6 <= now + options.skew_s_ahead:
            raise DataError(f"the Timestamp is not of now; here it is {now:.0f} s after 1970: is a clock wrong?")
        if not self._dial.allows(ip):
            raise DataError(f"a node at {ip} is not listed here: others that ask could not reach it")
        addrs = vouched(said.addrs, said.protocols, ip, said.peer)
        if not addrs:
            raise DataError(f"no address is announced that is of {ip}, where the announcement comes from, and usable")
        ttl_s = min(max(said.ttl_s or options.ttl_s, options.ttl_s_min), options.ttl_s_max)
        if said.withdraw:
            ttl_s = 0.0
            await in_thread(partial(self._book.withdraw, said, addrs, now))
        else:
            await in_thread(partial(self._book.announce, said, addrs, network_of(ip), now, ttl_s))
        result = {"Schema": "announcement", "ID": said.peer, "TTL": round(ttl_s * 1000), "Addrs": addrs}
        return web.json_response({"ProvideResults": [result]}, headers={"Cache-Control": "no-store"})

    async def _name(self, request: web.Request) -> web.StreamResponse:
        return await names.give(self._book, request, self._clock())

    async def _put_name(self, request: web.Request) -> web.StreamResponse:
        return await names.take(self._book, request, self._ip(request), self._clock(), self._options.body_s)

    async def _options_of(self, request: web.Request) -> web.StreamResponse:
        headers = {"Allow": "GET, HEAD, PUT, OPTIONS"}
        if self._lets_pages(request):  # what a browser asks before it lets a page ask
            methods = "GET, PUT, OPTIONS" if self._options.web_pages else "GET, OPTIONS"
            headers |= {
                "Access-Control-Allow-Methods": methods, "Access-Control-Allow-Headers": "Content-Type, Accept",
                "Access-Control-Max-Age": "86400",
            }  # fmt: skip
        return web.Response(status=204, headers=headers)

    async def _unsupported(self, request: web.Request) -> web.StreamResponse:
        del request
        raise web.HTTPNotImplemented(text="this tracker does not do that\n")

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        del request
        raise web.HTTPBadRequest(text="there is no such path; see /routing/v1/providers/{cid}\n")


def is_loopback(host: str) -> bool:
    """Tells whether only this machine itself can dial ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def dial_of(host: str, options: TrackerServerOptions) -> Dial:
    """Tells who is listed by a tracker on ``host``: on loopback everybody, on a private network its machines too."""
    if options.reach != "auto":
        return _DIALS[options.reach]
    if is_loopback(host):
        return NAMED
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return PUBLIC
    return LAN if (found.is_private or found.is_link_local) and not found.is_unspecified else PUBLIC


def peer_of(text: str) -> str:
    """Gives the peer id in base58 for what a path says: that, or a CID of its key in base32 or base36; "" for neither."""
    if text.startswith("12D3Koo"):
        return text if len(text) <= 60 else ""
    if _BASE36.fullmatch(text):
        value = int(text[1:], 36)
    elif _BASE32.fullmatch(text):
        value = 0
        for letter in text[1:]:
            value = value << 5 | "abcdefghijklmnopqrstuvwxyz234567".index(letter)
        value >>= 5 * len(text[1:]) % 8
    else:
        return ""
    size = len(_KEY) + 32
    data = value.to_bytes(size, "big") if value < 1 << 8 * size else b""
    return peer_id_of(data[len(_KEY) :]) if data.startswith(_KEY) else ""


def _by_peer(listed: Sequence[Listed]) -> list[list[Listed]]:
    found: dict[str, list[Listed]] = {}
    for place in listed:
        found.setdefault(place.peer, []).append(place)
    return list(found.values())


def _rated(ip: str) -> str:
    """Names whom a rate is for: an IPv4 address, or the /64 that one customer has of IPv6."""
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ":" in ip else ip


def _filters(request: web.Request) -> Filters:
    return Filters(request.query.get("filter-addrs", ""), request.query.get("filter-protocols", ""))


def _age(listed: Sequence[Listed], now: float) -> int:
    """For how many seconds an answer may be kept."""
    return max(1, min(_KEPT_S, *(int(place.expires - now) for place in listed))) if listed else _FRESH_S


def _answer(request: web.Request, name: str, records: list[dict[str, Any]], age_s: int) -> web.Response:
    """Gives records in the form that was asked for."""
    headers = {
        "Vary": "Accept", "Cache-Control": f"public, max-age={age_s}", "X-Content-Type-Options": "nosniff",
        "Last-Modified": formatdate(usegmt=True),  # an answer is a sample, made now
    }  # fmt: skip
    if _wants_lines(request.headers.get("Accept", "")):
        return web.Response(body=_lines(records), content_type=_NDJSON, headers=headers)
    return web.Response(text=json.dumps({name: records}), content_type=_JSON, headers=headers)


async def _lines(records: Iterable[dict[str, Any]]) -> AsyncGenerator[bytes, None]:
    """Gives a line a record, each written when it is its turn."""
    for record in records:
        yield json.dumps(record).encode() + b"\n"


def _wants_lines(accept: str) -> bool:
    """Tells whether NDJSON was asked for by name, and not with a quality of nothing."""
    for part in accept[:_QUERY_CHARS_MAX].split(","):
        kind, *words = (word.strip().lower() for word in part.split(";"))
        if kind == _NDJSON:
            return not any(re.fullmatch(r"q=0(\.0*)?", word) for word in words)
    return False
