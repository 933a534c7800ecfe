"""The memory transport keeps the contract of transports."""

from __future__ import annotations

import pytest

from wherry.testing.memory import MemoryNetwork, MemoryTransport
from wherry.testing.transport import TransportContract


class TestMemory(TransportContract):
    @pytest.fixture(autouse=True)
    def network(self):
        self.net = MemoryNetwork()

    def make_transport(self):
        return MemoryTransport(self.net)

    def listen_address(self):
        return f"memory://node-{len(self.net.listeners)}"
