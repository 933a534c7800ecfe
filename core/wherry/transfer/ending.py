"""How a get ends that cannot go on: the error that a verdict of the scheduler stands for (specs/0013 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import BlockNotFound, IntegrityError, NoSource, PeerDenied, PeerProtocolError
from wherry.redaction import masked
from wherry.transfer.complaints import bare
from wherry.transfer.hope import stale_s
from wherry.transfer.jobs import Job, NodeJob

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from wherry.cid import CID
    from wherry.errors import WherryError
    from wherry.transfer.hope import Verdict
    from wherry.transfer.source import Source


def reasons_of(sources: Sequence[Source], lacking: Collection[int] = ()) -> str:
    """Lists what is wrong with each source, for people. ``lacking`` are those that do not have what is wanted."""
    return "; ".join(f"{masked(one.address)}: {bare(one.reason, one.address) or _idle(one, lacking)}" for one in sources)


def _idle(source: Source, lacking: Collection[int]) -> str:
    """Says why one is of no use that is connected and has not failed since."""
    if source.choked:
        return "answers others only"
    if source.number in lacking:
        return "does not have all of it" if source.blocks else "does not have it"
    return bare(source.cause, source.address) or "gave nothing whole in time"


def end_of(
    verdict: Verdict[Job], sources: Sequence[Source], *, wait_s: float, sought: bool, lost: Callable[[CID], str]
) -> WherryError:
    """Words the error. ``sought``: locators were asked for more sources. ``lost``: why a block is no longer here, if it was."""
    reasons = reasons_of(sources, verdict.lacking)
    want = verdict.job.wants[0]
    what = f"block {want.cid} of {want.path!r}" if want.path else f"block {want.cid}"
    if not sources:
        missing = "no source is named or found" if sought else "no source is named"
        if why := lost(want.cid):
            hint = "put the file back as it was and add it again, or give --from ADDRESS"
            return NoSource(f"{what} is no longer here ({why}), and {missing}", hint=hint)
        return NoSource(f"{what} is not here, and {missing}", hint="give --from ADDRESS, or keep one in [peers]")
    if verdict.kind == "absent" and isinstance(verdict.job, NodeJob) and all(one.plain for one in sources):
        given = ", ".join(masked(source.address) for source in sources)
        return BlockNotFound(
            f"the manifest ({what}) is not here, and {given} can't have it: plain files come from there, no manifests",
            hint="name a wherry peer that has the dataset besides, with one more --from; "
            "or, if the files lie on a disk here, make the manifest with `wherry add`",
        )
    hints = list(dict.fromkeys(source.hint for source in sources if source.hint))[:2]
    if verdict.kind == "absent":
        hint = "; ".join([*hints, "name another source that has it, with one more --from ADDRESS"])
        return BlockNotFound(f"no source has {what} ({reasons})", hint=hint)
    if verdict.kind == "corrupt" and not any(source.standing.rejected for source in sources):  # nothing came, damaged or not
        hint = "name another source; `wherry plugins check NAME` shows what is wrong with a transport"
        return PeerProtocolError(f"no source gives {what} ({reasons})", peer=sources[0].address, hint=hint)
    if verdict.kind == "corrupt":
        return IntegrityError(f"{what} comes damaged from every source that has it ({reasons})", hint="name another source")
    if verdict.kind == "denied":
        hint = "; ".join(hints) or "give the token of the source: WHERRY_TOKEN or --token-file"
        return PeerDenied(f"no source is left to ask ({reasons})", peer=sources[0].address, hint=hint)
    hint = (
        "check that a source serves, and its address, or name one more with --from ADDRESS; run the same command again to go on"
    )
    if all(source.hint for source in sources):  # they are there, and refuse
        hint = "; ".join([*dict.fromkeys(source.hint for source in sources)][:2]) + "; run the same command again to go on"
    if verdict.kind == "unreached":
        return NoSource(f"no source could be reached ({reasons})", hint=hint)
    if verdict.kind == "stale":
        wait_s = stale_s(wait_s)
    return NoSource(f"no source was of any use for {wait_s:.0f} s ({reasons}), and {what} is not here", hint=hint)
