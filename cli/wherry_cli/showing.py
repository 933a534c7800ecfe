"""How transfers of the daemon are shown: a line each, all that is known of one, and what changes while one watches."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from wherry.daemon.retry import PAUSE_S_MAX
from wherry.errors import PeerUnreachable
from wherry.units import format_duration, format_size
from wherry_cli.control.paths import error_of
from wherry_cli.render import Out, safe, to_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    Events = AsyncGenerator[dict[str, Any], None]

ENDED: Final = ("complete", "seeding", "failed", "cancelled")
_LINE_EVERY_S: Final = 1.0  # of one transfer, while only its bytes change


def show_list(out: Out, found: dict[str, Any]) -> None:
    """Prints a line a transfer; with --quiet their IDs."""
    if out.as_json:
        out.result(found)
        return
    for one in found["transfers"]:
        out.line(safe(one["id"]) if out.quiet else line_of(one))
    if not found["transfers"]:
        out.note("There are no transfers. `wherry transfers add` makes one.")


def show(out: Out, one: dict[str, Any], *, brief: bool = False) -> None:
    """Prints a transfer: its ID and state, and below that a line a property unless ``brief``."""
    if out.as_json:
        out.result(one)
        return
    if out.quiet:
        out.line(safe(one["id"]))
        out.flush()
        return
    out.line(line_of(one))
    if not brief:
        for name, value in _properties(one):
            out.line(f"  {name:<9} {value}")
    out.flush()


def line_of(one: dict[str, Any]) -> str:
    """Gives the line of a list: ID, state, class, how far, how fast, where to."""
    parts = [f"{safe(one['id']):<5} {safe(one['state']):<9} {safe(one['traffic_class']):<11}", _amount(one)]
    if one["rate"]:
        parts.append(f"{format_size(one['rate'])}/s")
    if one["seconds_left"] is not None:
        parts.append(f"{format_duration(one['seconds_left'])} left")
    return f"{'  '.join(parts)}  {safe(one['output'])}"


def _amount(one: dict[str, Any]) -> str:
    done, total = one["bytes_done"], one["bytes_total"]
    if total is None:
        return f"{format_size(done):>10}"
    return f"{format_size(done):>10} of {format_size(total)} ({min(100, 100 * done // total if total else 100)}%)"


def _properties(one: dict[str, Any]) -> list[tuple[str, str]]:
    failure, limits = one["failure"], [("up", one["limit_up"]), ("down", one["limit_down"])]
    found = [("what", safe(one["what"]))]
    found += [("from", safe(source)) for source in one["sources"]]
    found += [("added", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["added"])))]
    found += [("priority", str(one["priority"]))] if one["priority"] else []
    found += [("limit", f"{name} {format_size(count)}/s") for name, count in limits if count]
    found += [("fetched", f"{format_size(one['fetched_bytes'])}, from {one['sources_alive']} sources now")]
    if one["waits_for"]:
        found.append(("now", safe(one["waits_for"])))
    if failure is not None:
        found.append(("error", f"{safe(failure['error'])}: {safe(failure['message'])}"))
        found += [("hint", safe(failure["hint"]))] if failure["hint"] else []
    if one["retry_at"] is not None and one["state"] == "queued":
        wait = one["retry_at"] - time.time()  # beyond the longest pause: the clock was put back, and it is due (0027 §5)
        found.append(("again", f"in {format_duration(wait if 0 < wait <= PAUSE_S_MAX else 0.0)}"))
    return found


async def follow_all(out: Out, events: Events) -> None:
    """Prints what changes of all transfers, until the daemon ends or a signal comes."""
    teller = _Teller(out)
    async with aclosing(events):
        async for event in events:
            teller.tell(event)


async def follow(out: Out, events: Events, name: str) -> None:
    """Prints what changes of one transfer until it is over. Raises the error of one that failed."""
    teller = _Teller(out)
    async with aclosing(events):
        async for event in events:
            if event.get("id") != name:
                continue
            teller.tell(event)
            if event.get("event") != "transfer" or event["state"] in ENDED:
                if event.get("state") == "failed" and event["failure"] is not None:
                    raise error_of(event["failure"])
                return
    raise PeerUnreachable("the daemon has ended", hint="`wherry up` starts it; the transfer goes on then")


class _Teller:
    """Prints events: each with --json, else one a second for a transfer whose state stays."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._states: dict[str, tuple[str, float]] = {}

    def tell(self, event: dict[str, Any]) -> None:
        """Prints one event, if it says anything new."""
        if self._out.as_json:
            self._out.line(to_json(event))
            self._out.flush()
            return
        if event.get("event") != "transfer":
            return
        now = time.monotonic()
        state, at = self._states.get(event["id"], ("", -_LINE_EVERY_S))
        if state != event["state"] or now - at >= _LINE_EVERY_S:
            self._states[event["id"]] = (event["state"], now)
            self._out.line(line_of(event))
            self._out.flush()
