"""The daemon of a home: it serves, runs transfers, and is told what to do while it runs (specs/0027).

    states, record, queue, retry, requests, meter    pure: what may happen, in which order, and what is said about it
    runner, places                                   the loop that runs transfers, and where the daemon is found
    daemon                                           all of it around one open session

The control protocol over the Unix socket is the command line's (wherry_cli.control): core speaks no HTTP of its own.
"""
