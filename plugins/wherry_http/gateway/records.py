"""Answers /ipns with signed records (specs/0033 §9). They come from the source, if it has any, and are checked there."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from wherry.abc.naming import HoldsRecords
from wherry.errors import BlockNotFound, CIDError, NotFound, UsageError, WherryError
from wherry.gateway import headers as said
from wherry.gateway.blocks import Inline
from wherry.gateway.frames import Stretch
from wherry.gateway.record import freshness, is_over, name_of, value_of
from wherry.gateway.request import target
from wherry.limits import NAME_HOPS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from wherry.gateway.request import Target, Wish
    from wherry_http.gateway.handler import Gateway


async def record_of(gateway: Gateway, asked: Target) -> tuple[bytes, int]:
    """Gives the record of a name and for how many seconds it may be kept. Raises BlockNotFound, UsageError."""
    try:
        name = name_of(asked.name)
    except CIDError as problem:
        raise UsageError(f"{asked.name[:80]!a} is no name of IPNS: {problem.message}") from problem
    source = gateway.source
    record = await gateway.off_loop(partial(source.record, name)) if isinstance(source, HoldsRecords) else None
    if record is None:
        raise BlockNotFound(f"no record of {asked.name} is here")
    return record, freshness(record, dt.datetime.now(dt.UTC))


async def followed(gateway: Gateway, asked: Target) -> tuple[Target, str]:
    """Gives what a name leads to, perhaps over other names, and how long that may be kept. Raises NotFound, UsageError."""
    at, kept = asked, list[int]()
    tail: tuple[str, ...] = ()
    for _ in range(NAME_HOPS_MAX):
        record, seconds = await record_of(gateway, at)
        kept.append(seconds)
        try:
            found = target(quote(value_of(record), safe="/"))  # in a record nothing is escaped
        except WherryError:
            found = None
        if found is None or is_over(record, dt.datetime.now(dt.UTC)):
            raise NotFound(f"the record of {at.name} leads nowhere, or is over")
        tail = found.parts + tail
        if found.root is not None:
            return asked._replace(root=found.root, before=tail), f"public, max-age={min(kept)}"
        at = found
    raise NotFound(f"{asked.name} leads to names and never to content")


async def answer_record(gateway: Gateway, request: web.Request, asked: Target, wanted: Wish) -> web.StreamResponse:
    """Answers with the record of a name."""
    if asked.parts:
        raise UsageError("a record has no path", hint="ask for /ipns/NAME?format=ipns-record")
    record, seconds = await record_of(gateway, asked)
    tag = said.record_etag(record)
    headers = said.trustless(asked, wanted, tag) | {"Cache-Control": f"public, max-age={seconds}"}
    if (had := gateway.not_modified(request, headers)) is not None:
        return had

    def whole(start: int, stop: int) -> Iterator[Stretch]:
        yield Stretch(Inline(record[start:stop]), stop - start)

    return await gateway.whole_or_part(request, headers, len(record), whole, tag)
