"""Bitswap with libp2p peers, through a process of its own that runs py-libp2p (specs/0035)."""
