"""The options of the ``web`` transport, as written in configuration under ``[transport.web]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # the types of options are read when a configuration is

from wherry.plugin import Duration, option

_TOKEN = re.compile(r"[!-~]{1,4000}", re.ASCII)  # it travels in a header
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}): ?([ -~]{1,4000})", re.ASCII)  # RFC 9110 §5, without obs-text
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?", re.ASCII)
_AGENT = re.compile(r"[ -~]{1,200}", re.ASCII)
_OURS = frozenset(  # what the transport says itself, or what would change how an answer is framed
    {
        "host", "range", "accept-encoding", "connection", "content-length", "transfer-encoding", "te", "upgrade", "expect",
        "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "user-agent",
    }
)  # fmt: skip
_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """Options of the ``web`` transport."""

    connections: int = option(8, minimum=1, maximum=64, help="connections to one source, each with a request under way")
    connect_timeout: Duration = option(Duration(10.0), help="how long a connection may take to be made")
    idle_timeout: Duration = option(Duration(30.0), help="how long a server may be silent, or slower than the least rate")
    user_agent: str | None = option(None, help="what this client calls itself, instead of wherry/VERSION")
    headers: tuple[str, ...] = option((), help='headers to send besides, each "Name: value"; no secrets')
    token: str | None = option(None, secret=True, help="a bearer token, shown to the servers that origins lists")
    secret_header: str | None = option(
        None, secret=True, help='a header that is a secret, "Name: value", shown to the servers that origins lists'
    )
    origins: tuple[str, ...] = option(
        (), help="servers that are shown the token and the secret header, such as https://host; nobody else is"
    )
    tls_ca: Path | None = option(None, help="certificates (PEM) to trust, instead of the system's")

    def __post_init__(self) -> None:
        """Checks what the types do not. No message repeats a secret."""
        if self.user_agent is not None and not _AGENT.fullmatch(self.user_agent):
            raise ValueError("user_agent must be 1 to 200 printable ASCII characters")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError("token must be 1 to 4,000 visible ASCII characters, without spaces")
        for what, lines in (("headers", self.headers), ("secret_header", (self.secret_header,))):
            for line in lines:
                match = None if line is None else _HEADER.fullmatch(line)
                if line is not None and match is None:
                    raise ValueError(f'{what} must be of the form "Name: value", in printable ASCII')
                if match is not None and match[1].lower() in _OURS:
                    raise ValueError(f"{what}: {match[1]} is set by the transport")
                if match is not None and what == "headers" and match[1].lower() in _SECRETS:
                    raise ValueError(f"headers: {match[1]} is a secret; give it as token or secret_header")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"origins: {origin!a} is not of the form https://HOST[:PORT]")
        if (self.token is not None or self.secret_header is not None) and not self.origins:
            raise ValueError("token and secret_header need origins: the servers that are shown them, such as https://host")


def header_pair(line: str) -> tuple[str, str]:
    """Takes a checked header line apart."""
    name, _, value = line.partition(":")
    return name, value.strip(" ")
