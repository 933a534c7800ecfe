"""The control protocol of a daemon: JSON over HTTP on the Unix socket of its home (specs/0027 §6).

    server    answers, around a `wherry.daemon.daemon.Daemon`
    client    asks, and raises again what the daemon raised
    paths     what both must agree on

aiohttp is imported by the two that use it, and they by the verbs that run them.
"""
