"""``wherry doctor``: is this machine, this home and its configuration fit for work?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002 - typer reads annotations when it runs

from wherry.errors import StoreError, WherryError
from wherry_cli.command import single
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, Style, safe

if TYPE_CHECKING:
    from wherry.results import Check


def doctor(ctx: typer.Context) -> None:
    """Check this machine, this home and the configuration.

    It changes nothing. The exit code is 0 if no check fails; warnings are none.
    """
    run = Invocation.of(ctx)

    async def work() -> None:
        try:
            async with run.session("doctor") as session:
                checks = await session.doctor()
        except WherryError as problem:
            show_unopened(run.out(), problem)
            raise
        show(run.out(), checks)

    run.drive(work)


def show(out: Out, checks: list[Check]) -> None:
    """Prints a line a check. Raises StoreError if one failed."""
    failed = [check.name for check in checks if check.status == "fail"]
    if out.as_json:
        found = [
            {"name": each.name, "status": each.status, "detail": each.detail, "hint": each.hint or None} for each in checks
        ]
        out.result({"schema": "wherry/doctor/1", "ok": not failed, "checks": found})
    else:
        styles: dict[str, Style] = {"ok": "green", "warn": "yellow", "fail": "red"}
        for check in checks:
            if out.quiet and check.status == "ok":
                continue
            out.line(f"{out.paint(f'{check.status:4}', styles[check.status])}  {safe(check.name)}: {safe(check.detail)}")
            if check.hint and check.status != "ok":
                out.line(f"      hint: {safe(check.hint)}")
    if failed:
        raise StoreError(f"failed: {', '.join(failed)}", hint="the lines above say what to do")


def show_unopened(out: Out, problem: WherryError) -> None:
    """Gives the JSON form of a doctor that could not begin; for people, the error says it."""
    if out.as_json:
        check = {"name": "open", "status": "fail", "detail": problem.message, "hint": problem.hint}
        out.result({"schema": "wherry/doctor/1", "ok": False, "checks": [check]})


def build() -> Any:
    """Makes the command."""
    return single(doctor, "wherry doctor", "wherry doctor --home /data/wherry --json")
