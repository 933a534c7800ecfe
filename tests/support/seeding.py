"""An ordinary BitTorrent client as a process: seeds a torrent on loopback until its standard input ends.

    python seeding.py TORRENT FOLDER RATE [BLINDLY]

prints the port. It gives RATE bytes a second at most; 0: as many as it can. With BLINDLY it does not look at the files first,
and seeds whatever is there.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager

PRIVATE = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "listen_interfaces": "127.0.0.1:0",
    "enable_outgoing_utp": False, "enable_incoming_utp": False, "allow_multiple_connections_per_ip": True,
}  # fmt: skip


@contextmanager
def seeding(torrent, folder, *, blindly=False, rate=0):
    """Runs one; gives HOST:PORT."""
    words = [sys.executable, __file__, str(torrent), str(folder), str(rate), *(["blindly"] if blindly else [])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip()
            assert port, "the seed does not start"
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def made(folder, name, torrent, *, kind="hybrid", piece=1 << 16):
    """Has libtorrent make a torrent of ``folder/name``; gives the magnet link of it."""
    import libtorrent as lt

    flags = {"hybrid": 0, "v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only}[kind]
    run = lt.create_torrent(lt.list_files(str(folder / name)), piece, flags)
    lt.set_piece_hashes(run, str(folder))
    data = lt.bencode(run.generate())
    torrent.write_bytes(data)
    hashes = lt.load_torrent_buffer(data).info_hashes
    topics = [f"xt=urn:btih:{hashes.v1}"] if hashes.has_v1() else []
    topics += [f"xt=urn:btmh:1220{hashes.v2}"] if hashes.has_v2() else []
    return "magnet:?" + "&".join(topics)


def main():
    import libtorrent as lt

    torrent, folder, rate, *blindly = sys.argv[1:]
    session = lt.session(PRIVATE)
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if blindly:
        params.flags |= lt.torrent_flags.seed_mode
    params.upload_limit = int(rate)  # that of a session spares this machine
    handle = session.add_torrent(params)
    while not (handle.status().is_seeding and session.listen_port()):
        time.sleep(0.02)
    print(session.listen_port(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
