"""The options of the locators, as written in configuration under ``[locator.NAME]``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
import re
from dataclasses import dataclass
from typing import Literal

from wherry.limits import ADDRESS_CHARS_MAX, LOCATE_ADDRESSES_MAX, LOCATE_S
from wherry.plugin import Duration, option

_URL = re.compile(r"https?://[^\s?#@]+", re.ASCII)
_URLS_MAX = 8  # trackers, all asked at once


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticOptions:
    """Options of the locator ``static``."""

    addresses: tuple[str, ...] = option((), help="addresses to ask, besides those of [peers]")

    def __post_init__(self) -> None:
        """Checks what the types do not."""
        if len(self.addresses) > LOCATE_ADDRESSES_MAX:
            raise ValueError(f"addresses: at most {LOCATE_ADDRESSES_MAX}")
        if any(":" not in address or len(address) > ADDRESS_CHARS_MAX for address in self.addresses):
            raise ValueError("addresses: write http://HOST:PORT or file:///PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """Options of the locator ``tracker``."""

    urls: tuple[str, ...] = option((), help="HTTP servers that speak Delegated Routing V1, such as https://tracker.example")
    reach: Literal["auto", "named", "lan", "public"] = option(
        "auto",
        help="where peers that it names may be: anywhere (it is yours and you trust it), also on the own network, or on the "
        "Internet only; auto: public, or lan if all trackers are on the own network",
    )
    timeout: Duration = option(Duration(LOCATE_S), minimum=0.1, maximum=60.0, help="how long a tracker may take to answer")
    announce: bool = option(False, help="tell the trackers what this node holds, while it serves: they, and whoever asks, know")
    renew: Duration = option(
        Duration(900.0), minimum=30.0, maximum=43_200.0, help="how often that is said again; it counts for twice as long"
    )

    def __post_init__(self) -> None:
        """Checks what the types do not."""
        if len(self.urls) > _URLS_MAX:
            raise ValueError(f"urls: at most {_URLS_MAX}")
        if any(not _URL.fullmatch(url) or len(url) > ADDRESS_CHARS_MAX for url in self.urls):
            raise ValueError("urls: write http://HOST[:PORT] or https://HOST[:PORT], without user, query and fragment")


@dataclass(frozen=True, slots=True, kw_only=True)
class MdnsOptions:
    """Options of the locator ``mdns``."""

    browse: Duration = option(Duration(2.0), minimum=0.1, maximum=60.0, help="how long answers are waited for")
    announce: bool = option(True, help="let others on the network find this node while it serves")
    loopback: bool = option(False, help="on this machine alone, and peers that are on it too; for tests")
