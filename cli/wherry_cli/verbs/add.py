"""``wherry add``: files become a CID, and stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import UsageError
from wherry.units import format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.render import Out, many, safe

if TYPE_CHECKING:
    from wherry.results import AddResult
    from wherry.session import Encryption
    from wherry_cli.progress import Watcher

KEPT = "nothing is lost: the same command begins again"

_CUT = (
    "How files are cut: fixed:1MiB, fixed:2MiB or fixed:4MiB; fastcdc:64KiB, fastcdc:256KiB or fastcdc:1MiB "
    "(default: [chunker] of the configuration)."
)
Chunker = Annotated[str | None, typer.Option("--chunker", metavar="NAME[:SIZE]", help=_CUT)]
Encrypt = Annotated[
    str | None, typer.Option("--encrypt", metavar="KEY", help="Encrypt with a key of `wherry keys`: whoever has it can read.")
]
To = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="RECIPIENT", help="Encrypt for a recipient, by text or name in `wherry keys`. Repeatable."),
]
SignAs = Annotated[str | None, typer.Option("--sign-as", metavar="NAME", help="The identity that signs for --to.")]
RandomKeys = Annotated[
    bool, typer.Option("--random-keys", help="With encryption: fresh keys for each file, so that nothing is ever equal.")
]
Pad = Annotated[bool, typer.Option("--pad", help="With encryption: hide lengths, at up to 12 % more bytes.")]
Compress = Annotated[
    bool,
    typer.Option("--compress", help="With encryption: compress before sealing; the sealed blocks are then kept in the home."),
]
Mtime = Annotated[
    bool | None,
    typer.Option("--mtime/--no-mtime", help="Whether to record when files were changed; it becomes part of the CID."),
]

Unixfs = Annotated[
    bool | None,
    typer.Option("--unixfs/--no-unixfs", help="Whether to give its CID in UnixFS as well, for every IPFS tool (default: yes)."),
]


def add(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or a directory; or synth://SIZE?seed=N.")],
    *,
    chunker: Chunker = None,
    mtime: Mtime = None,
    unixfs: Unixfs = None,
    name: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="Its name, part of its metadata and CID.")] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option("--meta", metavar="KEY=TEXT", help="Words about the dataset, part of its CID. Repeatable."),
    ] = None,
    encrypt: Encrypt = None,
    to: To = None,
    sign_as: SignAs = None,
    random_keys: RandomKeys = False,
    pad: Pad = False,
    compress: Compress = False,
) -> None:
    """Read files once, in place, and print their CID.

    Nothing is copied: wherry remembers where the pieces lie, and notices if a file changes afterwards. In UnixFS it has the CID
    that `ipfs add` gives by the profile unixfs-v1-2025, which the default chunker fits; no other profile is made.
    """
    run = Invocation.of(ctx)
    words = read_meta(meta or [])
    sealed = encryption(encrypt, to, sign_as, random_keys=random_keys, pad=pad, compress=compress)

    async def work() -> None:
        async with run.session("add") as session:
            with run.watcher() as watcher:
                options = given(chunker=chunker, mtime=mtime, unixfs=unixfs, name=name, meta=words, encryption=sealed)
                result = await session.add(path, **options, observe=watcher)
        show(run.out(), watcher, result)

    # With random keys nothing that was sealed before is of use.
    run.drive(work, kept=KEPT if random_keys else "what was read is kept: the same command goes on from it")


def encryption(
    key: str | None, to: list[str] | None, sender: str | None, *, random_keys: bool, pad: bool, compress: bool
) -> Encryption | None:
    """Says how to encrypt; None: not at all. Raises UsageError for options that mean nothing without it."""
    if key is None and not to:
        if random_keys or pad or compress or sender is not None:
            raise UsageError("this option belongs to encryption", hint="say for whom: --encrypt KEY, or --to RECIPIENT")
        return None
    from wherry.session import Encryption

    return Encryption(key, tuple(to or ()), sender, random_keys, pad, compress)


def read_meta(pairs: list[str]) -> dict[str, str] | None:
    """Reads KEY=TEXT pairs. Raises UsageError."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--meta {pair!r} is not KEY=TEXT", hint='write it as --meta "licence=CC0"')
        if key in found:
            raise UsageError(f"--meta {key!r} is given twice")
        found[key] = text
    return found or None


def show(out: Out, watcher: Watcher, result: AddResult) -> None:
    """Prints what an add gave: the CID, and a line about it."""
    warn(out, watcher, result)
    if out.as_json:
        out.result(result.to_json())
        return
    out.line(result.cid)
    if not out.quiet:
        from wherry.results import UNIXFS_OFF

        out.line(summary(result))
        if result.unixfs_cid is not None:
            out.line(f"in UnixFS, for any IPFS tool: {result.unixfs_cid}")
        elif result.unixfs_reason not in (None, UNIXFS_OFF):
            out.line(f"no UnixFS CID: {result.unixfs_reason}")


def warn(out: Out, watcher: Watcher, result: AddResult) -> None:
    """Says each warning of the result that was not said while the verb ran."""
    for text in result.warnings:
        if not watcher.said(text):
            out.warning(safe(text))


def summary(result: AddResult) -> str:
    """A line for people about an add."""
    rate = f" ({format_size(result.bytes / result.seconds)}/s)" if result.seconds > 0 and result.bytes else ""
    files = many(result.files, "file")
    blocks = f"{many(result.new_blocks, 'new block')}, {result.reused_blocks:,} known"
    kept = f"{format_size(result.unique_bytes)} new, {format_size(result.stored_bytes)} stored"
    return f"{files}, {format_size(result.bytes)} in {format_duration(result.seconds)}{rate}; {blocks}; {kept}"


def build() -> Any:
    """Makes the command."""
    return single(
        add,
        "wherry add ./dataset",
        "wherry add --encrypt team ./dataset",
        'wherry add --meta "licence=CC0" ./dataset',
        "cid=$(wherry add -q model.bin)",
    )
