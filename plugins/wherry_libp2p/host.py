"""The host of py-libp2p as this process wants it, and the test that it works as it is installed (specs/0035 §4, §5)."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

try:
    import trio
except ImportError:  # not installed here: `wherry_libp2p.sidecar.main` says so to wherry
    trio = None

_TEST_S: Final = 20.0


def make_host(seed: bytes, connections: int) -> Any:
    """Makes a host that offers Noise and Yamux alone, and dials nobody by itself, nor again what failed: wherry does."""
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
    from libp2p.network.config import ConnectionConfig, RetryConfig
    from libp2p.security.noise.transport import PROTOCOL_ID, Transport

    from wherry_libp2p.muxer import bound

    keys = create_new_key_pair(seed)
    noise = Transport(keys, noise_privkey=create_noise_key_pair().private_key)
    config = ConnectionConfig(
        max_connections=connections, min_connections=0, low_watermark=0, high_watermark=connections, auto_connect_interval=1e9
    )
    host = new_host(key_pair=keys, sec_opt={PROTOCOL_ID: noise}, muxer_opt=bound(), connection_config=config)
    network: Any = host.get_network()
    network.retry_config = RetryConfig(max_retries=0)  # new_host takes none
    return host


class _One:
    """The source of the self-test: one block."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.cid = b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()

    async def seek(self, cid: bytes, *, only_whether: bool) -> bytes | None:
        """See `wherry_libp2p.bitswap.Source`."""
        if cid != self.cid:
            return None
        return b"" if only_whether else self.data


async def self_test() -> None:
    """Has two hosts exchange a block of 1 MiB each way over loopback. Raises whatever goes wrong."""
    from libp2p.peer.peerinfo import PeerInfo
    from multiaddr import Multiaddr

    from wherry_libp2p.bitswap import Exchange
    from wherry_libp2p.fetch import Fetch

    hosts = [make_host(secrets.token_bytes(32), 8) for _ in range(2)]
    sources = [_One(secrets.token_bytes(1 << 20)) for _ in range(2)]
    local = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    with trio.fail_after(_TEST_S):
        async with hosts[0].run(listen_addrs=local), hosts[1].run(listen_addrs=local), trio.open_nursery() as nursery:
            ends = [
                Exchange(host, nursery, source, peer_wants=16, peers=8) for host, source in zip(hosts, sources, strict=True)
            ]
            await hosts[0].connect(PeerInfo(hosts[1].get_id(), hosts[1].get_addrs()))
            for mine, other in ((0, 1), (1, 0)):
                got: list[bytes] = []

                async def receive(_: int, data: bytes, got: list[bytes] = got) -> None:
                    got.append(data)

                peer = ends[mine].peer(hosts[other].get_id())
                fetch = Fetch([sources[other].cid, b"\x01\x55\x12\x20" + secrets.token_bytes(32)], receive)
                peer.want(fetch)
                await fetch.ended.wait()
                if fetch.problem is not None:
                    raise fetch.problem
                if got != [sources[other].data]:
                    raise ValueError("a block did not arrive as it was")
            nursery.cancel_scope.cancel()
