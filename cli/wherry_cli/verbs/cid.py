"""``wherry cid``: what a CID says, the same CID in other forms, and what its parts mean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from wherry import multibase
from wherry.cid import CODECS
from wherry.errors import CIDError, UsageError
from wherry.ipns.name import split
from wherry.publiccid import IDENTITY, PublicCID, codec_number, parse_path
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, safe, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELP = """Inspect, convert and explain CIDs of any version, base and codec.

Nothing is fetched: a CID tells all of this by itself. Without a CID on the line they are read from standard input, one a
line."""

_LINE_BYTES_MAX: Final = 8192
_MEANING: Final = {
    "raw": "the bytes are data as they are: a small file, or a piece of a large one",
    "dag-pb": "the block is a node of a DAG, nearly always of UnixFS: a file, a directory or part of one",
    "dag-cbor": "the block is structured data with links, as the manifests of wherry are",
    "dag-json": "the block is structured data with links, as JSON",
    "libp2p-key": "it is the key of a peer or of a name (IPNS), and no data",
    "json": "the block is JSON",
    "cbor": "the block is CBOR",
    "car": "the block is a CAR file",
}

Cids = Annotated[
    list[str] | None, typer.Argument(metavar="[CID]...", help="CIDs; without any, or for -, lines of standard input.")
]


def inspect(ctx: typer.Context, cids: Cids = None) -> None:
    """Show version, base, codec, hash and digest of CIDs."""
    _each(Invocation.of(ctx), "inspect", cids, facts, show_facts)


def convert(
    ctx: typer.Context,
    cids: Cids = None,
    *,
    base: Annotated[str | None, typer.Option("--base", metavar="NAME", help="Base to write in, as base32 or base36.")] = None,
    version: Annotated[int | None, typer.Option("--version", metavar="0|1", help="Version to write.")] = None,
    codec: Annotated[
        str | None, typer.Option("--codec", metavar="NAME", help="Codec to read the same bytes by, as raw or dag-pb, or 0x...")
    ] = None,
) -> None:
    """Write CIDs in another base, version or codec; the block stays the same."""
    if base is not None and base not in multibase.BASES:
        raise UsageError(f"{base!r} is no base", hint="bases: " + ", ".join(multibase.BASES))
    if version not in (None, 0, 1):
        raise UsageError(f"there is no CID version {version}", hint="--version 0 or --version 1")
    try:
        number = codec_number(codec) if codec is not None else None
    except CIDError as problem:
        raise UsageError(problem.message, hint=problem.hint) from problem

    def converted(text: str) -> dict[str, object]:
        cid, path, _ = _parsed(text)
        if number is not None:
            cid = cid.to_codec(number)
        if version is not None:
            cid = cid.to_version(version)
        elif base is not None and base != "base58btc":
            cid = cid.to_version(1)
        written = cid.to_base(base) if base is not None else str(cid)
        return {"input": text, "cid": f"{written}/{path}" if path else written}

    _each(Invocation.of(ctx), "convert", cids, converted, lambda out, found: out.line(safe(str(found["cid"]))))


def explain(ctx: typer.Context, cids: Cids = None) -> None:
    """Say in words what the parts of CIDs mean, and what wherry can do with them."""
    _each(
        Invocation.of(ctx), "explain", cids,
        lambda text: {"input": text, "words": words(text)}, lambda out, found: out.line(f"{found['words']}\n"),
    )  # fmt: skip


def facts(text: str) -> dict[str, object]:
    """What a CID says. Raises CIDError."""
    cid, path, base = _parsed(text)
    inline = cid.inline
    return {
        "input": text,
        "cid": str(cid),
        "path": path or None,
        "version": cid.version,
        "base": base,
        "codec": cid.codec_name,
        "codec_number": cid.codec,
        "hash": cid.hash_name,
        "hash_number": cid.hash_code,
        "digest": cid.digest.hex(),
        "multihash": cid.multihash.hex(),
        "binary_bytes": len(cid),
        "inline": inline.hex() if inline is not None else None,
        "block": block_of(cid),
    }


def _parsed(text: str) -> tuple[PublicCID, str, str]:
    """Gives the CID, the path and the base of ``CID[/PATH]``, and of a name also as the id of a peer. Raises CIDError."""
    found = split(text)
    if found is None:
        cid, path = parse_path(text)
        written = text.removeprefix("/ipfs/").removeprefix("ipfs://")
        return cid, path, multibase.base_of(written) if cid.version else "base58btc"
    name, path = found
    written = text.removeprefix("/ipns/").removeprefix("ipns://")
    base = "base58btc" if written[:1] == "1" or written[:2] == "Qm" else multibase.base_of(written)
    return PublicCID(b"\x01\x72" + bytes(name)), path, base


def block_of(cid: PublicCID) -> str | None:
    """The CID under which wherry moves the block; None where it cannot."""
    try:
        return str(cid.block()) if cid.inline is None else None
    except CIDError:
        return None


def show_facts(out: Out, found: dict[str, object]) -> None:
    """Prints a line a property; with --quiet the canonical text alone."""
    if out.quiet:
        out.line(str(found["cid"]))
        return
    for label, key in (("cid", "cid"), ("path", "path"), ("version", "version"), ("base", "base"), ("codec", "codec")):
        if found[key] is not None:
            out.line(f"{label:8} {safe(str(found[key]))}")
    out.line(f"hash     {found['hash']}")
    out.line(f"digest   {found['digest']}")
    if found["inline"] is not None:
        out.line(f"block    in the CID itself, {len(str(found['inline'])) // 2} bytes")
    elif found["block"] is None:
        out.line("block    wherry cannot move it")
    elif found["block"] != found["cid"]:
        out.line(f"block    {found['block']}")
    out.line("")


def words(text: str) -> str:
    """Explains one CID. Raises CIDError."""
    cid, path, _ = _parsed(text)
    known = facts(text)
    lines = [f"{safe(text)}"]
    if cid.version:
        lines.append(f"  It is a CID of version 1, written in {known['base']}.")
    else:
        lines.append("  It is a CID of version 0: a bare sha2-256 in base58, which means a dag-pb block.")
    meaning = _MEANING.get(cid.codec_name, "how its block is read is not known here")
    lines.append(f"  Its codec is {cid.codec_name}: {meaning}.")
    if cid.hash_code == IDENTITY:
        lines.append(
            f"  Its hash is identity: the block, {len(cid.digest)} bytes, is in the CID, so nothing has to be fetched."
        )
    else:
        lines.append(f"  Its hash is {cid.hash_name}, {len(cid.digest)} bytes: {cid.digest.hex()}")
        block = block_of(cid)
        if block is None:
            lines.append("  wherry cannot fetch it: blocks are moved by sha2-256.")
        elif block != str(cid):
            twin = "raw bytes" if cid.codec not in CODECS else "version 1"
            lines.append(f"  wherry moves its block as {block} ({twin}, the same digest).")
    if path:
        lines.append(f"  Behind it is a path: {safe(path)}")
    if str(cid) != text and not path:
        lines.append(f"  Its usual text is {cid}")
    return "\n".join(lines)


def _each(
    run: Invocation,
    verb: str,
    cids: list[str] | None,
    work: Callable[[str], dict[str, object]],
    show: Callable[[Out, dict[str, object]], None],
) -> None:
    """Does the work for each CID, writes as it goes; what cannot be done is said, and makes the run fail at its end.

    Of a lone one it is the error of the run: whether it is that, of lines, the next one or their end tells.
    """
    out, bad, count = run.out(), 0, 0
    first: CIDError | None = None  # of the first one, not said yet
    between = f'{{"schema": "wherry/cid-{verb}/1", "cids": ['
    for text in cids if cids and cids != ["-"] else _lines():
        count += 1
        if first is not None and not out.as_json:
            out.error(first)
        first = None
        try:
            found = work(text)
        except CIDError as problem:
            bad += 1
            if count == 1:
                first = problem
            elif not out.as_json:
                out.error(problem)
            if not out.as_json:
                continue
            found = {"input": text, "error": problem.message, "hint": problem.hint}
        if out.as_json:
            out.write(between + "\n" + to_json(found))
            between = ","
        else:
            show(out, found)
    if out.as_json:
        out.line("\n]}" if between == "," else between + "]}")
    out.flush()
    if bad:
        raise first or CIDError(f"{bad} of {count} cannot be {'converted' if verb == 'convert' else 'read'}")


def _lines() -> Iterator[str]:
    """Gives the lines of standard input that are not empty. Raises UsageError if that is a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no CID was given", hint="name some, or pipe them in, one a line")
    while line := sys.stdin.readline(_LINE_BYTES_MAX):
        rest = line
        while rest and not rest.endswith("\n"):  # one line is one CID, and no CID is so long
            rest = sys.stdin.readline(_LINE_BYTES_MAX)
        if text := line.strip():
            yield text


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry cid inspect bafkrei...", "wherry cid convert --base base36 bafybei...")
    member(app, "inspect", inspect, "wherry cid inspect QmdfTb...", "wherry cid inspect --json < cids.txt")
    member(
        app,
        "convert",
        convert,
        "wherry cid convert --version 1 QmdfTb...",
        "wherry cid convert --codec raw --base base16 bafy...",
    )
    member(app, "explain", explain, "wherry cid explain bafkqaaa")
    return finished(app)
