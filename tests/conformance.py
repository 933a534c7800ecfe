"""Runs the public suite gateway-conformance against `wherry serve`, and prints how many of its cases passed (specs/0033 §10).

    python tests/conformance.py [SPECS]        the default is trustless-gateway

Needs Go, and a Go that can fetch the suite. Its fixtures are put into a home of their own, which is served without any source;
the suite never writes to it. Ends with 1 if a case failed, with 2 if the suite could not be had.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from wherry.block import Block
from wherry.errors import CIDError
from wherry.protobuf import varint_at
from wherry.publiccid import PublicCID
from wherry.store.store import Store

VERSION = "v0.13.2"
MODULE = "github.com/ipfs/gateway-conformance"
WHERRY = [sys.executable, "-m", "wherry_cli"]


def suite(folder: Path) -> Path:
    """Gives the program of the suite: the one on the path, or one that is installed into ``folder``."""
    found = shutil.which("gateway-conformance")
    if found:
        return Path(found)
    if not shutil.which("go"):
        raise SystemExit(_said("no gateway-conformance on the path, and no Go to install it with"))
    done = subprocess.run(
        ["go", "install", f"{MODULE}/cmd/gateway-conformance@{VERSION}"], env={**os.environ, "GOBIN": str(folder)}, check=False
    )
    if done.returncode:
        raise SystemExit(_said(f"go could not install {MODULE} {VERSION}; what it said is above"))
    return folder / "gateway-conformance"


def _said(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def fill(home: Path, fixtures: Path) -> int:
    """Puts the blocks of all CARs into the home; gives how many CARs there were."""
    paths = sorted(fixtures.rglob("*.car"))
    store = Store(home, None)
    try:
        for path in paths:
            data = path.read_bytes()
            size, at = varint_at(data, 0, len(data))
            at += size
            blocks = []
            while at < len(data):
                size, at = varint_at(data, at, len(data))
                cid, start = PublicCID.read(data, at)
                try:
                    if cid.inline is None:
                        blocks.append(Block(cid.block(), data[start : at + size]))
                except CIDError as problem:
                    print(f"{path.name}: left out: {problem.message}", file=sys.stderr)
                at += size
            store.nodes.put_many(blocks)
    finally:
        store.close()
    return len(paths)


def _names(environ: dict[str, str], fixtures: Path) -> int:
    """Takes in the records of names; gives how many were taken. Those that are wrong are refused."""
    taken = 0
    for path in sorted(fixtures.rglob("*.ipns-record")):
        name = path.name.partition(".")[0].partition("_")[0]
        done = subprocess.run([*WHERRY, "name", "import", name, path], env=environ, check=False, stdout=subprocess.DEVNULL)
        taken += done.returncode == 0
    return taken


def report(path: Path) -> tuple[int, int, list[str]]:
    """Reads the suite's report, one event of ``go test -json`` a line: cases passed, cases run, names of those that failed."""
    ended = {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        if event.get("Test") and event.get("Action") in ("pass", "fail"):
            ended[event["Test"]] = event["Action"]
    leaves = [name for name in ended if not any(other.startswith(name + "/") for other in ended)]
    failed = sorted(name for name in leaves if ended[name] == "fail")
    return len(leaves) - len(failed), len(leaves), failed


def main(specs: str) -> int:
    """Runs the suite. Gives the exit code."""
    with tempfile.TemporaryDirectory(prefix="wherry-conformance-") as name:
        folder = Path(name)
        program = suite(folder)
        fixtures, home = folder / "fixtures", folder / "home"
        subprocess.run([program, "extract-fixtures", "--directory", fixtures], check=True)
        environ = {**os.environ, "WHERRY_HOME": str(home)}
        (folder / "hello").write_bytes(b"hello")
        subprocess.run([*WHERRY, "add", folder / "hello"], env=environ, check=True, stdout=subprocess.DEVNULL)
        print(f"{fill(home, fixtures)} CARs of fixtures, {_names(environ, fixtures)} records")
        line = [*WHERRY, "serve", "--listen", "http://127.0.0.1:0", "--json"]
        with subprocess.Popen(line, env=environ, stdout=subprocess.PIPE) as server:
            try:
                address = json.loads(server.stdout.readline())["listen"][0] if server.stdout else ""
                told = folder / "report.json"
                subprocess.run(
                    [program, "test", "--gateway-url", address, "--specs", specs, "--json", told, "--verbose"], check=False
                )
                passed, run, failed = report(told)
            finally:
                server.terminate()
    for case in failed:
        print(f"failed: {case}")
    print(f"{specs}: {passed} of {run} cases passed")
    return 0 if run and passed == run else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "trustless-gateway"))
