"""``wherry share``: add, serve, and say what to paste on the other machine."""

from __future__ import annotations

import ipaddress
import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from wherry.cid import CID
from wherry.ticket import Ticket, usable_name
from wherry_cli.command import single
from wherry_cli.invocation import Invocation, given
from wherry_cli.options import AllowPublic, LimitUp, Listen, TlsCert, TlsKey, TokenFile, access_overrides, with_limits
from wherry_cli.render import Out, safe, warner
from wherry_cli.verbs import add as add_verb
from wherry_cli.verbs.serve import until_stopped

if TYPE_CHECKING:
    from wherry.results import AddResult


def share(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or a directory.")],
    *,
    listen: Listen = None,
    allow_public: AllowPublic = False,
    chunker: add_verb.Chunker = None,
    mtime: add_verb.Mtime = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
    limit_up: LimitUp = None,
    encrypt: add_verb.Encrypt = None,
    to: add_verb.To = None,
    sign_as: add_verb.SignAs = None,
    random_keys: add_verb.RandomKeys = False,
    pad: add_verb.Pad = False,
    compress: add_verb.Compress = False,
) -> None:
    """Add files, serve them, and print the line to paste elsewhere.

    It stays in the foreground; Ctrl-C stops it. Started again, it reads only what changed.
    """
    run = Invocation.of(ctx)
    overrides = with_limits(access_overrides(tls_cert=tls_cert, tls_key=tls_key, token_file=token_file), up=limit_up)
    sealed = add_verb.encryption(encrypt, to, sign_as, random_keys=random_keys, pad=pad, compress=compress)

    async def work() -> None:
        # Listening comes first: an address that cannot be had is known before a long read, not after it.
        async with (
            run.session("share", overrides=overrides) as session,
            session.serve(
                (), listen=tuple(listen or ()), **given(allow_public=allow_public or None), observe=warner(run.out())
            ) as serving,
        ):
            with run.watcher() as watcher:
                result = await session.add(path, **given(chunker=chunker, mtime=mtime, encryption=sealed), observe=watcher)
            out = run.out()
            add_verb.warn(out, watcher, result)
            show(out, result, list(serving.listen), name_of(path))
            if token_file is not None:
                out.note("this server asks for its token: add --token-file FILE there, with the same token in it")
            await until_stopped(serving)

    run.drive(work, kept=add_verb.KEPT)


def name_of(path: str) -> str | None:
    """The name to suggest for a copy of ``path``; None if it has none that can be shown and written."""
    return None if "://" in path else usable_name(os.path.basename(os.path.abspath(path)))


def get_line(cid: str, addresses: list[str], name: str | None) -> str:
    """The command for the other machine, ready for a shell."""
    words = ["wherry", "get", cid]
    for address in addresses:
        words += ["--from", address]
    if name is not None:
        words += ["-o", name]
    return shlex.join(words)


def show(out: Out, result: AddResult, addresses: list[str], name: str | None) -> None:
    """Prints the CID and the two lines, either of which does; says who can reach this machine."""
    ticket = str(Ticket(CID.parse(result.cid), tuple(addresses), name))
    line = get_line(result.cid, addresses, name)
    short = shlex.join(["wherry", "get", ticket, *(["-o", name] if name is not None else [])])
    if out.as_json:
        shared: dict[str, object] = {**result.to_json(), "schema": "wherry/share/1", "listen": addresses}
        out.result({**shared, "name": name, "command": line, "ticket": ticket})
    elif out.quiet:
        out.line(ticket)
    else:
        out.line(result.cid)
        out.line(safe(line))
        out.line(safe(short))
        out.note(add_verb.summary(result))
        out.note("Run either line on the other machine. Serving until Ctrl-C.")
    out.flush()
    if addresses and all(is_loopback(address) for address in addresses):
        out.note(
            "Only this machine can reach these addresses. For others: --listen http://IP-OF-THIS-MACHINE:PORT with "
            "--tls-cert and --tls-key or --token-file, or with --allow-public."
        )


def is_loopback(address: str) -> bool:
    """Tells whether only this machine can dial ``address``."""
    host = urlsplit(address).hostname
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def build() -> Any:
    """Makes the command."""
    return single(
        share,
        "wherry share ./dataset",
        "wherry share --listen http://192.0.2.7:4290 --token-file token.txt ./dataset",
    )
