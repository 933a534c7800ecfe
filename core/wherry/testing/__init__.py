"""The doubles and suites that wherry is tested with, for those who write plugins (specs/0006 §8).

Each part is imported from its own module:

    plugin              for pytest: runs ``async def`` tests; ``pytest_plugins = ["wherry.testing.plugin"]``
    cache               CacheContract, SharedCacheContract: what every cache must do, as tests to subclass
    chaos               ChaosProxy: a TCP proxy that delays, cuts, corrupts and stalls, from a seed
    hostile             HostileServer: an HTTP server that misbehaves as its script says
    hostile_manifests   manifests that are not canonical, lie, nest or explode
    loop                runs any of the asynchronous ones from a test without a loop

This package itself imports nothing, so that a helper costs only what it uses.
"""
