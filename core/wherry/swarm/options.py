"""What can be set of how a node serves its peers (specs/0025 §4, §5). Times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from wherry.limits import SWARM_PEERS_MAX


@dataclass(frozen=True, slots=True)
class SwarmOptions:
    """How much a node gives, and to how many."""

    peers: int = SWARM_PEERS_MAX  # connections in all; further ones are told that this node is busy
    followers: int = 0  # of one dataset that is complete here; further ones are sent to the others. 0: as many as ``peers``
    upload_bytes: int = 0  # bytes that are given away in all, then nothing more; 0: without end
    slots: int = 4  # requests that are answered at a time, where an answer takes a while
    slots_wide: int = 8  # the same once a few rounds were answered
    slots_quick: int = 16  # the same where answers are quick, or slow ones hold slots: the link must not wait for the loop
    choke_from: int = 8  # interested peers below which nobody is choked
    regular: int = 4  # peers that are served for what they give (Cohen 2003, BEP 3)
    optimistic: int = 1  # peers that are served in hope
    reveal: bool = True  # show a complete dataset piece by piece (super-seeding), so that one copy is enough for all
