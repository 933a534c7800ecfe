"""The options of the observers, as written in configuration under ``[observer.log]`` and ``[observer.prometheus]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # the types of options are read when a configuration is
from typing import Literal

from wherry.plugin import Size, option


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """Options of the ``log`` observer."""

    file: Path | None = option(None, help="the file to append to, made with mode 0600; without it, standard error")
    level: Literal["warning", "info", "debug"] = option(
        "info", help="what is written: what went wrong; verbs, sources and notes as well; each batch as well"
    )
    max_bytes: Size = option(Size(16 << 20), minimum=64 << 10, help="how large the file may grow before it is set aside")
    keep: int = option(3, minimum=0, maximum=100, help="how many files that were set aside are kept, as FILE.1, FILE.2, ...")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusOptions:
    """Options of the ``prometheus`` observer."""

    listen: str = option("127.0.0.1:9290", help="HOST:PORT to answer GET /metrics on; port 0 takes a free one")
    allow_public: bool = option(False, help="let other machines read the metrics: allow an address that they reach")
    textfile: Path | None = option(
        None, help="write the metrics to this file instead of listening, at the end and every 15 seconds"
    )
