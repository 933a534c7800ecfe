"""What the contract does not ask: who may listen, and who may be dialled."""

from __future__ import annotations

import pytest
from wherry.dial import PUBLIC
from wherry.errors import PeerDenied, UsageError
from wherry.testing.blocks import MemorySource

from acme_api1.transport.transport import TcpTransport


async def test_an_address_for_others_needs_leave() -> None:
    with pytest.raises(UsageError, match="open to other machines"):
        async with TcpTransport().listen("acme-transport://0.0.0.0:0", MemorySource({})):
            pass


async def test_what_a_stranger_names_does_not_lead_into_our_own_network() -> None:
    async with TcpTransport().listen("acme-transport://127.0.0.1:0", MemorySource({})) as address:
        with pytest.raises(PeerDenied):
            async with TcpTransport(dial=PUBLIC).connect(address):
                pass
