"""Headers of a gateway's answers, and what conditional requests and ranges mean (specs/0033 §4). Pure: text in, text out."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from wherry.gateway.request import CAR, MEDIA, RAW, RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wherry.gateway.request import Target, Wish

IMMUTABLE: Final = "public, max-age=29030400, immutable"
_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE: Final = re.compile(r"[ \t]*(?=-?[0-9])(?P<first>[0-9]{0,40})-(?P<last>[0-9]{0,40})[ \t]*", re.ASCII)
_HEADER_CHARS_MAX: Final = 16_384
_NAME_CHARS_MAX: Final = 255
_HEADER_TEXT: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
_ENDINGS: Final = {RAW: ".bin", CAR: ".car", RECORD: ".ipns-record"}
# What is in a dataset is a stranger's: nothing of it runs, sends or embeds, and it has an origin of its own.
CONTENT_POLICY: Final = (
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# What is not about a dataset: a refusal is text, and no browser takes it for anything else.
REFUSAL: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
PAGE_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def raw_etag(cid: str) -> str:
    """Gives the entity tag of a raw block."""
    return f'"{cid}.raw"'


def car_etag(target: Target, wish: Wish) -> str:
    """Gives the entity tag of a CAR."""
    said = repr((target.below, wish.car))
    short = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f'W/"{target.root_text}.car.{short}"'


def page_etag(cid: str, wish: Wish, known: str = "") -> str:
    """Gives the entity tag of a page of a directory: it is made by wherry, in one way until that changes.

    ``known``: what a page says of its entries that does not say all of it; more of it may be here later.
    """
    said = wish.after + ("\0" + known if known else "")
    short = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f'"DirIndex-wherry2-{short}_CID-{cid}"'


def data_page_etag(cid: str) -> str:
    """Gives the entity tag of a page that shows data."""
    return f'"DagIndex-wherry1_CID-{cid}"'


def tar_etag(cid: str) -> str:
    """Gives the entity tag of an archive: the data say what is in it, and wherry in which order, until that changes."""
    return f'W/"{cid}.x-tar.wherry1"'


def record_etag(record: bytes) -> str:
    """Gives the entity tag of a record."""
    return f'"{hashlib.sha256(record).hexdigest()[:32]}.ipns-record"'


def one_list(lines: Sequence[str]) -> str | None:
    """Gives the lines of one header as the list that they are (RFC 9110 §5.3); None: there is no such header."""
    return ", ".join(lines) if lines else None


def matched(if_match: str | None, tag: str) -> bool:
    """Tells whether If-Match lets what has ``tag`` be given: the strong comparison of a list, or "*" (RFC 9110 §13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return True
    return not tag.startswith("W/") and tag in _TAG.findall(if_match[:_HEADER_CHARS_MAX])


def unchanged(if_none_match: str | None, tag: str) -> bool:
    """Tells whether a client says it has ``tag`` already: the weak comparison of a list, or "*"."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    plain = tag.removeprefix("W/")
    return any(found.removeprefix("W/") == plain for found in _TAG.findall(if_none_match[:_HEADER_CHARS_MAX]))


def only_cached(fields: Iterable[str]) -> bool:
    """Tells whether Cache-Control asks for what is here alone: a directive among others, in any case (RFC 9111 §5.2)."""
    found = [one for field in fields for one in field[:_HEADER_CHARS_MAX].split(",")]
    return any(one.strip(" \t").lower() == "only-if-cached" for one in found)


def disposition(how: str, name: str) -> str:
    """Writes Content-Disposition for any name: a plain ASCII form for all, and the exact one as RFC 5987 has it."""
    name = name[:_NAME_CHARS_MAX]
    plain = "".join([c if " " <= c <= "~" and c not in '"\\%/' else "_" for c in name])
    if plain == name:
        return f'{how}; filename="{plain}"'
    exact = quote(name.encode("utf-8", "replace"), safe="!#$&+-.^_`|~")
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{exact}"


def trustless(target: Target, wish: Wish, tag: str, *, block: str = "") -> dict[str, str]:
    """Gives the headers of a raw block, a CAR or a record, without its length and how long it may be kept.

    ``block``: what a raw block is called; CARs and records are called as they were asked for.
    """
    kind = wish.format or RAW
    name = wish.filename or f"{block or target.name}{_ENDINGS[kind]}"
    headers = {
        "Content-Type": wish.car.media if kind == CAR else MEDIA[kind],
        "Content-Disposition": disposition("attachment", name),
        "Etag": tag,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
        **named(target),
    }
    if target.root is not None:
        headers["X-Ipfs-Roots"] = target.root_text
    if kind == CAR:
        headers["Accept-Ranges"] = "none"
    elif kind == RAW:
        headers["Accept-Ranges"] = "bytes"
    if wish.by_accept:
        headers["Content-Location"] = f"{where(target)}?format={kind}" + (_said(wish) if kind == CAR else "")
    return headers


def _said(wish: Wish) -> str:
    car = wish.car
    span = "" if car.bytes is None else f"&entity-bytes={car.bytes.first}:{'*' if car.bytes.last is None else car.bytes.last}"
    return f"&dag-scope={car.scope}{span}&car-dups={'y' if car.dups else 'n'}"


def named(target: Target) -> dict[str, str]:
    """Gives the headers that name what is answered: its URI in the one canonical form, and its path where a header can hold it.

    Source: specs.ipfs.tech/http-gateways/path-gateway (Ipfs-Uri, X-Ipfs-Path), IPIP-548.
    """
    path = "/".join(["", target.space, target.name, *target.parts]) + ("/" if target.slash else "")
    found = {"X-Ipfs-Path": path} if _HEADER_TEXT.fullmatch(path) else {}
    if target.canonical:
        parts = "".join([f"/{quote(part, safe='')}" for part in target.parts])
        found["Ipfs-Uri"] = f"{target.space}://{target.canonical}{parts}" + ("/" if target.slash else "")
    return found


def data_etag(cid: str, name: str) -> str:
    """Gives the entity tag of data in one of its forms."""
    return f'"{cid}.{name}"'


def where(target: Target) -> str:
    """Gives the path of a target, escaped as it goes into a header or a link, without a slash at its end."""
    return "/" + "/".join([quote(part, safe="") for part in (target.space, target.name, *target.parts)])


def byte_range(headers: Mapping[str, str], tag: str, size: int) -> tuple[int, int] | str | None:
    """Says what of a body of ``size`` bytes is to be sent: start and stop, None for all of it, "none" for a 416.

    One range is given: of several the first of which there is any byte. What is malformed is answered by everything. RFC 9110
    §14.2 allows both.
    """
    text = headers.get("Range")
    if text is None or ("If-Range" in headers and headers["If-Range"].strip() != tag):
        return None
    unit, _, ranges = text[:_HEADER_CHARS_MAX].partition("=")
    spans = [_RANGE.fullmatch(one) for one in ranges.split(",") if one.strip(" \t")]
    if unit.lower() != "bytes" or not spans:
        return None
    found: list[tuple[int, int]] = []
    for span in spans:
        if span is None:
            return None
        first, last = span["first"], span["last"]
        if first and last and int(last) < int(first):
            return None
        start = int(first) if first else max(size - int(last), 0)
        found.append((start, min(int(last), size - 1) + 1 if first and last else size))
    return next(((start, stop) for start, stop in found if start < stop), "none")
