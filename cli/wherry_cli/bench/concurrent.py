"""``concurrent``: many transfers from one server at the same time, beside the same transfers four at a time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from wherry_cli.bench.figure import Bound, Figure, Report, Run, faster
from wherry_cli.bench.leaves import LEAF_BYTES, leaves
from wherry_cli.bench.memory import peak_figure
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.abc.transport import Want
    from wherry_cli.bench.workspace import Workspace

ERRORS_BOUND: Final = Bound("at most", 0)
PEAK_BOUND: Final = Bound("below", 150.0)  # MB
FEW: Final = 4


def concurrent(space: Workspace) -> Report:
    """Opens every answer before any is read to its end, and looks at what the server needs for that."""
    source, scale = space.large(), space.scale
    batches = batches_of(leaves(source, 64), scale.transfers, max(1, scale.transfer_bytes // LEAF_BYTES))
    count = sum(want.size or 0 for batch in batches for want in batch)
    results: list[dict[str, Any]] = []
    with space.home() as home:
        space.wherry(home, "add", str(source))

        def crowd(at_once: int) -> Run:
            result, run = _crowd(space, home, batches, at_once)
            if at_once != FEW:
                results.append(result)
            return run

        many, few = f"{len(batches):,} transfers at once", f"the same, {FEW} at a time"
        found = space.compare({many: lambda: crowd(len(batches)), few: lambda: crowd(FEW)}, count=count / 1e6)
    notes = [f"error: {each}" for result in results for each in result["first_errors"]]
    return Report(
        "concurrent",
        f"{len(batches):,} transfers of {len(batches[0])} MiB from one server, all answers open before any is read",
        arms=[found[many], found[few]],
        figures=[
            Figure("errors", sum(result["errors"] for result in results), "", ERRORS_BOUND),
            Figure("answers open at once", min(result["open_at_once"] for result in results), ""),
            peak_figure("peak of the server", found[many].highest("server_peak_bytes"), PEAK_BOUND),
            peak_figure(f"peak of the server, {FEW} at a time", found[few].highest("server_peak_bytes"), None),
            faster(f"rate against {FEW} at a time", found[many], found[few], None),
        ],
        notes=notes[:5],
        at_full_size=len(batches) >= Scale().transfers and scale.transfer_bytes >= Scale().transfer_bytes,
    )


def batches_of(wants: list[Want], transfers: int, each: int) -> list[list[Want]]:
    """Gives every transfer ``each`` leaves, beginning at another one, none twice; fewer if there are not so many."""
    each = min(each, len(wants))
    return [[wants[(number + step) % len(wants)] for step in range(each)] for number in range(transfers)]


def _crowd(space: Workspace, home: Path, batches: list[list[Want]], at_once: int) -> tuple[dict[str, Any], Run]:
    """Starts a server and a crowd; gives what the crowd saw. A new server each time: its peak is that of this crowd."""
    with space.serving(home) as served:
        address = urlsplit(served.address)
        request = {
            "host": address.hostname, "port": address.port, "at_once": at_once,
            "batches": [[(str(want.cid), want.size) for want in batch] for batch in batches],
        }  # fmt: skip
        path = space.folder / "crowd.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        ended = space.plain(sys.executable, "-m", "wherry_cli.bench.crowd", str(path))
        peak = served.child.peak_bytes()
    result = ended.json()
    more = {"errors": float(result["errors"]), "open_at_once": float(result["open_at_once"]), "server_peak_bytes": float(peak)}
    return result, Run(float(result["seconds"]), more)
