"""The control protocol of a daemon: JSON over HTTP on the Unix socket of its home (specs/0027 §6).

    server    answers, around a `wherry.daemon.daemon.Daemon`
    client    asks, and raises again what the daemon raised
    http      what HTTP the answering end speaks
    paths     what both must agree on

aiohttp is imported by the client alone, and that by the verbs that ask.
"""
