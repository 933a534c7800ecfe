"""Asks `wherry serve` what a gateway must answer, and prints how many cases passed of how many were asked (specs/0033 §10).

    python tests/conformance.py [SPECS]        the public suite gateway-conformance; the default is trustless-gateway
    python tests/conformance.py cases          its cases for a path gateway, as this repository has them, without Go

The first needs Go, and a Go that can fetch the suite; the second takes the public fixtures where WHERRY_FIXTURES names their
folder. What is asked for is put into a home of its own by `wherry import` and `wherry name import`, as a user would, and served
without any source. Ends with 1 if a case failed, with 2 if the suite could not be had.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def _wherry(environ: dict[str, str], *words: object, codes: tuple[int, ...] = (0,)) -> int:
    """Runs a verb; gives its exit code. Ends this program for one that is not among ``codes``."""
    done = subprocess.run([*WHERRY, *map(str, words)], env=environ, check=False, capture_output=True, text=True)
    if codes and done.returncode not in codes:
        raise SystemExit(_said(f"wherry {words[0]} ended with {done.returncode}: {done.stderr.strip()}"))
    return done.returncode


def _fill(environ: dict[str, str], fixtures: Path) -> int:
    """Imports all CARs; gives how many there were. Some lack blocks on purpose: those are in all the same (exit code 6)."""
    paths = sorted(fixtures.rglob("*.car"))
    for path in paths:
        _wherry(environ, "import", path, codes=(0, 6))
    return len(paths)


def _names(environ: dict[str, str], fixtures: Path) -> int:
    """Takes in the records of names; gives how many were taken. Those that are wrong are refused."""
    taken = 0
    for path in sorted(fixtures.rglob("*.ipns-record")):
        name = path.name.partition(".")[0].partition("_")[0]
        taken += _wherry(environ, "name", "import", name, path, codes=()) == 0
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


@contextmanager
def _served(environ: dict[str, str]) -> Iterator[str]:
    """Serves a home; gives the address."""
    line = [*WHERRY, "serve", "--listen", "http://127.0.0.1:0", "--json"]
    with subprocess.Popen(line, env=environ, stdout=subprocess.PIPE) as server:
        try:
            yield json.loads(server.stdout.readline())["listen"][0] if server.stdout else ""
        finally:
            server.terminate()


def main(specs: str) -> int:
    """Runs the suite. Gives the exit code."""
    with tempfile.TemporaryDirectory(prefix="wherry-conformance-") as name:
        folder = Path(name)
        environ = {**os.environ, "WHERRY_HOME": str(folder / "home")}
        if specs == "cases":
            return _cases(folder, environ)
        program = suite(folder)
        fixtures = folder / "fixtures"
        subprocess.run([program, "extract-fixtures", "--directory", fixtures], check=True)
        print(f"{_fill(environ, fixtures)} CARs of fixtures, {_names(environ, fixtures)} records")
        with _served(environ) as address:
            told = folder / "report.json"
            subprocess.run(
                [program, "test", "--gateway-url", address, "--specs", specs, "--json", told, "--verbose"], check=False
            )
            passed, run, failed = report(told)
    for case in failed:
        print(f"failed: {case}")
    print(f"{specs}: {passed} of {run} cases passed")
    return 0 if run and passed == run else 1


def _cases(folder: Path, environ: dict[str, str]) -> int:
    """Asks the cases of this repository for a path gateway. Gives the exit code."""
    sys.path.insert(0, str(Path(__file__).parent / "support"))
    from path_cases import LEFT_OUT, all_cases  # found there
    from path_world import World

    world, named = World(), os.environ.get("WHERRY_FIXTURES")
    fixtures = Path(named) if named else None
    (folder / "world.car").write_bytes(world.car())
    _wherry(environ, "import", folder / "world.car")
    for name, record in world.records.items():
        (folder / "record").write_bytes(record)
        _wherry(environ, "name", "import", name, folder / "record")
    if fixtures is not None:
        _fill(environ, fixtures)
        _names(environ, fixtures)
    passed: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    with _served(environ) as address:
        for case in all_cases(world, fixtures):
            asked[case.function] += 1
            try:
                asyncio.run(case.run(address))
                passed[case.function] += 1
            except AssertionError as problem:
                print(f"failed: {case.function}: {case.name}: {problem}")
    for function, count in sorted(asked.items()):
        print(f"{function}: {passed[function]} of {count}")
    for function, count, why in LEFT_OUT:
        print(f"left out: {function}{f', {count} cases' if count else ''}: {why}")
    print(f"path-gateway: {passed.total()} of {asked.total()} cases passed")
    return 0 if passed == asked else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "trustless-gateway"))
