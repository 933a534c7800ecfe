"""Answers /ipns with signed records (specs/0033 §9). They come from the source, if it has any, and are checked there."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING

from wherry.abc.naming import HoldsRecords
from wherry.errors import CIDError, NotFound, UsageError, WherryError
from wherry.gateway import headers as said
from wherry.gateway.blocks import Inline
from wherry.gateway.frames import Stretch
from wherry.gateway.record import freshness, name_of, value_of
from wherry.gateway.request import target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from wherry.gateway.request import Target, Wish
    from wherry_http.gateway.handler import Gateway


async def record_of(gateway: Gateway, asked: Target) -> tuple[bytes, int]:
    """Gives the record of a name and for how many seconds it may be kept. Raises NotFound, UsageError."""
    try:
        name = name_of(asked.name)
    except CIDError as problem:
        raise UsageError(f"{asked.name[:80]!a} is no name of IPNS: {problem.message}") from problem
    source = gateway.source
    record = await gateway.off_loop(partial(source.record, name)) if isinstance(source, HoldsRecords) else None
    if record is None:
        raise NotFound(f"no record of {asked.name} is here")
    return record, freshness(record, dt.datetime.now(dt.UTC))


async def followed(gateway: Gateway, asked: Target) -> tuple[Target, str]:
    """Gives what a name leads to, one step, and how long that may be kept. Raises NotFound, UsageError."""
    record, seconds = await record_of(gateway, asked)
    try:
        found = target(value_of(record))
    except WherryError:
        found = None
    if found is None or found.root is None or not seconds:
        raise NotFound(f"the record of {asked.name} leads nowhere, or is over")
    return asked._replace(root=found.root, before=found.parts), f"public, max-age={seconds}"


async def answer_record(gateway: Gateway, request: web.Request, asked: Target, wanted: Wish) -> web.StreamResponse:
    """Answers with the record of a name."""
    if asked.parts:
        raise UsageError("a record has no path", hint="ask for /ipns/NAME?format=ipns-record")
    record, seconds = await record_of(gateway, asked)
    tag = said.record_etag(record)
    headers = said.trustless(asked, wanted, tag) | {"Cache-Control": f"public, max-age={seconds}"}
    if said.unchanged(request.headers.get("If-None-Match"), tag):
        return gateway.not_modified(headers)

    def whole(start: int, stop: int) -> Iterator[Stretch]:
        yield Stretch(Inline(record[start:stop]), stop - start)

    return await gateway.whole_or_part(request, headers, len(record), whole, tag)
