"""The options of the ``s3`` transport, as written in configuration under ``[transport.s3]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # the types of options are read when a configuration is

from wherry.plugin import Duration, option

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(/[!-~]*)?", re.ASCII)
_WORD = re.compile(r"[!-~]{1,4000}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """Options of the ``s3`` transport."""

    endpoint: str | None = option(None, help="where the service is, such as https://minio.lab:9000; AWS if not given")
    region: str = option("us-east-1", env="AWS_REGION", help="the region that requests are signed for")
    access_key_id: str | None = option(None, secret=True, env="AWS_ACCESS_KEY_ID", help="the name of the key to sign with")
    secret_access_key: str | None = option(None, secret=True, env="AWS_SECRET_ACCESS_KEY", help="the key to sign with")
    session_token: str | None = option(None, secret=True, env="AWS_SESSION_TOKEN", help="what goes with a temporary key")
    anonymous: bool = option(False, help="whether requests are not signed, as for public buckets")
    path_style: bool = option(True, help="whether the bucket is in the path of a request, rather than in the host's name")
    allow_http: bool = option(False, help="whether an endpoint without TLS is taken")
    tls_ca: Path | None = option(None, help="certificates (PEM) to trust besides the system's")
    connections: int = option(8, minimum=1, maximum=64, help="requests to one bucket under way at a time")
    connect_timeout: Duration = option(Duration(10.0), help="how long a connection may take to be made")
    idle_timeout: Duration = option(Duration(30.0), help="how long the service may be silent, or slower than the least rate")

    def __post_init__(self) -> None:
        """Checks what the types do not. No message repeats a secret."""
        if self.endpoint is not None and not _ENDPOINT.fullmatch(self.endpoint):
            raise ValueError("endpoint must be of the form https://HOST[:PORT]")
        if self.endpoint is not None and self.endpoint.startswith("http:") and not self.allow_http:
            raise ValueError("endpoint is without TLS: write https, or allow_http = true")
        if not _WORD.fullmatch(self.region):
            raise ValueError("region must be a word")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        for name, value in (("access_key_id", self.access_key_id), ("secret_access_key", self.secret_access_key)):
            if value is not None and not _WORD.fullmatch(value):
                raise ValueError(f"{name} must be visible ASCII characters, without spaces")
