"""``wherry serve``: this home's data for other machines, until a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import (
    AllowPublic,
    LimitUp,
    Listen,
    TlsCert,
    TlsKey,
    TokenFile,
    TrafficClass,
    access_overrides,
    with_class,
    with_limits,
)
from wherry_cli.render import Out, safe, warner
from wherry_cli.verbs import add as add_verb

if TYPE_CHECKING:
    from wherry.results import AddResult
    from wherry.transfer.serve import Serving


def serve(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="Files or directories to add first.")] = None,
    *,
    listen: Listen = None,
    allow_public: AllowPublic = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
    klass: TrafficClass = None,
    limit_up: LimitUp = None,
) -> None:
    """Serve what this home holds until it is stopped.

    When it is ready it prints one address a line. Ctrl-C or SIGTERM ends it cleanly.
    """
    run = Invocation.of(ctx)
    overrides = access_overrides(tls_cert=tls_cert, tls_key=tls_key, token_file=token_file)
    overrides = with_class(with_limits(overrides, up=limit_up), klass)

    async def work() -> None:
        async with (
            run.session("serve", overrides=overrides) as session,
            session.serve(
                (), listen=tuple(listen or ()), **given(allow_public=allow_public or None), observe=warner(run.out())
            ) as serving,
        ):
            added = []
            for path in paths or []:
                with run.watcher() as watcher:
                    added.append(await session.add(path, observe=watcher))
                add_verb.warn(run.out(), watcher, added[-1])
            show(run.out(), list(serving.listen), added)
            await until_stopped(serving)

    run.drive(work, kept=add_verb.KEPT)


def show(out: Out, addresses: list[str], added: list[AddResult]) -> None:
    """Says that the server is ready, at once: others wait for this."""
    if out.as_json:
        out.result({"schema": "wherry/serve/1", "listen": addresses, "added": [each.to_json() for each in added]})
        return
    for each in added:
        out.note(f"serving {each.cid}: {add_verb.summary(each)}")
    for address in addresses:
        out.line(safe(address))
    out.flush()


async def until_stopped(serving: Serving) -> None:
    """Serves until a signal; that is how a server that is ready ends well, so the run ends with 0."""
    import asyncio  # a verb's help needs none

    try:
        await serving.forever()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


def build() -> Any:
    """Makes the command."""
    return single(serve, "wherry serve", "wherry serve --listen http://127.0.0.1:0 ./dataset", "wherry serve --json")
