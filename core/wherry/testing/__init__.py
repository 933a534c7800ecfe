"""The doubles and suites that wherry is tested with, for those who write plugins (specs/0006 §13).

Each part is imported from its own module:

    plugin              for pytest: runs ``async def`` tests; ``pytest_plugins = ["wherry.testing.plugin"]``
    cache               CacheContract, SharedCacheContract: what every cache must do, as tests to subclass
    chunker             ChunkerContract: what every chunker must do
    cipher              CipherContract: what every cipher must do
    compressor          CompressorContract: what every compressor must do
    locator             LocatorContract: what every locator must do
    policy              PolicyContract: what every policy must do; `swarm` lives through transfers on a virtual clock
    fanout              a whole swarm on a virtual clock and network, its invariants checked: `wherry sim fanout` (specs/0030)
    transport           TransportContract: what every transport must do; `source` has SourceContract, for one without listeners
    memory              MemoryTransport: blocks inside one process, with faults from a seed
    blocks              MemorySource, CheckingLender, CountedPool: both ends of a transport; `leaves` makes blocks for them
    checks              runs a suite without collecting it, to see which checks fail
    faultydisk          FaultyDisk: a disk that is full, unreadable or tears writes where told; small_disk: a real small one
    certificates        a throwaway certificate for tests of TLS
    chaos               ChaosProxy: a TCP proxy that delays, cuts, corrupts and stalls, from a seed
    hostile             HostileServer: an HTTP server that misbehaves as its script says
    web                 plain_files: files and ranges, as a plain web server gives them, for a HostileServer
    hostile_manifests   manifests that are not canonical, lie, nest or explode
    loop                runs any of the asynchronous ones from a test without a loop

This package itself imports nothing, so that a helper costs only what it uses.
"""
