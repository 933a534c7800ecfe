"""The verbs and their one-line summaries, so that ``wherry --help`` imports none of them.

A test holds each summary equal to the first line of the verb's own help.
"""

from __future__ import annotations

from typing import Final

VERBS: Final = {
    "add": "Read files once, in place, and print their CID.",
    "share": "Add files, serve them, and print the line to paste elsewhere.",
    "serve": "Serve what this home holds until it is stopped.",
    "up": "Start the daemon, which serves and runs transfers.",
    "down": "End the daemon; what its transfers have is kept.",
    "status": "Show what the daemon is and does.",
    "transfers": "List, add and steer the transfers of the daemon.",
    "limit": "Show or change the bandwidth limits of the daemon.",
    "why": "Say where the time of transfers goes.",
    "grant": "Let others open an encrypted dataset.",
    "get": "Fetch, verify and write what a CID, a name or a ticket leads to.",
    "find": "List the peers that locators name for a CID.",
    "peers": "Show what is remembered of peers, and keep some out.",
    "tracker": "Run a tracker, which nodes tell what they hold.",
    "cat": "Write the bytes of a file to standard output.",
    "ls": "List the entries of a directory.",
    "stat": "Show what a CID names: kind, size, files, metadata.",
    "verify": "Compare files on disk with a CID.",
    "cid": "Inspect, convert and explain CIDs of any version, base and codec.",
    "import": "Take in the blocks of CARs, verified.",
    "export": "Write what a CID names as one file that other tools read.",
    "dag": "Read, write and walk blocks of IPLD: values with links.",
    "name": "Publish, resolve and follow names that lead to changing content.",
    "cache": "Look at the cache, fill it with a dataset, or empty it.",
    "store": "Show what this home knows, and what of it is there twice.",
    "keys": "Make, list and hand over the keys of encrypted datasets.",
    "plugins": "Show the plugins that are installed.",
    "config": "Show, check or describe the configuration.",
    "doctor": "Check this machine, this home and the configuration.",
    "repair": "Check the home and rebuild what can be rebuilt.",
    "bench": "Measure wherry on this machine beside a reference.",
    "sim": "Simulate a swarm on a virtual clock and network.",
    "demo": "Share and get a directory between two processes, verified.",
    "version": "Print the version.",
}
