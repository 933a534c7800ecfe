"""``wherry keys``: the keys that datasets are encrypted with, and the people they are shared with."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wherry.errors import UsageError, local_error
from wherry.limits import KEY_FILE_BYTES_MAX
from wherry_cli.command import finished, group, member
from wherry_cli.invocation import Invocation
from wherry_cli.options import PassphraseFd, PassphraseFile  # noqa: TC001 - typer reads annotations when it runs
from wherry_cli.render import Out, safe

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.results import KeyReport
    from wherry.sealing.passphrase import Ask
    from wherry.session import Session

HELP = """Make, list and hand over the keys of encrypted datasets.

A key of a domain seals datasets; whoever has it opens them, and equal data in it is stored once. An identity is a person:
datasets are granted to its recipient text. Key files lie in the home and are nobody else's to read."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called here.")]


def new(
    ctx: typer.Context,
    name: Name,
    *,
    kind: Annotated[
        Literal["domain", "identity"], typer.Option("--kind", help="domain: seals datasets; identity: a person.")
    ] = "domain",
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Lock it by a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Make a key."""
    run = Invocation.of(ctx)
    secret = None
    if passphrase or passphrase_file is not None or passphrase_fd is not None:
        secret = needed(_asker(run, passphrase_file, passphrase_fd, again=True), f"the new key {name!r}")

    async def work(session: Session) -> None:
        show_key(run.out(), await session.new_key(name, kind=kind, passphrase=secret))

    _drive(run, work)


def list_keys(ctx: typer.Context) -> None:
    """List all keys; secrets are never shown."""
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        show_list(run.out(), await session.keys())

    _drive(run, work)


def show(ctx: typer.Context, name: Name) -> None:
    """Show one key, and the recipient text to give to others."""
    run = Invocation.of(ctx)

    async def work(session: Session) -> None:
        show_key(run.out(), await session.key(name))

    _drive(run, work)


def export(
    ctx: typer.Context,
    name: Name,
    *,
    output: Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there, for you alone.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without a passphrase: whoever sees it has the key.")] = False,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Write a key as text, locked by a passphrase.

    A key that is locked is written as it is; another one is locked by a passphrase that is asked for.
    """
    run = Invocation.of(ctx)
    kind, locked = _kind_of(run, name)
    secret = None
    if kind != "recipient" and locked == plain:  # a locked one is unlocked, an unlocked one locked
        secret = needed(_asker(run, passphrase_file, passphrase_fd, again=not locked), f"key {name!r}")

    async def work(session: Session) -> None:
        text = await session.export_key(name, passphrase=secret, plain=plain)
        show_export(run.out(), name, text, output)

    _drive(run, work)


def import_key(
    ctx: typer.Context,
    name: Name,
    source: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="An export (- reads it), or a recipient's text.")],
    *,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Take in an exported key, or somebody's recipient text."""
    from wherry.sealing.identity import PREFIX
    from wherry.sealing.keyfile import KeyFile, unwrapped

    run = Invocation.of(ctx)
    data = source.encode() if source.startswith(PREFIX) else read_bounded(source)
    secret = None
    if not data.startswith(PREFIX.encode()) and KeyFile.decode(unwrapped(data)).locked is not None:
        secret = needed(_asker(run, passphrase_file, passphrase_fd), f"the key in {source}")

    async def work(session: Session) -> None:
        show_key(run.out(), await session.import_key(name, data, passphrase=secret))

    _drive(run, work)


def rotate(
    ctx: typer.Context, name: Name, *, passphrase_file: PassphraseFile = None, passphrase_fd: PassphraseFd = None
) -> None:
    """Give a domain a new wrapping key, and its datasets new headers.

    No data is sealed again. Who has the old headers and the old key can go on opening what they could.
    """
    run = Invocation.of(ctx)
    _, locked = _kind_of(run, name)
    secret = needed(_asker(run, passphrase_file, passphrase_fd), f"key {name!r}") if locked else None

    async def work(session: Session) -> None:
        key = await session.rotate_key(name, passphrase=secret)
        show_rotated(run.out(), key, (await session.rewrap(name)).datasets)

    _drive(run, work)


def delete(
    ctx: typer.Context,
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, what only this key opens is to stay closed for ever.")] = False,
) -> None:
    """Delete a key; what only it opens stays closed for ever."""
    run = Invocation.of(ctx)
    if not yes:
        raise UsageError(f"deleting key {name!r} cannot be undone", hint="export it first, or say --yes")

    async def work(session: Session) -> None:
        await session.delete_key(name)
        out = run.out()
        if out.as_json:
            out.result({"schema": "wherry/key-delete/1", "name": name})
        else:
            out.note(f"deleted key {safe(name)}")

    _drive(run, work)


# Passphrases are asked for before the session: on the main thread, where Ctrl-C ends a question at once.


def _drive(run: Invocation, verb: Any) -> None:
    async def work() -> None:
        async with run.session("keys") as session:
            await verb(session)

    run.drive(work)


def _asker(run: Invocation, file: Path | None, fd: int | None, *, again: bool = False) -> Ask:
    from wherry.sealing.passphrase import asker

    if file is not None and fd is not None:
        raise UsageError("--passphrase-file and --passphrase-fd exclude each other", hint="give one of them")
    return asker(run.environ, file=str(file) if file is not None else None, fd=fd, terminal=True, again=again)


def needed(ask: Ask, what: str) -> bytes:
    """Asks for a passphrase that there must be. Raises UsageError if there is nobody to ask."""
    passphrase = ask(what)
    if passphrase is None:
        raise UsageError(f"{what} needs a passphrase, and there is no terminal to ask on", hint="--passphrase-file FILE")
    return passphrase


def _kind_of(run: Invocation, name: str) -> tuple[str, bool]:
    """Tells what kind of key it is, and whether it is locked."""
    from wherry.sealing.ring import KeyRing
    from wherry_cli.verbs.config import home_of

    found = KeyRing(home_of(run).expanduser().absolute()).describe(name)
    return found.kind, found.locked


def read_bounded(source: str, most: int = KEY_FILE_BYTES_MAX) -> bytes:
    """Reads a file, or standard input for ``-``, no further than one byte more than ``most``.

    Raises LocalError, NotFound, UsageError.
    """
    try:
        if source == "-" and sys.stdin is None:  # the shell's `<&-`
            raise UsageError("standard input is closed", hint="name a file, or write into a pipe")
        if source == "-":
            return sys.stdin.buffer.read(most + 1)
        with open(os.path.expanduser(source), "rb") as file:
            return file.read(most + 1)
    except OSError as problem:
        raise local_error(problem, "read", source) from problem


# What is printed


def show_key(out: Out, key: KeyReport) -> None:
    """Prints one key; with --quiet what is to be copied: the recipient text, or the name."""
    if out.as_json:
        out.result(key.to_json())
        return
    if out.quiet:
        out.line(key.recipient or key.name)
        return
    if key.recipient is not None:
        out.line(key.recipient)
    out.line(f"{out.paint(key.name, 'bold')}  {describe(key)}")
    for number, ident in enumerate(key.generations):
        out.line(f"  {ident}{'  wraps new datasets' if not number else ''}")


def show_rotated(out: Out, key: KeyReport, datasets: list[list[str]]) -> None:
    """Prints a rotated key, and the CIDs that its datasets had and have; with --quiet only the CIDs that they have."""
    if out.as_json:
        out.result({**key.to_json(), "schema": "wherry/key-rotate/1", "datasets": datasets})
        return
    if not out.quiet:
        show_key(out, key)
    for before, now in datasets:
        out.line(now if out.quiet else f"  {before} is now {now}")
    out.note("Export it again, for those who have it: datasets are wrapped with its new generation from now on.")


def show_list(out: Out, keys: list[KeyReport]) -> None:
    """Prints a line a key; with --quiet the names alone."""
    if out.as_json:
        found = [{word: value for word, value in key.to_json().items() if word != "schema"} for key in keys]
        out.result({"schema": "wherry/keys/1", "keys": found})
        return
    wide = max((len(key.name) for key in keys), default=0)
    for key in keys:
        out.line(key.name if out.quiet else f"{key.name:<{wide}}  {describe(key)}")
    if not keys:
        out.note("There are no keys. `wherry keys new NAME` makes one.")


def describe(key: KeyReport) -> str:
    """Gives what a line says of a key."""
    if key.problem is not None:
        return safe(key.problem)
    words = [key.kind, "locked" if key.locked else ""]
    if key.generations:
        words.append(f"{len(key.generations)} generation{'' if len(key.generations) == 1 else 's'}")
    words += [key.fingerprint or "", time.strftime("%Y-%m-%d", time.gmtime(key.made)) if key.made is not None else ""]
    return "  ".join(word for word in words if word)


def show_export(out: Out, name: str, text: bytes, output: str | None) -> None:
    """Prints an export, or writes it to a file of mode 600 that must not exist. Raises LocalError."""
    if output is not None:
        write_private(output, text)
        if not out.as_json:
            out.note(f"wrote {safe(output)}")
            return
    if out.as_json:
        where: dict[str, object] = {"armored": text.decode("ascii")} if output is None else {"path": os.path.abspath(output)}
        out.result({"schema": "wherry/key-export/1", "name": name, **where})
    else:
        out.write(text.decode("ascii"))


def write_private(path: str, data: bytes) -> None:
    """Writes a new file that nobody else may open. Raises LocalError if there is one already."""
    try:
        fd = os.open(os.path.expanduser(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except OSError as problem:
        raise local_error(problem, "write the export to", path) from problem


def build() -> Any:
    """Makes the command."""
    app = group(HELP, "wherry keys new project", "wherry keys new alice --kind identity", "wherry keys list")
    member(app, "new", new, "wherry keys new project --passphrase", "wherry keys new alice --kind identity")
    member(app, "list", list_keys, "wherry keys list", "wherry keys list --json")
    member(app, "show", show, "wherry keys show alice", "wherry keys show -q alice")
    member(app, "export", export, "wherry keys export project -o project.key", "wherry keys export alice --plain")
    member(app, "import", import_key, "wherry keys import project project.key", "wherry keys import bob bob.txt")
    member(app, "rotate", rotate, "wherry keys rotate project")
    member(app, "delete", delete, "wherry keys delete project --yes")
    return finished(app)
