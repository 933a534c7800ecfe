"""``wherry get`` of a torrent or a magnet link (specs/0036 §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from wherry.errors import UsageError
from wherry.units import format_duration, format_size
from wherry_cli.invocation import given
from wherry_cli.render import Out, safe
from wherry_cli.verbs.serve import until_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.car_results import TorrentFetched
    from wherry_cli.invocation import Invocation
    from wherry_cli.progress import Watcher


_PARTS: Final = frozenset({"--include", "--exclude"})


class Wish(NamedTuple):
    """What the command line said."""

    what: str
    sources: tuple[str, ...]
    output: str | None
    force: bool
    wait_s: float | None
    names: Literal["portable", "posix"] | None
    max_bytes: int | None
    seed: bool
    listen: tuple[str, ...]
    allow_public: bool


def get_torrent(run: Invocation, wish: Wish, refused: Sequence[str], overrides: dict[str, str]) -> None:
    """Runs it. Raises UsageError for options that mean nothing for a torrent."""
    if wish.what[:8].lower().startswith(("http://", "https://")):
        raise UsageError("a torrent is read from a file here", hint=f"fetch {wish.what!r} first, and name the file")
    if refused:
        hint = "get it whole, without"
        if not _PARTS.isdisjoint(refused):  # a piece of version 1 goes across files, so a part could not be compared
            hint += "; then `wherry get` the CID that it prints, which takes --include and --exclude and fetches nothing again"
        raise UsageError(f"{' and '.join(refused)} {'is' if len(refused) == 1 else 'are'} not for torrents", hint=hint)
    if wish.output == "null:":
        raise UsageError("a torrent is written somewhere", hint="say -o PATH")
    if wish.allow_public and not wish.seed:
        raise UsageError("--allow-public is for --seed", hint="add it, or leave this out")

    async def work() -> None:
        async with run.session("get", overrides=overrides) as session:
            with run.watcher() as watcher:
                result = await session.get_torrent(
                    wish.what, sources=wish.sources, output=wish.output, force=wish.force, observe=watcher,
                    **given(wait_s=wish.wait_s, names=wish.names, max_bytes=wish.max_bytes),
                )  # fmt: skip
            if not wish.seed:
                show(run.out(), watcher, result)
                return
            async with session.serve((), listen=wish.listen, **given(allow_public=wish.allow_public or None)) as serving:
                out = run.out()
                if out.as_json:
                    out.result({**result.to_json(), "listen": list(serving.listen)})
                else:
                    show(out, watcher, result)
                    for address in serving.listen:
                        out.line(safe(address))
                out.flush()
                out.note("Complete. Serving until Ctrl-C.")
                await until_stopped(serving)

    run.drive(work, kept="pieces that came whole are kept: the same command goes on from there")


def show(out: Out, watcher: Watcher, result: TorrentFetched) -> None:
    """Prints where the data is now, its CIDs, and a line about how it came."""
    for text in result.warnings:
        if not watcher.said(text):
            out.warning(safe(text))
    if out.as_json:
        out.result(result.to_json())
        return
    out.line(safe(result.path))
    if out.quiet:
        return
    out.line(f"CID: {result.cid}")
    if result.unixfs_cid is not None:
        out.line(f"in UnixFS, for any IPFS tool: {result.unixfs_cid}")
    files = f"{result.files:,} file{'' if result.files == 1 else 's'}, {format_size(result.bytes)}"
    if not result.fetched_bytes:
        out.line(f"{files}, nothing to fetch")
        return
    rate = f" ({format_size(result.fetched_bytes / result.seconds)}/s)" if result.seconds > 0 else ""
    out.line(f"{files}, {format_size(result.fetched_bytes)} fetched in {format_duration(result.seconds)}{rate}")
