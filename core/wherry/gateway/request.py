"""Reads what a client asks a gateway for: the path, the format, the parameters of a CAR (specs/0033 §2, §3). Pure.

A foreign URL is bounded before it is looked at, and is refused rather than repaired: no "..", no NUL, no bad UTF-8.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from wherry.errors import CIDError, UsageError
from wherry.gateway.record import name_of
from wherry.limits import GATEWAY_FIELDS_MAX, GATEWAY_PATH_PARTS_MAX, GATEWAY_URL_BYTES_MAX
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

RAW: Final = "raw"
CAR: Final = "car"
RECORD: Final = "ipns-record"
TAR: Final = "tar"
MEDIA: Final = {
    RAW: "application/vnd.ipld.raw",
    CAR: "application/vnd.ipld.car",
    RECORD: "application/vnd.ipfs.ipns-record",
    TAR: "application/x-tar",
    "dag-json": "application/vnd.ipld.dag-json",
    "dag-cbor": "application/vnd.ipld.dag-cbor",
    "json": "application/json",
    "cbor": "application/cbor",
}
JSON: Final = frozenset({"json", "dag-json"})
DATA: Final = frozenset({"json", "cbor", "dag-json", "dag-cbor"})  # by the data model, or as such data lie in their blocks
_PAGE: Final = "page"  # for people
_FORMAT_OF: Final = {media: name for name, media in MEDIA.items()} | {"text/html": _PAGE}
SCOPES: Final = ("all", "entity", "block")
_ORDERS: Final = ("dfs", "unk")
_DUPS: Final = ("y", "n")
_OFFSET: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class NotAcceptable(UsageError):
    """A format or a parameter that this gateway does not offer."""


class Target(NamedTuple):
    """What a URL's path names."""

    space: str  # "ipfs" or "ipns"
    root: PublicCID | None  # None: an /ipns name
    name: str  # the first part, unescaped
    parts: tuple[str, ...]  # the path below it
    slash: bool  # whether it ended with "/"
    before: tuple[str, ...] = ()  # the path between the root and the parts, where a name leads into a directory
    canonical: str = ""  # the first part in its one canonical form: base32 of version 1, base36 of a key; "" for what has none

    @property
    def below(self) -> tuple[str, ...]:
        """The whole path from the root on."""
        return self.before + self.parts

    @property
    def root_text(self) -> str:
        """The root, as it was written if it was."""
        return self.name if self.space == "ipfs" else str(self.root)


class Bytes(NamedTuple):
    """A range of a file, both ends within it; negative ones count from its end. ``last`` None: to the end."""

    first: int
    last: int | None

    def within(self, size: int) -> tuple[int, int] | None:
        """Gives start and stop in a file of ``size`` bytes; None: no byte of it is asked for."""
        first = max(self.first + size, 0) if self.first < 0 else self.first
        last = size - 1 if self.last is None else self.last + size if self.last < 0 else min(self.last, size - 1)
        return (first, last + 1) if first <= last and first < size else None


class CarWish(NamedTuple):
    """How a CAR is wanted."""

    scope: str = "all"
    bytes: Bytes | None = None
    dups: bool = False

    @property
    def media(self) -> str:
        """The media type of the answer, with every parameter."""
        return f"{MEDIA[CAR]}; version=1; order=dfs; dups={'y' if self.dups else 'n'}"


class Wish(NamedTuple):
    """What is asked for in all."""

    format: str | None  # None: whatever a person's browser shows
    car: CarWish = CarWish()
    filename: str | None = None
    by_accept: bool = False  # the format came from Accept alone
    download: bool = False
    after: str = ""  # where a listing goes on
    page: bool = False  # HTML is liked best


def target(path: str) -> Target:
    """Reads the raw (still escaped) path of a URL. Raises UsageError, CIDError."""
    if len(path) > GATEWAY_URL_BYTES_MAX:
        raise UsageError(f"a path of {len(path)} characters, at most {GATEWAY_URL_BYTES_MAX} are read")
    if not path.isascii() or _BAD_ESCAPE.search(path):
        raise UsageError("the path is not escaped as a URL must be")
    empty, *given = path.split("/", GATEWAY_PATH_PARTS_MAX + 3)
    space, rest = (given[0], given[1:]) if given and not empty else ("", [])
    if len(rest) > GATEWAY_PATH_PARTS_MAX + 1:
        raise UsageError(f"a path of more than {GATEWAY_PATH_PARTS_MAX} parts")
    if space not in ("ipfs", "ipns") or not rest or not rest[0]:
        raise UsageError("a path is /ipfs/CID or /ipns/NAME")
    name, *below = _part(rest[0]), *rest[1:]
    parts = tuple([_part(part) for part in below if part])
    slash = bool(below) and not below[-1]
    if space == "ipns":
        return Target(space, None, name, parts, slash, canonical=_key(name))
    root = PublicCID.parse(name)
    canonical = root.to_version(1).to_base("base32")
    return Target(space, root, name, parts, slash, canonical=canonical)


def _key(name: str) -> str:
    try:
        return PublicCID(b"\x01\x72" + name_of(name)).to_base("base36")
    except CIDError:
        return ""


def _part(text: str) -> str:
    try:
        part = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise UsageError("the path is not UTF-8") from None
    if part in (".", "..") or "/" in part or "\0" in part:
        raise UsageError("the path has a part that no directory can have (., .., / or NUL)")
    return part


def unable(asked: Target, *, trustless: bool) -> frozenset[str]:
    """Says which formats are not given of a target, whatever lies there."""
    found = set() if asked.space == "ipns" and not asked.parts else {RECORD}
    if trustless:
        found |= {_PAGE, TAR, *DATA} | ({RAW} if asked.parts else set())
    return frozenset(found)


def wish(query: str, accept: str, not_given: Collection[str] = ()) -> Wish:
    """Reads a raw query and the Accept header. Raises UsageError for what is malformed, NotAcceptable for what is not offered.

    Of an Accept list what is ``not_given`` is taken only where it has nothing else (RFC 9110 §12.5.1): who answers refuses it.
    ``format`` wins over Accept, and ``car-*`` over the parameters of Accept (IPIP-523); those count with ``format=car`` too.
    """
    fields = _fields(query)
    by_accept, parameters = _accepted(accept, not_given, fields)
    wanted = fields.get("format")
    page = wanted is None and by_accept == _PAGE
    by_accept = None if by_accept == _PAGE else by_accept
    if wanted is not None and wanted not in MEDIA:
        raise UsageError(f"format={wanted[:40]!a} is unknown", hint=f"ask for one of {', '.join(MEDIA)}")
    found = wanted or by_accept
    return Wish(
        found,
        _car(fields, parameters) if found == CAR else CarWish(),
        fields.get("filename"),
        by_accept=wanted is None and by_accept is not None,
        page=page,
        download=fields.get("download") == "true",
        after=fields.get("after", ""),
    )


def _fields(query: str) -> dict[str, str]:
    if len(query) > GATEWAY_URL_BYTES_MAX:
        raise UsageError(f"a query of {len(query)} characters, at most {GATEWAY_URL_BYTES_MAX} are read")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=GATEWAY_FIELDS_MAX, errors="surrogateescape")
    except ValueError:
        raise UsageError("the query is malformed, or has too many fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def _accepted(accept: str, not_given: Collection[str], fields: Mapping[str, str]) -> tuple[str | None, dict[str, str]]:
    """Gives the format that an Accept header likes best among ours, and its parameters; None: it asks for none of them.

    A CAR of a version or an order that is not offered is taken only where it has nothing else, as what is ``not_given`` is.
    """
    best, best_rank, found = None, (False, 0.0), {}
    car: dict[str, str] = {}
    for item in accept[:GATEWAY_URL_BYTES_MAX].split(","):
        media, *more = [part.strip() for part in item.split(";")]
        parameters = dict([_parameter(part) for part in more if "=" in part])
        name = _FORMAT_OF.get(media.lower())
        if name is None:
            continue
        try:
            weight = float(parameters.pop("q", "1"))
        except ValueError:
            weight = 0.0
        if name == CAR and not car:
            car = parameters
        rank = (name not in not_given and (name != CAR or _offered(fields, parameters)), weight)
        if weight > 0 and rank > best_rank:
            best, best_rank, found = name, rank, parameters
    return best, found if best == CAR else car


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _form(fields: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[str, str, str]:
    """Gives the version, the order and the doubles of the CAR that is asked for."""
    version = fields.get("car-version", parameters.get("version", "1"))
    order = fields.get("car-order", parameters.get("order", "dfs"))
    return version, order, fields.get("car-dups", parameters.get("dups", "n"))


def _offered(fields: Mapping[str, str], parameters: Mapping[str, str]) -> bool:
    version, order, dups = _form(fields, parameters)
    return version == "1" and order in _ORDERS and dups in _DUPS


def _car(fields: Mapping[str, str], parameters: Mapping[str, str]) -> CarWish:
    version, order, dups = _form(fields, parameters)
    if version != "1":
        raise NotAcceptable("only version 1 of CAR is offered", hint="leave car-version out")
    if order not in _ORDERS:
        raise NotAcceptable("only order=dfs is offered", hint="leave car-order out")
    if dups not in _DUPS:
        raise UsageError("dups is y or n")
    scope = fields.get("dag-scope", "all")
    if scope not in SCOPES:
        raise UsageError("dag-scope is all, entity or block")
    span = fields.get("entity-bytes")
    if span is not None and "dag-scope" not in fields:
        scope = "entity"
    return CarWish(scope, _bytes(span) if span is not None else None, dups == "y")


def _bytes(text: str) -> Bytes:
    first, colon, last = text.partition(":")
    if not colon or not _OFFSET.fullmatch(first) or not (last == "*" or _OFFSET.fullmatch(last)):
        raise UsageError("entity-bytes is FROM:TO, or FROM:*")
    span = Bytes(int(first), None if last == "*" else int(last))
    if span.last is not None and (span.first < 0) == (span.last < 0) and span.first > span.last:
        raise UsageError("entity-bytes ends before it begins")
    return span
