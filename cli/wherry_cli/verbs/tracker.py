"""``wherry tracker``: a server that nodes tell what they hold, and that says it to those who ask (specs/0028)."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import Annotated, Any, Literal

import typer

from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.options import TlsCert, TlsKey  # noqa: TC001 - as above
from wherry_cli.render import Out, safe

Reach = Literal["auto", "named", "lan", "public"]


def serve(
    ctx: typer.Context,
    *,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDR", help="Where to listen, such as http://127.0.0.1:4291.")
    ] = "http://127.0.0.1:4291",
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="FILE", help="Where its records are kept.  [default: HOME/tracker/records.db]"),
    ] = None,
    allow_public: Annotated[
        bool, typer.Option("--allow-public", help="Listen on an address that other machines reach: anyone may ask.")
    ] = False,
    reach: Annotated[
        Reach,
        typer.Option(
            "--reach", help="Whom to list: nodes anywhere, also of the own network, or of the Internet only; auto: by --listen."
        ),
    ] = "auto",
    proxy: Annotated[
        list[str] | None,
        typer.Option("--proxy", metavar="IP", help="A front server whose X-Forwarded-For is believed. Repeatable."),
    ] = None,
    records: Annotated[int, typer.Option("--records", min=1000, help="Records kept, in all; then the oldest go.")] = 1_000_000,
    web_pages: Annotated[
        bool | None,
        typer.Option(
            "--web-pages/--no-web-pages", help="Whether pages in browsers may use it; if not said, read a public one."
        ),
    ] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Answer who has what, and take announcements, until stopped.

    When it is ready it prints its address. It speaks Delegated Routing V1. Nodes use it with [locator] use = ["tracker"] and
    its address in [locator.tracker] urls; those with announce = true there tell it what they hold.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        from wherry.store.home import default_home
        from wherry_locate.server.options import TrackerServerOptions
        from wherry_locate.server.serving import tracking

        home = (run.home or default_home(run.environ)).expanduser().absolute()
        options = TrackerServerOptions(
            allow_public=allow_public, reach=reach, proxies=tuple(proxy or ()), records_max=records, tls_cert=tls_cert,
            tls_key=tls_key, web_pages=web_pages,
        )  # fmt: skip
        async with tracking(listen, store or home / "tracker" / "records.db", options) as address:
            show(run.out(), address)
            await until_stopped()

    run.drive(work)


def show(out: Out, address: str) -> None:
    """Says that the tracker is ready, at once: others wait for this."""
    if out.as_json:
        out.result({"schema": "wherry/tracker-serve/1", "listen": address})
    else:
        out.line(safe(address))
    out.flush()


async def until_stopped() -> None:
    """Serves until a signal; that is how a server that is ready ends well, so the run ends with 0."""
    import asyncio  # a verb's help needs none

    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


def build() -> Any:
    """Makes the command."""
    app = group("Run a tracker, which nodes tell what they hold.", "wherry tracker serve")
    member(app, "serve", serve, "wherry tracker serve", "wherry tracker serve --listen http://192.0.2.7:4291 --allow-public")
    return finished(app)
