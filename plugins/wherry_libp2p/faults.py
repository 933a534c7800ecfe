"""What went wrong with a peer, from what py-libp2p raised: the fault, and plain words for it (specs/0035 §4).

py-libp2p wraps: "no addresses established a successful connection" is raised from a list of problems, each raised from the one
that matters. Runs in the process of its own, under an interpreter that may have no wherry.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from wherry_libp2p.frames import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHAIN_MAX: Final = 50
_OTHER: Final = re.compile(r"(?:Peer ID mismatch: .*got |remote_peer_id_from_pubkey=)([1-9A-HJ-NP-Za-km-z]{40,64})", re.DOTALL)


class Silent(Exception):
    """A peer said nothing at all for so long that its connection was given up; the text says how long."""


class Slow(Exception):
    """What a peer began to send does not come; the text says what."""


class Lies(Exception):
    """A peer sends other blocks than it was asked for; the text says how many."""


def linked(host: Any, peer: Any) -> bool:
    """Tells whether there is a connection with a peer. py-libp2p lists one for a while after it was closed."""
    return any(not connection.is_closed for connection in host.get_network().get_connections(peer))


def of_dial(problem: Exception) -> tuple[Fault, str]:
    """Says why a peer could not be dialled."""
    from libp2p.exceptions import BaseLibp2pError
    from libp2p.io.exceptions import IOException
    from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError, MultiselectError
    from libp2p.security.exceptions import HandshakeFailure
    from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
    from libp2p.transport.exceptions import MuxerUpgradeFailure

    chain = list(_chain(problem))
    for one in chain:
        other = _OTHER.search(str(one))
        if isinstance(one, PeerIDMismatchesPubkey) or other:
            return Fault.ANOTHER, f"another peer answers there: it is {other[1]}" if other else "another peer answers there"
    for one in chain:
        if isinstance(one, OSError) and one.errno:
            return Fault.UNREACHABLE, _plain(one)
    if _any(chain, IOException, EOFError, MultiselectCommunicatorError):
        return Fault.UNREACHABLE, "what answers there hung up before a connection was made"
    if _any(chain, MuxerUpgradeFailure):
        return Fault.UNREACHABLE, "what answers there offers no Yamux"
    if _any(chain, HandshakeFailure, MultiselectError, MultiselectClientError):
        return Fault.UNREACHABLE, "what answers there speaks no libp2p with Noise over TCP"
    last = next((one for one in reversed(chain) if isinstance(one, BaseLibp2pError) and str(one)), problem)
    return Fault.UNREACHABLE, f"{type(last).__name__}: {last}"


def of_request(problem: Exception, *, alive: bool) -> tuple[Fault, str]:
    """Says why a peer that was dialled did not do what it was asked. ``alive``: there still is a connection with it.

    Unreachable: the connection is of no more use, and the peer is to be dialled anew. Protocol: it is there and speaks wrongly.
    """
    from libp2p.host.exceptions import StreamFailure
    from libp2p.io.exceptions import IOException
    from libp2p.network.exceptions import SwarmException
    from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
    from libp2p.stream_muxer.exceptions import MuxedConnError, MuxedStreamError

    if isinstance(problem, Silent):
        return Fault.UNREACHABLE, str(problem)
    if isinstance(problem, Lies):
        return Fault.LIES, str(problem)
    if isinstance(problem, Slow):
        return Fault.TIMEOUT, str(problem)
    chain = list(_chain(problem))
    # Its own failures first: what a stream or a connection ends with is of many kinds, of no common one.
    ended = (OSError, EOFError, SwarmException, IOException, MuxedConnError, MuxedStreamError, MultiselectCommunicatorError)
    if isinstance(problem, ValueError) and not _any(chain, *ended):
        return Fault.PROTOCOL, f"it speaks wrongly: {problem}"
    if not alive or _any(chain, *ended):
        lost = (one for one in chain if isinstance(one, OSError) and one.errno and not isinstance(one, ConnectionError))
        return Fault.UNREACHABLE, next(map(_plain, lost), "the peer hung up")
    if isinstance(problem, StreamFailure):
        return Fault.PROTOCOL, "it does not speak the protocol that is needed"
    return Fault.PROTOCOL, f"{type(problem).__name__}: {problem}"


def _chain(problem: BaseException) -> Iterator[BaseException]:
    """Gives a problem, and all those that it came of."""
    left, seen = [problem], set[int]()
    while left and len(seen) < _CHAIN_MAX:
        one = left.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        several = getattr(one, "errors", None) or getattr(one, "exceptions", None)  # libp2p's MultiError, and a group
        left += [other for other in several if isinstance(other, BaseException)] if isinstance(several, list | tuple) else []
        if (cause := one.__cause__ or (None if one.__suppress_context__ else one.__context__)) is not None:
            left.append(cause)


def _any(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in chain)


def _plain(problem: OSError) -> str:
    words = os.strerror(problem.errno or 0)
    return words[:1].lower() + words[1:]
