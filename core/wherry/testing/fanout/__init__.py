"""A swarm on a virtual clock and a virtual network, in which wherry's own code decides everything (specs/0030).

    outcome = live(Plan(nodes=100, size=256 * MiB, seed=7))     # from `world`
    outcome.last_s, outcome.copies, outcome.jain

This package itself imports nothing.
"""
