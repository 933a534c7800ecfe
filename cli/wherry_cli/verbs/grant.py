"""``wherry grant``: somebody else may open an encrypted dataset."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.options import From, TokenFile, access_overrides
from wherry_cli.verbs import add as add_verb  # noqa: TC001 - typer reads annotations when it runs


def grant(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="CID", help="An encrypted dataset that a key of this home opens.")],
    *,
    to: Annotated[
        list[str],
        typer.Option(
            "--to", metavar="RECIPIENT", help="Who may open it: a recipient's text, or a name in `wherry keys`. Repeatable."
        ),
    ],
    sign_as: add_verb.SignAs = None,
    source: From = None,
    token_file: TokenFile = None,
) -> None:
    """Let others open an encrypted dataset.

    Prints the CID to give them. Only a new header is made; the sealed data stay as they are, wherever they lie. What was
    granted cannot be taken back: whoever could open a dataset may have kept it.
    """
    run = Invocation.of(ctx)
    overrides = access_overrides(token_file=token_file)

    async def work() -> None:
        async with run.session("grant", overrides=overrides) as session:
            with run.watcher(bar=False) as watcher:
                result = await session.grant(what, to, sender=sign_as, sources=tuple(source or ()), observe=watcher)
        out = run.out()
        if out.as_json:
            out.result(result.to_json())
            return
        out.line(result.cid)
        if not out.quiet:
            out.line(f"opens for {result.recipients} more; it is served beside {result.before}")

    run.drive(work)


def build() -> Any:
    """Makes the command."""
    return single(grant, "wherry grant bafyrei... --to wherry-to1...", "wherry grant bafyrei... --to alice --to bob")
