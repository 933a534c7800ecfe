"""``wherry sim``: the door to the simulation, which is imported only when it runs (specs/0030)."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from wherry.errors import WherryError
from wherry.units import format_duration, format_rate, format_size
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.options import duration, rate, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.policy import Policy
    from wherry.testing.fanout.outcome import Outcome
    from wherry.testing.fanout.plan import Plan
    from wherry.testing.fanout.world import World
    from wherry_cli.render import Out

PolicyName = Literal["auto", "none", "reputation", "fastest", "round-robin", "random", "local-first"]

_TRANSFERS: Final = 300_000  # blocks times nodes that a run has, unless it is told: some minutes
_POLICY_NODES: Final = 100  # nodes up to which each asks the policy that wherry comes with: it doubles the time
_TELL_S: Final = 5.0
_BAR: Final = 40


def fanout(
    ctx: typer.Context,
    *,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Nodes that download.")] = 100,
    size_bytes: Annotated[int, typer.Option("--size", metavar="SIZE", parser=size, help="Bytes of the dataset.")] = "256MiB",  # type: ignore[assignment]  # typer parses it
    link_rate: Annotated[
        int, typer.Option("--rate", metavar="RATE", parser=rate, help="Of the link of each node, each way.")
    ] = "100Mbit/s",  # type: ignore[assignment]  # the same
    origin_rate: Annotated[
        int | None, typer.Option("--origin-rate", metavar="RATE", parser=rate, help="Of the origin's; not said: as --rate.")
    ] = None,
    latency: Annotated[float, typer.Option("--latency", metavar="TIME", parser=duration, help="One way, on average.")] = "20ms",  # type: ignore[assignment]  # the same
    loss: Annotated[float, typer.Option("--loss", min=0.0, max=0.9, help="Share of messages that are sent again.")] = 0.0,
    churn: Annotated[
        float, typer.Option("--churn", min=0.0, max=1.0, help="Share of the nodes that leaves each minute, and comes back.")
    ] = 0.0,
    liars: Annotated[int, typer.Option("--liars", min=0, help="Nodes besides that say to have all, and send wrong bytes.")] = 0,
    freeloaders: Annotated[int, typer.Option("--freeloaders", min=0, help="Of the nodes, those that give nothing.")] = 0,
    partition: Annotated[
        float,
        typer.Option("--partition", metavar="TIME", parser=duration, help="How long half of the nodes cannot reach the rest."),
    ] = "0s",  # type: ignore[assignment]  # the same
    degree: Annotated[int, typer.Option("--degree", min=1, help="Peers that a node looks for.")] = 14,
    followers: Annotated[int, typer.Option("--followers", min=1, help="Nodes that the origin takes at a time.")] = 32,
    policy: Annotated[
        PolicyName, typer.Option("--policy", help="Who is asked for what; auto: reputation, of up to 100 nodes, else none.")
    ] = "auto",
    shorten: Annotated[
        int,
        typer.Option("--shorten", min=0, help="Simulate one Nth of the dataset; 0: what some minutes suffice for."),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same run.")] = 1,
) -> None:
    """Let one origin give a dataset to many nodes.

    The scheduler, the swarm and the messages are wherry's own; the clock and the network are not there. It ends with an error
    if a node hangs, takes a wrong block, is beyond a bound, or remembers who is gone.
    """
    from wherry.testing.fanout.plan import BLOCK_BYTES, Plan

    plan = Plan(
        nodes=nodes, size=size_bytes, rate=link_rate, origin_rate=origin_rate or link_rate, latency_s=latency, loss=loss,
        churn=churn, liars=liars, freeloaders=freeloaders, partition_s=partition, degree=degree, followers=followers, seed=seed,
        shorten=shorten or max(1, -(-size_bytes * nodes // (BLOCK_BYTES * _TRANSFERS))),
    )  # fmt: skip
    run = Invocation.of(ctx)
    run.start_log()
    out = run.out()
    name = ("reputation" if nodes <= _POLICY_NODES else "none") if policy == "auto" else policy
    from wherry.testing.fanout.invariants import Broken
    from wherry.testing.fanout.world import live

    began = time.monotonic()
    collects = gc.isenabled()
    gc.disable()  # millions of events that live shortly, and few rings: looking for those takes a third of the time
    try:
        outcome = live(plan, policy=policy_of(name), told=teller(out, plan))
    except Broken as problem:
        raise WherryError(problem.message, hint=problem.hint) from problem
    finally:
        if collects:
            gc.enable()
    show(out, outcome, name, time.monotonic() - began)


def policy_of(name: str) -> Policy | None:
    """Makes a policy by its name; None for "none"."""
    from wherry_policy.even import Random, RoundRobin
    from wherry_policy.fastest import Fastest
    from wherry_policy.local import LocalFirst
    from wherry_policy.options import ReputationOptions
    from wherry_policy.reputation import Reputation

    made: dict[str, Callable[[], Policy]] = {
        "reputation": lambda: Reputation(ReputationOptions().poor), "fastest": Fastest, "round-robin": RoundRobin,
        "random": Random, "local-first": LocalFirst,
    }  # fmt: skip
    return made[name]() if name in made else None


def teller(out: Out, plan: Plan) -> Callable[[World], None]:
    """Says every few seconds, on standard error, how far a run is."""
    told = time.monotonic()

    def tell(world: World) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_S:
            told = time.monotonic()
            share = sum(node.got for node in world.getters) / (plan.nodes * plan.length)
            done = plan.nodes - world.unfinished
            out.note(f"{world.clock.now:.0f} s simulated, {share:.0%} of all blocks, {done} of {plan.nodes} nodes done")

    return tell


def show(out: Out, outcome: Outcome, policy: str, took_s: float) -> None:
    """Prints the curve and the figures; with --quiet the figures of the bounds alone."""
    if out.as_json:
        out.result({**outcome.to_json(), "policy": policy, "took_s": round(took_s, 2)})
        return
    plan, times = outcome.plan, outcome.last_s / outcome.ideal_s
    if not out.quiet:
        part = f", of which 1/{plan.shorten} is simulated" if plan.shorten > 1 else ""
        out.line(
            f"{plan.nodes} nodes, {format_size(plan.size)}{part}, {plan.blocks} blocks, {format_rate(plan.rate)} each, "
            f"origin {format_rate(plan.origin_rate)}, seed {plan.seed}, policy {policy}"
        )
        out.line(f"a single transfer of it takes {outcome.ideal_s:.1f} s")
        out.line("")
        for share, at in outcome.curve:
            bar = "#" * max(1, round(_BAR * at / outcome.last_s))
            out.line(f"{share:>4} % complete after {at:>9.1f} s  {at / outcome.ideal_s:>5.2f} x  {bar}")
        out.line("")
    errors = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.errors.items())) or "none"
    rows = [
        ("complete", f"{outcome.complete} of {plan.nodes}; errors: {errors}"),
        ("last finisher", f"{times:.2f} times a single transfer"),
        ("origin sent", f"{outcome.copies:.3f} copies ({format_size(outcome.origin_bytes)})"),
        ("fairness", f"{outcome.jain:.4f} (Jain's index of the rates of those that give)"),
        (
            "waste",
            f"{outcome.waste:.2%} ({format_size(outcome.twice_bytes)} twice, {format_size(outcome.cut_bytes)} cut)",
        ),
        ("messages", f"{outcome.message_bytes / max(1, outcome.useful_bytes):.3%} of the bytes of blocks"),
        ("longest stall", f"{outcome.stall_s:.1f} s"),
    ]
    if plan.liars:
        rows.append(("liars", f"{outcome.liars_found} of {plan.liars} found out; {format_size(outcome.wrong_bytes)} wrong"))
    if plan.freeloaders:
        rows.append(("freeloaders", f"{outcome.freeloaders_s:.1f} s on average, givers {outcome.givers_s:.1f} s"))
    for name, text in rows:
        out.line(f"{name:<14} {text}")
    if not out.quiet:
        out.line(f"{'run':<14} {outcome.events} events in {format_duration(took_s)}, trace {outcome.trace}")


def build() -> Any:
    """Makes the command."""
    app = group("Simulate a swarm on a virtual clock and network.", "wherry sim fanout --nodes 100")
    member(
        app,
        "fanout",
        fanout,
        "wherry sim fanout",
        "wherry sim fanout --nodes 1000 --size 3GiB",
        "wherry sim fanout --nodes 50 --churn 0.5 --liars 5 --seed 7 --json",
    )
    return finished(app)
