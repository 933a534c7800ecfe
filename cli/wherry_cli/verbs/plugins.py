"""``wherry plugins``: what is installed, what of it is broken, and the options of each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherry.errors import PluginBroken, PluginContractError, PluginNotFound, UsageError
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.render import Out, Style, safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.plugin.manager import Listed
    from wherry.plugin.options import Option
    from wherry_cli.checking import Checked
    from wherry_cli.scaffolding import NewPlugin

HELP = """Show the plugins that are installed.

Plugins bring transports, caches and other parts; the configuration chooses among them by name."""


def list_plugins(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Only this kind, such as transport.")] = None,
) -> None:
    """List every plugin, also those that are broken or disabled."""
    run = Invocation.of(ctx)
    lines = _listing(run)
    if kind is not None:
        _check_kind(kind)
        lines = [line for line in lines if line.kind in (kind, "")]
    show_list(run.out(), lines)


def info(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name; KIND.NAME if two kinds share it.")],
) -> None:
    """Show one plugin and its options."""
    run = Invocation.of(ctx)
    show_info(run.out(), find(_listing(run), name))


def check(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name; KIND.NAME if two kinds share it.")],
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Only this kind, such as transport.")] = None,
    configured: Annotated[
        bool, typer.Option("--configured", help="With your configuration's options; NAME may be an instance.")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long a suite may take.")] = 600.0,
) -> None:
    """Run the contract suite of its kind on a plugin that is installed."""
    run = Invocation.of(ctx)
    if kind is not None:
        _check_kind(kind)
    environ = {**run.environ, **({"WHERRY_HOME": str(run.home)} if run.home else {})}
    environ.update({"WHERRY_CONFIG": str(run.config)} if run.config else {})
    found = [(each, name) for each in ([kind] if kind else _configured_kinds(environ, name))] if configured else []
    if not found:
        found = [(line.kind, line.name) for line in _usable(find(_listing(run), name), name) if kind in (None, line.kind)]
    if not found:
        raise PluginNotFound(f"no {kind} {name!r} is installed", hint="`wherry plugins list` names them all")
    from wherry_cli.checking import check as run_suite

    results = [(each, run_suite(*each, environ, configured=configured, timeout_s=timeout)) for each in found]
    show_checks(run.out(), results)
    if any(one.outcome == "failed" for _, checks in results for one in checks):
        raise PluginContractError(f"{name} does not keep its contract", hint="`wherry plugins info NAME` names its package")


def new(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What it is: transport, cache, compressor, ...")],
    name: Annotated[str, typer.Argument(metavar="VENDOR.NAME", help="What the configuration will call it.")],
    directory: Annotated[str, typer.Option("--dir", metavar="DIR", help="Where its folder is made.")] = ".",
) -> None:
    """Write a package with a plugin that works, to begin from."""
    from wherry_cli.scaffolding import NewPlugin, write

    run = Invocation.of(ctx)
    plugin = NewPlugin.parse(kind, name)
    written = write(plugin, directory)
    show_new(run.out(), plugin, os.path.join(directory, plugin.dist), written)


def _listing(run: Invocation) -> list[Listed]:
    from wherry.plugin.manager import Manager

    return Manager.from_environ(run.environ).listing()


def _usable(lines: list[Listed], name: str) -> list[Listed]:
    """Gives ``lines`` if they can be built. Raises PluginBroken for one that does not load, is disabled or clashes."""
    for line in lines:
        if line.status != "ok":
            raise PluginBroken(f"{name} cannot be checked: it is {line.status}: {line.cause}")
    return lines


def _configured_kinds(environ: Mapping[str, str], name: str) -> list[str]:
    """Gives the kinds in which the configuration has an instance of that name."""
    from wherry.config import load
    from wherry.store.home import default_home

    return [kind for kind, its_name in load(None, default_home(environ), environ).instances if its_name == name]


def _check_kind(kind: str) -> None:
    from wherry.plugin.hookspecs import KINDS

    if kind not in KINDS:
        raise UsageError(f"there is no kind of plugin {kind!r}", hint="kinds: " + ", ".join(KINDS))


def find(lines: list[Listed], name: str) -> list[Listed]:
    """Gives what goes by ``name``, with or without its kind before it. Raises PluginNotFound."""
    found = [line for line in lines if name in (line.name, f"{line.kind}.{line.name}")]
    if not found:
        from difflib import get_close_matches

        names = sorted({line.name for line in lines})
        near = get_close_matches(name.rpartition(".")[2], names, 1)
        hint = f'did you mean "{near[0]}"?' if near else "`wherry plugins list` names them all"
        raise PluginNotFound(f"no plugin {name!r} is installed", hint=hint)
    return found


def show_list(out: Out, lines: list[Listed]) -> None:
    """Prints a line a plugin; with --quiet the names alone."""
    if out.as_json:
        out.result({"schema": "wherry/plugins/1", "plugins": [line.to_json() for line in lines]})
        return
    if out.quiet:
        for line in lines:
            out.line(safe(line.name))
        return
    wide = max((len(safe(line.name)) for line in lines), default=0)
    for line in lines:
        words = safe(line.summary or line.cause) if line.status == "ok" else safe(line.cause)
        out.line(f"{line.kind or '-':<10} {safe(line.name):<{wide}}  {_status(out, line)}  {words}")
        if line.notice:
            out.note(f"{safe(line.name)} (of {safe(line.distribution)}): {safe(line.notice)}")
    if not lines:
        out.note("No plugin is installed. Is wherry itself installed here? (pip install -e .)")


def show_info(out: Out, lines: list[Listed]) -> None:
    """Prints all about what was found."""
    if out.as_json:
        out.result({"schema": "wherry/plugin-info/1", "plugins": [line.to_json() for line in lines]})
        return
    for line in lines:
        out.line(f"{out.paint(safe(line.name), 'bold')}  {line.kind or 'plugin'}, {_status(out, line).strip()}")
        if line.summary:
            out.line(f"  {safe(line.summary)}")
        if line.cause:
            out.line(f"  {safe(line.cause)}")
        out.line(f"  from {safe(line.distribution)} {safe(line.version)}, plugin {safe(line.plugin)}")
        for option in line.options:
            _show_option(out, line, option)


def _show_option(out: Out, line: Listed, option: Option) -> None:
    out.line(f"  {line.kind}.{safe(line.name)}.{safe(option.name)} = {safe(option.text(option.default))}")
    out.line(f"      {safe(option.help)}; {safe(option.expected)}")
    if option.env:
        out.line(f"      also: {safe(option.env)} in the environment")


def show_checks(out: Out, results: list[tuple[tuple[str, str], list[Checked]]]) -> None:
    """Prints a line a check, and how many of each outcome there were; with --quiet, those that failed alone."""
    if out.as_json:
        plugins = [
            {"kind": kind, "name": name, "checks": [one.to_json() for one in checks]} for (kind, name), checks in results
        ]
        out.result({"schema": "wherry/plugin-check/1", "plugins": plugins})
        return
    styles: dict[str, Style] = {"passed": "green", "failed": "red", "skipped": "yellow"}
    for (kind, name), checks in results:
        for one in checks:
            if not out.quiet or one.outcome == "failed":
                reason = f"  {safe(one.reason)}" if one.reason else ""
                out.line(f"{out.paint(f'{one.outcome:8}', styles[one.outcome])} {safe(one.check)}{reason}")
        counts = ", ".join(f"{sum(one.outcome == word for one in checks)} {word}" for word in styles)
        out.note(f"{kind} {safe(name)}: {counts}")


def show_new(out: Out, plugin: NewPlugin, folder: str, written: list[str]) -> None:
    """Prints what was written, and what to do with it."""
    if out.as_json:
        names = {"kind": plugin.kind, "name": plugin.name, "distribution": plugin.dist, "package": plugin.package}
        out.result({"schema": "wherry/plugin-new/1", **names, "path": folder, "files": written})
        return
    for path in () if out.quiet else written:
        out.line(safe(os.path.join(folder, path)))
    out.note(f"Next:  cd {safe(folder)} && pip install -e '.[test]' && pytest")


def _status(out: Out, line: Listed) -> str:
    styles: dict[str, Style] = {"ok": "green", "broken": "red", "clash": "red", "disabled": "yellow"}
    return out.paint(f"{line.status:8}", styles[line.status])


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry plugins list", "wherry plugins info http", "wherry plugins new cache acme.shared")
    member(app, "list", list_plugins, "wherry plugins list", "wherry plugins list --kind transport --json")
    member(app, "info", info, "wherry plugins info http", "wherry plugins info cache.disk")
    member(app, "check", check, "wherry plugins check acme.quic", "wherry plugins check disk --kind cache --json")
    member(app, "new", new, "wherry plugins new transport acme.quic", "wherry plugins new cache acme.shared --dir ~/src")
    return finished(app)
