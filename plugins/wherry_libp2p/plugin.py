"""Registers the transport ``libp2p`` and the locator ``kademlia``.

Light: py-libp2p is imported in a process of its own alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_libp2p.options import KademliaOptions, Libp2pOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.locator import Locator
    from wherry.abc.transport import Transport
    from wherry.env import Env


def build_libp2p(options: Libp2pOptions, env: Env) -> Transport:
    """Makes the transport. Its process starts with the first connection."""
    from wherry_libp2p.transport import Libp2pTransport

    return Libp2pTransport(options, env)


def build_kademlia(options: KademliaOptions, env: Env) -> Locator:
    """Makes the locator. Its process starts with the first search."""
    from wherry_libp2p.kademlia import Kademlia

    return Kademlia(options, env)


@hookimpl
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Offers ``libp2p``, for the scheme libp2p."""
    return [provider("libp2p", options=Libp2pOptions, build=build_libp2p, summary="Bitswap with peers of IPFS")]


@hookimpl
def wherry_register_locators() -> Iterable[Provider[Locator]]:
    """Offers ``kademlia``."""
    return [provider("kademlia", options=KademliaOptions, build=build_kademlia, summary="asks a DHT of IPFS for providers")]
