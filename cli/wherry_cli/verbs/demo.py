"""``wherry demo``: see it work, on this machine, in a moment."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import NotFound
from wherry.units import MiB, format_duration, format_size
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import size
from wherry_cli.render import many

if TYPE_CHECKING:
    from wherry_cli.demo import DemoResult
    from wherry_cli.render import Out


def demo(
    ctx: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="A directory or file of yours to share; none: one is made.")
    ] = None,
    *,
    size_bytes: Annotated[
        int, typer.Option("--size", metavar="SIZE", parser=size, show_default="64 MiB", help="About how much to make.")
    ] = 64 * MiB,
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where to put the copy; it is removed at the end.")
    ] = None,
) -> None:
    """Share and get a directory between two processes, verified.

    Two processes with homes of their own talk HTTP over loopback; the copy is compared byte for byte, apart from
    wherry's own check, and removed.
    """
    from wherry_cli.demo import make_tree, run_demo
    from wherry_cli.signals import Stop

    run = Invocation.of(ctx)
    out = run.out()
    run.kept = "what the demo made is removed"
    if path is not None and not path.exists():
        raise NotFound(f"there is no {str(path)!r}", hint="give a file or a directory, or leave it out")
    with Stop().installed(), tempfile.TemporaryDirectory(prefix="wherry-demo-", dir=directory) as folder:
        work = Path(folder)
        source = path
        if source is None:
            source = work / "dataset"
            out.note(f"Making a dataset of about {format_size(size_bytes)} ...")
            make_tree(source, size_bytes)
        out.note("Sharing it from one process, getting it in another ...")
        config = run.config.absolute() if run.config is not None else None
        result = run_demo(source.absolute(), work, config=config, environ=run.environ)
    show(out, result)


def show(out: Out, result: DemoResult) -> None:
    """Prints the figures."""
    if out.as_json:
        out.result(result.to_json())
        return
    if out.quiet:
        out.line(result.cid)
        return
    out.line(f"{out.paint('identical', 'green')}: {many(result.files, 'file')}, {format_size(result.bytes)}, {result.cid}")
    if result.links_left_out:
        out.line(f"left out: {result.links_left_out:,} symbolic links that lead out of the directory")
    for verb, seconds in (("add", result.add_seconds), ("get", result.get_seconds)):
        speed = f"{result.bytes / seconds / 1e6:,.0f} MB/s" if seconds > 0 else "-"
        out.line(f"{verb}: {format_duration(seconds)}, {speed}")
    if result.share_peak_bytes is not None and result.get_peak_bytes is not None:
        peaks = f"share {format_size(result.share_peak_bytes)}, get {format_size(result.get_peak_bytes)}"
        out.line(f"memory at most: {peaks}")


def build() -> Any:
    """Makes the command."""
    return single(demo, "wherry demo", "wherry demo ./dataset", "wherry demo --size 1GiB --json")
