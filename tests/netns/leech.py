"""One leecher of a swarm run: starts up, says that it is ready, fetches when it is told to, and stays.

    leech.py DIR IP CID PEER... [--port 4290]

The time that Python takes to start is not measured: eight programs that start at once on two cores would pay dearly for it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import resource
import sys
import time
from pathlib import Path

from wherry.session import Session

EARLY = (  # what a get imports when it begins, and eight at once would begin late for
    "wherry.sealing.wrap",
    "wherry.store.cached",
    "wherry.store.fence",
    "wherry.ticket",
    *(f"wherry.transfer.{name}" for name in ("circle", "fetch", "get", "into", "locate", "member", "running", "unlock")),
    "wherry_cache.disk",
    "wherry_compress.zstd",
)

cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
cli.add_argument("folder", type=Path)
cli.add_argument("ip")
cli.add_argument("cid")
cli.add_argument("peers", nargs="*")
cli.add_argument("--port", type=int, default=4290)
cli.add_argument("--scheme", default="tcp")
cli.add_argument("--verbose", action="store_true")


async def main() -> None:
    """Runs until it is killed."""
    args = cli.parse_args()
    for name in EARLY:
        importlib.import_module(name)
    own = f"{args.scheme}://{args.ip}:{args.port}"
    sources = [peer for peer in args.peers if peer != own]
    async with (
        Session.open(home=args.folder / "home", environ={}) as session,
        session.serve((), listen=[own], allow_public=True) as serving,
    ):
        (args.folder / "ready").touch()
        while not (args.folder / "go").exists():
            await asyncio.sleep(0.005)
        began = time.monotonic()
        before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        observe = (lambda event: print(f"{time.monotonic() - began:.3f}", event, file=sys.stderr)) if args.verbose else None
        result = await session.get(args.cid, sources=sources, output=str(args.folder / "f"), observe=observe)
        took = time.monotonic() - began
        spent = resource.getrusage(resource.RUSAGE_SELF)
        cpu = spent.ru_utime + spent.ru_stime - before
        told = {
            "seconds": took,
            "cpu_s": cpu,
            "rss_mb": spent.ru_maxrss / 1000,
            "fetched": result.fetched_bytes,
            "sources": [vars_of(source) for source in result.sources],
        }
        print(json.dumps(told), flush=True)
        await serving.forever()


def vars_of(source: object) -> dict[str, object]:
    """Gives what is known of a source."""
    return {name: getattr(source, name) for name in ("address", "bytes", "blocks", "errors")}


asyncio.run(main())
