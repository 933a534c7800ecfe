"""libtorrent beside wherry in a swarm run (`pip install libtorrent`): makes a torrent, seeds it, or leeches it.

    torrent.py make FILE TORRENT
    torrent.py seed TORRENT FOLDER IP
    torrent.py leech TORRENT FOLDER IP PEER_IP...

TCP without encryption, nobody asked but the peers that are named: what is fastest on a local network. A leecher says ready,
waits for ``go``, and writes ``done`` when it has everything.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import libtorrent

PIECE = 256 * 1024
PORT = 6881
SETTINGS = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_utp": False,
    "enable_incoming_utp": False, "in_enc_policy": 2, "out_enc_policy": 2, "allow_multiple_connections_per_ip": True,
    "unchoke_slots_limit": 50, "max_out_request_queue": 1500,
}  # fmt: skip


def make(file, torrent):
    """Writes the torrent of a file."""
    files = libtorrent.file_storage()
    libtorrent.add_files(files, file)
    made = libtorrent.create_torrent(files, PIECE, libtorrent.create_torrent.v2_only)
    libtorrent.set_piece_hashes(made, str(Path(file).parent))
    Path(torrent).write_bytes(libtorrent.bencode(made.generate()))


def run(how, torrent, folder, ip, peers):
    """Seeds or leeches until it is killed."""
    folder = Path(folder)
    session = libtorrent.session({**SETTINGS, "listen_interfaces": f"{ip}:{PORT}"})
    params = libtorrent.add_torrent_params()
    params.ti, params.save_path = libtorrent.torrent_info(torrent), str(folder)
    params.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
    if how == "seed":
        params.flags |= libtorrent.torrent_flags.seed_mode
    else:
        (folder / "ready").touch()
        while not (folder / "go").exists():
            time.sleep(0.005)
    handle = session.add_torrent(params)
    for peer in peers:
        handle.connect_peer((peer, PORT))
    while True:
        if how == "leech" and handle.status().is_seeding:
            (folder / "done").touch()
        time.sleep(0.01)


if sys.argv[1] == "make":
    make(*sys.argv[2:4])
else:
    run(sys.argv[1], *sys.argv[2:5], sys.argv[5:])
