"""``wherry dag``: blocks that are no files, as IPLD has them: values with links."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry.errors import DataError, LimitExceeded, UsageError
from wherry.hints import advising
from wherry.units import format_size
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.options import From, TokenFile, access_overrides
from wherry_cli.render import Out, many, safe

if TYPE_CHECKING:
    from wherry.dag_results import DagLink, DagNode, DagPut, DagStat
    from wherry.session import Session

HELP = """Read, write and walk blocks of IPLD: values with links.

A path goes through DAG-CBOR and DAG-JSON by keys and indexes, through directories by names, and over links to other blocks.
What is not here is fetched, and verified."""

Node = Annotated[str, typer.Argument(metavar="CID[/PATH]", help="A block, or a value in one.")]
Codec = Literal["dag-json", "dag-cbor", "dag-pb", "raw"]


def get(
    ctx: typer.Context,
    what: Node,
    *,
    codec: Annotated[
        Literal["dag-json", "dag-cbor", "raw"],
        typer.Option("--output-codec", help="How the value is written; raw: the block as it is, or bytes in one."),
    ] = "dag-json",
    sources: From = None,
    token_file: TokenFile = None,
) -> None:
    """Write what a path leads to."""
    run = Invocation.of(ctx)
    if run.json and codec != "dag-json":
        raise UsageError(f"{codec} is not JSON, so it has no --json", hint="leave one of the two out")

    async def work(session: Session) -> None:
        from wherry_cli.pipe import PipeWriter

        with run.watcher(bar=False) as watcher:
            found = await session.dag_get(what, codec=codec, sources=tuple(sources or ()), observe=watcher)
        if run.json:
            run.out().result(node_json(found))
            return
        end = b"\n" if codec == "dag-json" and sys.stdout.isatty() else b""
        writer = PipeWriter()
        try:
            await writer.write(found.data + end)
        finally:
            writer.close()

    _drive(run, work, token_file)


def put(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="[FILE]", help="A value of 2 MiB at most; - is standard input.")] = "-",
    *,
    codec: Annotated[Codec, typer.Option("--input-codec", help="How the value is written.")] = "dag-json",
    store: Annotated[Codec, typer.Option("--store-codec", help="As what block it is kept.")] = "dag-cbor",
) -> None:
    """Keep a value as a block, and print its CID.

    It is written in the canonical form of the codec, so equal values have equal CIDs. `wherry serve` gives it to who asks.
    """
    from wherry.limits import PB_BYTES_MAX
    from wherry_cli.verbs.keys import read_bounded

    run = Invocation.of(ctx)
    data = read_bounded(source, PB_BYTES_MAX)
    where = "standard input" if source == "-" else repr(source)
    if len(data) > PB_BYTES_MAX:
        hint = "split it into several blocks with links between them; `wherry add` does so with files"
        raise LimitExceeded(f"{where}: more than {format_size(PB_BYTES_MAX)}, which is the most that a block has", hint=hint)

    async def work(session: Session) -> None:
        with advising(DataError, f"{codec} is read there, unless --input-codec says otherwise", about=where):
            kept = await session.dag_put(data, codec=codec, store=store)
        show_put(run.out(), kept)

    _drive(run, work)


def ls(ctx: typer.Context, what: Node, *, sources: From = None, token_file: TokenFile = None) -> None:
    """List the links in what a path leads to."""
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        with run.watcher(bar=False) as watcher:
            links = await session.dag_ls(what, sources=tuple(sources or ()), observe=watcher)
        show_links(run.out(), what, links)

    _drive(run, work, token_file)


def stat(ctx: typer.Context, what: Node, *, sources: From = None, token_file: TokenFile = None) -> None:
    """Count the blocks below, and their bytes.

    Every block is looked up, and fetched if it is not here.
    """
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        with run.watcher() as watcher:
            found = await session.dag_stat(what, sources=tuple(sources or ()), observe=watcher)
        show_stat(run.out(), found)

    _drive(run, work, token_file)


def _drive(run: Invocation, verb: Any, token_file: Any = None) -> None:
    async def work() -> None:
        async with run.session("dag", overrides=access_overrides(token_file=token_file)) as session:
            await verb(session)

    run.drive(work)


# What is printed


def node_json(found: DagNode) -> dict[str, object]:
    """The JSON form of what a path led to: its value, in DAG-JSON, among where it is."""
    return {
        "schema": "wherry/dag-get/1",
        "cid": found.cid,
        "codec": found.codec,
        "rest": found.rest,
        "value": json.loads(found.data),
    }


def show_put(out: Out, found: DagPut) -> None:
    """Prints the CID."""
    if out.as_json:
        out.result(found.to_json())
    else:
        out.line(found.cid)


def show_links(out: Out, what: str, links: list[DagLink]) -> None:
    """Prints a line a link: the CID, and where it is or, of dag-pb, its size and name; with --quiet the CIDs alone."""
    if out.as_json:
        listed = [{key: value for key, value in link.to_json().items() if key != "schema"} for link in links]
        out.result({"schema": "wherry/dag-ls/1", "what": what, "links": listed})
        return
    for link in links:
        if out.quiet:
            out.line(link.cid)
        elif link.name is None and link.size is None:
            out.line(f"{link.cid}  {safe(link.path)}")
        else:
            size = "-" if link.size is None else f"{link.size:,}"
            out.line(f"{link.cid}  {size:>15}  {safe(link.name or '')}".rstrip())


def show_stat(out: Out, found: DagStat) -> None:
    """Prints a line a property; with --quiet the bytes of all blocks alone."""
    if out.as_json:
        out.result(found.to_json())
        return
    if out.quiet:
        out.line(str(found.total_bytes))
        return
    out.line(f"cid     {found.cid}")
    out.line(f"codec   {found.codec}")
    if found.rest:
        out.line(f"inside  {safe(found.rest)}")
    out.line(f"size    {found.bytes:,} bytes")
    out.line(f"links   {found.links:,}")
    out.line(f"below   {many(found.blocks, 'block')}, {found.total_bytes:,} bytes ({format_size(found.total_bytes)})")


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry dag get bafyrei.../a/0", "wherry dag put value.json", "wherry dag ls bafyrei...")
    member(app, "get", get, "wherry dag get bafyrei...", "wherry dag get bafyrei.../a/0 --from https://gateway.example:443")
    member(app, "put", put, "wherry dag put value.json", "wherry dag put value.json --store-codec dag-json")
    member(app, "ls", ls, "wherry dag ls bafyrei...", "wherry dag ls --json bafybei...")
    member(app, "stat", stat, "wherry dag stat bafyrei...")
    return finished(app)
