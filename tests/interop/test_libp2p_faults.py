"""What py-libp2p raises, and which fault it is: who is gone is dialled anew, who speaks wrongly is not."""

from __future__ import annotations

import errno
from importlib.util import find_spec
from itertools import pairwise

import pytest

from wherry_libp2p.faults import Silent, of_dial, of_request
from wherry_libp2p.frames import Fault, Head, Kind

if find_spec("libp2p") is None:
    pytest.skip("the extra libp2p is not installed: tox -e libp2p", allow_module_level=True)

import trio
from libp2p.exceptions import MultiError
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IncompleteReadError
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.exceptions import SwarmDialAllFailedError, SwarmException
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamReset
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamEOF, MuxedStreamReset
from libp2p.transport.exceptions import MuxerUpgradeFailure, OpenConnectionError, SecurityUpgradeFailure

from wherry_libp2p.sidecar import Bridge

PEER, OTHER = "12D3KooWGzBbWLpZcCNxKQnTmWQ7xUdzxZAYqKjvjNWwAZFGcGzY", "12D3KooWAp6jidV8V1fMyJE2hA5WrZTMku6WvVHLMATEw6kKZa59"


def caused(*problems):
    """Raises the last of the problems from the one before it, and so on; gives it."""
    for cause, problem in pairwise(problems):
        problem.__cause__ = cause
    return problems[-1]


def dialled(*problems):
    """What a dial ends with that failed of these."""
    all_of_them = MultiError([caused(*problems, SwarmException(f"failed for peer {PEER}"))])
    return caused(all_of_them, SwarmDialAllFailedError("no addresses established a successful connection"))


@pytest.mark.parametrize(
    "problem",
    [
        ConnectionError("the peer hung up"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        StreamReset(),
        StreamEOF(),
        StreamClosed(),
        MuxedStreamReset(),
        MuxedStreamEOF(),
        MuxedConnUnavailable(),
        IncompleteReadError("2 of 4 bytes"),
        RawConnError(),
        SwarmException(f"Peer {PEER} recently failed all addresses (negative cache)"),
        SwarmException(f"No valid connections available for peer {PEER}"),
        dialled(OpenConnectionError()),
        caused(
            MultiselectCommunicatorError("EOF"), MultiselectClientError("read failed"), StreamFailure("failed to open a stream")
        ),
    ],
    ids=repr,
)
@pytest.mark.parametrize("alive", [True, False])
def test_a_peer_that_is_gone_is_to_be_dialled_anew(problem, alive):
    assert of_request(problem, alive=alive) == (Fault.UNREACHABLE, "the peer hung up")


@pytest.mark.parametrize("problem", [KeyError("x"), StreamFailure("x"), MultiselectClientError("timed out")], ids=repr)
def test_without_a_connection_it_is_gone_whatever_is_raised(problem):
    assert of_request(problem, alive=False) == (Fault.UNREACHABLE, "the peer hung up")


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ValueError("a message of 5000000 bytes"), "it speaks wrongly: a message of 5000000 bytes"),
        (caused(MultiselectClientError("not supported"), StreamFailure("x")), "it does not speak the protocol that is needed"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
    ids=repr,
)
def test_a_peer_that_is_there_and_speaks_wrongly_is_not_dialled_anew(problem, words):
    assert of_request(problem, alive=True) == (Fault.PROTOCOL, words)


def test_a_message_that_is_none_is_its_senders_fault_though_it_hangs_up():
    assert of_request(ValueError("what is no message"), alive=False)[0] is Fault.PROTOCOL


MISMATCH = f"peer id does not correspond to the received pubkey: remote_peer={PEER}, remote_peer_id_from_pubkey={OTHER}"


@pytest.mark.parametrize(
    ("problem", "fault", "words"),
    [
        (
            dialled(PeerIDMismatchesPubkey(MISMATCH), SecurityUpgradeFailure("x")),
            Fault.ANOTHER,
            f"another peer answers there: it is {OTHER}",
        ),
        (
            dialled(SecurityUpgradeFailure(f"Peer ID mismatch: expected {PEER}, got {OTHER}")),
            Fault.ANOTHER,
            f"another peer answers there: it is {OTHER}",
        ),
        (dialled(PeerIDMismatchesPubkey()), Fault.ANOTHER, "another peer answers there"),
        (
            dialled(ConnectionRefusedError(errno.ECONNREFUSED, "x"), OSError("all attempts failed"), OpenConnectionError("x")),
            Fault.UNREACHABLE,
            "connection refused",
        ),
        (dialled(OSError(errno.EHOSTUNREACH, "x"), OpenConnectionError("x")), Fault.UNREACHABLE, "no route to host"),
        (
            dialled(
                IncompleteReadError("x"), MultiselectCommunicatorError(), MultiselectClientError(), SecurityUpgradeFailure("x")
            ),
            Fault.UNREACHABLE,
            "what answers there hung up before a connection was made",
        ),
        (
            dialled(MultiselectClientError(), SecurityUpgradeFailure("x")),
            Fault.UNREACHABLE,
            "what answers there speaks no libp2p with Noise over TCP",
        ),
        (dialled(MultiselectClientError(), MuxerUpgradeFailure("x")), Fault.UNREACHABLE, "what answers there offers no Yamux"),
        (
            SwarmException("Maximum connections limit reached"),
            Fault.UNREACHABLE,
            "SwarmException: Maximum connections limit reached",
        ),
    ],
    ids=str,
)
def test_why_a_dial_failed_is_said_in_plain_words(problem, fault, words):
    assert of_dial(problem) == (fault, words)


@pytest.mark.parametrize("alive", [True, False])
def test_a_peer_that_was_silent_is_to_be_dialled_anew(alive):
    assert of_request(Silent("it was silent for 30 s"), alive=alive) == (Fault.UNREACHABLE, "it was silent for 30 s")


def test_problems_that_come_of_each_other_end():
    one, other = SwarmException("one"), SwarmException("other")
    one.__cause__, other.__cause__ = other, one
    assert of_dial(one)[0] is Fault.UNREACHABLE


def test_a_dial_that_is_cancelled_while_its_answer_is_on_the_way_is_forgotten():
    frames = [(Head(Kind.CANCEL, 1, 0, 0), b"")]

    class Said:
        async def next(self):
            return frames.pop() if frames else None

    bridge = Bridge(Said(), None)
    bridge._dialled = {1: (PEER, "/ip4/127.0.0.1/tcp/1"), 2: (OTHER, "/ip4/127.0.0.1/tcp/2")}
    trio.run(bridge.run)
    assert list(bridge._dialled) == [2]
