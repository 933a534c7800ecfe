"""What a configuration says: frozen values, checked, with where each came from (specs/0007 §2).

The sections are classes of options, as a plugin's are: so they are checked, shown and described by the same code.
"""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from wherry.config.values import Entry
from wherry.limits import BAN_S, BAN_S_MAX, BUDGET_BYTES, BUFFER_BYTES, SWARM_PEERS_MAX, WAIT_S
from wherry.plugin.options import Duration, Rate, Size, option

FILE_NAME: Final = "wherry.toml"  # in the home
DEFAULT_LISTEN: Final = "http://127.0.0.1:4290"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """``[serve]``: how this node serves what it holds."""

    listen: tuple[str, ...] = option((DEFAULT_LISTEN,), help="addresses to listen on; port 0 takes a free one")
    verify: Literal["stat", "hash"] = option(
        "stat", help="how a file is known to be unchanged: by its size and times, or by hashing what is sent"
    )
    traffic_class: Literal["interactive", "high", "normal", "bulk"] = option(
        "normal", help="the class of what is given to others, but for what a running transfer gives on: that has its class"
    )
    allow_public: bool = option(False, help="allow an address that other machines reach, without TLS or a token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """``[get]``: how data is fetched and written."""

    wait: Duration = option(Duration(WAIT_S), help="how long a source that was lost is waited for", minimum=0)
    links: Literal["refuse", "skip", "keep"] = option("refuse", help="what is done with a symbolic link that leaves the tree")
    names: Literal["portable", "posix"] = option("portable", help="names to take: those of every system, or of POSIX systems")
    sync: bool = option(True, help="make sure that a result outlives a power cut before it is called complete")
    max_bytes: Size | None = option(None, help="refuse data larger than this", minimum=1)
    direct_io: bool = option(True, help="write past the page cache where the file system can")


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """``[add]``: how data is named."""

    mtime: bool = option(False, help="keep modification times; then the CID depends on them")
    unixfs: bool = option(True, help="give data a CID in UnixFS as well, by which every IPFS tool can read it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """``[memory]``: how much memory is spent."""

    # Two buffers are the least with which one is filled while the other is written.
    budget: Size = option(
        Size(BUDGET_BYTES), help="bytes of data in flight in this process", minimum=2 * BUFFER_BYTES, maximum=1 << 40
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """``[daemon]``: how transfers are run by `wherry up`."""

    transfers: int = option(8, help="transfers that run at a time; the others wait", minimum=1, maximum=10_000)
    retries: int = option(12, help="how often a transfer that brings nothing is tried again", minimum=0, maximum=1_000)
    seed: bool = option(True, help="go on offering what a transfer fetched, unless the transfer says otherwise")


_RATE_MIN: Final = 1000.0  # of `wherry.traffic`, which an unlimited command does without


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``[limits]``: what of the link this node uses (specs/0026 §1)."""

    up: Rate | None = option(None, help="most that this node sends", minimum=_RATE_MIN)
    down: Rate | None = option(None, help="most that this node receives", minimum=_RATE_MIN)
    transfer_up: Rate | None = option(None, help="most that each transfer sends", minimum=_RATE_MIN)
    transfer_down: Rate | None = option(None, help="most that each transfer receives", minimum=_RATE_MIN)
    peer_up: Rate | None = option(None, help="most that is sent to each peer", minimum=_RATE_MIN)
    peer_down: Rate | None = option(None, help="most that is received from each peer", minimum=_RATE_MIN)
    peers: tuple[str, ...] = option(
        (), help='of single peers, in its place: "192.0.2.7 up 2 MB/s down 5 MB/s", or a peer id; a host stands without a port'
    )
    interactive_share: int = option(40, help="weight of the class `interactive` on a limited link", minimum=1, maximum=1000)
    interactive_up: Rate | None = option(None, help="most that the class `interactive` sends", minimum=_RATE_MIN)
    interactive_down: Rate | None = option(None, help="most that the class `interactive` receives", minimum=_RATE_MIN)
    high_share: int = option(30, help="weight of the class `high`", minimum=1, maximum=1000)
    high_up: Rate | None = option(None, help="most that the class `high` sends", minimum=_RATE_MIN)
    high_down: Rate | None = option(None, help="most that the class `high` receives", minimum=_RATE_MIN)
    normal_share: int = option(20, help="weight of the class `normal`", minimum=1, maximum=1000)
    normal_up: Rate | None = option(None, help="most that the class `normal` sends", minimum=_RATE_MIN)
    normal_down: Rate | None = option(None, help="most that the class `normal` receives", minimum=_RATE_MIN)
    bulk_share: int = option(10, help="weight of the class `bulk`", minimum=1, maximum=1000)
    bulk_up: Rate | None = option(None, help="most that the class `bulk` sends", minimum=_RATE_MIN)
    bulk_down: Rate | None = option(None, help="most that the class `bulk` receives", minimum=_RATE_MIN)
    background: tuple[Literal["interactive", "high", "normal", "bulk"], ...] = option(
        ("bulk",), help="classes that give way to all other traffic on the link, by its delay"
    )
    timetable: tuple[str, ...] = option(
        (), help='up and down by local time: "mon-fri 08:00-18:00 up 2 MB/s down none"; the first line that holds goes'
    )

    def __post_init__(self) -> None:
        """Raises ValueError for a line of the timetable, or of a peer, that cannot be read; it tells of both."""
        if not (self.timetable or self.peers):
            return
        from wherry.errors import UsageError
        from wherry.traffic.peers import read_peer_limits  # most configurations have none
        from wherry.traffic.plan import read_timetable

        problems = []
        for name, read, lines in (("timetable", read_timetable, self.timetable), ("peers", read_peer_limits, self.peers)):
            try:
                read(lines)
            except UsageError as problem:
                problems.append(f"{name}: {problem.message}")
        if problems:  # all at once
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Peering:
    """``[peering]``: whom this node keeps out."""

    ban: Duration = option(
        Duration(BAN_S), help="how long a peer is kept out that has proved its key and sent a wrong block; 0: not at all",
        minimum=0, maximum=BAN_S_MAX,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarm:
    """``[swarm]``: how much this node gives its peers, and to how many (specs/0025 §4)."""

    peers: int = option(SWARM_PEERS_MAX, help="connections of peers in all; further ones are told to come later", minimum=1)
    followers: int = option(
        0, help="peers that fetch one dataset from here at a time, others are sent to them; 0: as many as there are", minimum=0
    )
    upload: Size = option(Size(0), help="bytes given away in all, not counting those by http; 0: without end", minimum=0)
    reveal: bool = option(True, help="show a dataset piece by piece, so that little more than one copy is sent")


SECTIONS: Final[dict[str, type[Any]]] = {
    "serve": Serve,
    "get": Get,
    "add": Add,
    "memory": Memory,
    "daemon": Daemon,
    "limits": Limits,
    "peering": Peering,
    "swarm": Swarm,
}


class Selection(NamedTuple):
    """How plugins of one kind are chosen: ``[KIND] use``."""

    kind: str
    many: bool  # a list, in order of preference; otherwise one name
    default: tuple[str, ...]
    help: str


SELECTIONS: Final = {
    selection.kind: selection
    for selection in (
        Selection("transport", True, ("http", "tcp", "file", "web"), "transports to use, the preferred one first"),
        Selection("cache", False, ("disk",), "the cache for fetched blocks"),
        Selection("compressor", False, ("zstd",), "how blocks are coded at rest and on slow links; identity codes nothing"),
        Selection("cipher", False, ("xchacha20poly1305",), "the cipher that new encrypted datasets are sealed with"),
        Selection("chunker", False, ("fixed",), "where files are cut into blocks; the CID depends on it"),
        Selection("policy", False, ("reputation",), "which peer is asked for what"),
        Selection("locator", True, ("static",), "who is asked for peers when `get` is given no source"),
        Selection("observer", True, (), "who is told what this process does: logs and metrics"),
    )
}


KINDS: Final = (*SELECTIONS, "command")  # with tables [KIND.NAME]; a command is chosen by being called, so it has no `use`
PROFILE: Final = "profile"  # [profile.NAME.SECTION] goes before [SECTION] where the profile NAME is chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A plugin with its options: a table ``[KIND.NAME]``, or a name in ``use`` without one."""

    kind: str
    name: str
    plugin: str  # the provider's name; the instance's own unless it says otherwise
    options: Any = None  # an object of the provider's options class; None where no plugin manager was given
    entries: Mapping[str, Entry] = field(default_factory=dict, repr=False, compare=False)  # as read; may hold secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All that is configured. Immutable; safe in any thread."""

    file: Path | None  # that was read; None if there is none
    home: Path
    use: Mapping[str, tuple[str, ...]]  # by kind
    instances: Mapping[tuple[str, str], Instance]  # by kind and name: those in use, and those that only have a table
    peers: Mapping[str, str]  # name to address; `get` asks them all if it is given no source
    serve: Serve
    get: Get
    add: Add
    memory: Memory
    daemon: Daemon
    limits: Limits
    peering: Peering
    swarm: Swarm
    profile: str | None = None  # that was chosen
    profiles: tuple[str, ...] = ()  # that the file has
    origins: Mapping[str, str] = field(repr=False, compare=False)  # dotted key to origin, for what is no default

    def selected(self, kind: str) -> tuple[Instance, ...]:
        """Gives the instances in use, the preferred one first."""
        return tuple(self.instances[kind, name] for name in self.use[kind])

    def origin(self, key: str) -> str:
        """Tells where a value came from: ``default``, ``file PATH[, profile NAME]`` or ``environment NAME``."""
        return self.origins.get(key, "default")

    def show(self, *, origin: bool = False) -> str:
        """Writes all that is in force as TOML, secrets left out; with ``origin``, where each value came from."""
        from wherry.config.show import show

        return show(self, origin=origin)

    def to_toml(self) -> str:
        """Writes a file that says the same as this configuration, but for secrets from the environment."""
        return self.show()

    def to_json(self) -> dict[str, object]:
        """Gives what is in force as JSON, secrets left out, with origins."""
        from wherry.config.show import to_json

        return to_json(self)
