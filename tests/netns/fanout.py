"""One seed, N leechers, real hosts on rate-limited links: how long until the last one has all, and what the seed sent.

    sudo python tests/netns/fanout.py --leechers 1 2 4 8 --arms wherry libtorrent server

The clock starts when all leechers are up. ``server`` is nginx and curl. Prints a line a run and a table of medians; the link's
own bound is the size over the rate.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from hosts import Hosts

HERE = Path(__file__).parent
MIB = 1 << 20
ARMS = ["wherry", "libtorrent", "server"]
NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
uwsgi_temp_path {folder}; scgi_temp_path {folder}; server {{ listen {ip}:8080; root {folder}; }} }}"""


class Run:
    """One swarm."""

    def __init__(self, hosts, base, file):
        self.hosts, self.file = hosts, file
        self.folders = [base / str(number) for number in range(hosts.count)]
        for folder in self.folders:
            folder.mkdir(parents=True)
        self.leechers = range(1, hosts.count)

    def start(self, number, *line):
        with open(self.folders[number] / "log", "ab") as log:
            return self.hosts.start(number, line, log)

    def wherry(self):
        """Every leecher is told of the seed alone: they find each other."""
        folder, ip = self.folders[0], self.hosts.ip
        line = [sys.executable, "-m", "wherry_cli"]
        added = subprocess.run([*line, "add", self.file, "--home", folder, "--json"], capture_output=True, check=True)
        cid = json.loads(added.stdout)["cid"]
        self.start(0, *line, "serve", "--home", folder, "--listen", f"tcp://{ip(0)}:4290", "--allow-public")
        for number in self.leechers:
            self.start(number, sys.executable, HERE / "leech.py", self.folders[number], ip(number), cid, f"tcp://{ip(0)}:4290")
        return "f"

    def libtorrent(self):
        """Every leecher is told of all others."""
        torrent, ip = self.folders[0] / "torrent", self.hosts.ip
        os.link(self.file, self.folders[0] / "f")
        tool = [sys.executable, HERE / "torrent.py"]
        subprocess.run([*map(str, tool), "make", self.folders[0] / "f", torrent], check=True)
        self.start(0, *tool, "seed", torrent, self.folders[0], ip(0))
        for number in self.leechers:
            others = [ip(other) for other in range(self.hosts.count) if other != number]
            self.start(number, *tool, "leech", torrent, self.folders[number], ip(number), *others)
        return "done"

    def server(self):
        """nginx gives each of them all of it."""
        folder, ip = self.folders[0], self.hosts.ip(0)
        os.link(self.file, folder / "f")
        (folder / "conf").write_text(NGINX.format(folder=folder, ip=ip))
        self.start(0, "nginx", "-c", folder / "conf")
        for number in self.leechers:
            own = self.folders[number]
            wait = f"touch {own}/ready; while [ ! -e {own}/go ]; do sleep 0.005; done"
            self.start(number, "sh", "-c", f"{wait}; curl -sf -o {own}/f http://{ip}:8080/f && touch {own}/done")
        return "done"

    def measure(self, arm, patience_s=180.0):
        """Gives the seconds until the last one was done, and the bytes that the seed sent meanwhile."""
        mark = getattr(self, arm)()
        self.until(lambda folder: (folder / "ready").exists(), patience_s)
        time.sleep(1.0)
        before, began = self.hosts.sent(0), time.monotonic()
        for folder in self.folders[1:]:
            (folder / "go").touch()
        self.until(lambda folder: (folder / mark).exists(), patience_s)
        return time.monotonic() - began, self.hosts.sent(0) - before

    def until(self, holds, patience_s):
        end = time.monotonic() + patience_s
        while not all(map(holds, self.folders[1:])):
            if time.monotonic() > end:
                raise SystemExit(f"it does not end; see the logs in {self.folders[0].parent}")
            time.sleep(0.005)


def main():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--leechers", type=int, nargs="+", default=[1, 2, 4, 8])
    cli.add_argument(
        "--arms", nargs="+", default=["wherry", "libtorrent", "server"], choices=["wherry", "libtorrent", "server"]
    )
    cli.add_argument("--rate", type=int, default=100, help="Mbit/s, each way")
    cli.add_argument("--size", type=int, default=64, help="MiB")
    cli.add_argument("--runs", type=int, default=3)
    cli.add_argument("--congestion", choices=["cubic", "bbr"], help="control of TCP's rate; else this machine's")
    args = cli.parse_args()
    bound = args.size * MIB * 8 / (args.rate * 1e6)
    base = Path(tempfile.mkdtemp(prefix="wherry-netns-"))
    base.chmod(0o755)  # the workers of nginx are nobody
    file = base / "data"
    file.write_bytes(os.urandom(args.size * MIB))
    rows = {}
    for turn in range(args.runs):
        for leechers in args.leechers:
            for arm in args.arms:
                with Hosts(leechers + 1, f"{args.rate}mbit", congestion=args.congestion) as hosts:
                    seconds, sent = Run(hosts, base / f"{turn}-{leechers}-{arm}", file).measure(arm)
                rows.setdefault((leechers, arm), []).append((seconds, sent / file.stat().st_size))
                said = {"leechers": leechers, "arm": arm, "seconds": seconds, "copies": sent / file.stat().st_size}
                print(json.dumps(said), flush=True)
    print(f"\nthe link's bound is {bound:.2f} s")
    for (leechers, arm), found in rows.items():
        seconds = median(one for one, _ in found)
        copies = median(one for _, one in found)
        text = f"{seconds:6.2f} s  {seconds / bound:5.2f} x the bound  {copies:5.2f} copies from the seed"
        print(f"{leechers:>2} leechers  {arm:<10} {text}")
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
