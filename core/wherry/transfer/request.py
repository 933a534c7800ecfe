"""One request to a channel: what arrives of a job is settled, counted, and its buffers are given back."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from wherry.offload import in_thread
from wherry.transfer.jobs import JobLender

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.transport import Arrival, Channel
    from wherry.buffers import BufferPool
    from wherry.errors import WherryError
    from wherry.transfer.jobs import Job


async def fetch_once(
    channel: Channel, job: Job, pool: BufferPool, peer: str, count: Callable[[int, int, int], None] | None = None
) -> tuple[set[int], dict[int, WherryError]]:
    """Asks a channel for a job, settles what arrives; gives the wants that are missing and those that were rejected.

    ``count`` is told of each arrival: right blocks, their bytes, and the bytes of all.

    Raises PeerError from the channel, and what writing raises (LocalError).
    """
    missing: set[int] = set()
    rejected: dict[int, WherryError] = {}
    async with aclosing(channel.fetch(job.wants, JobLender(pool, job, peer))) as arrivals:
        async for arrival in arrivals:
            try:
                if not arrival.settled:
                    await in_thread(partial(job.settle, arrival, peer))
            finally:
                if arrival.buffer is not None:
                    arrival.buffer.release()
                if count is not None and arrival.failure is None:  # cancelled meanwhile, it is settled all the same
                    _counted(arrival, count)
            if arrival.failure is not None:
                raise arrival.failure
            missing.update(arrival.missing)
            rejected.update(arrival.rejected)
    return missing, rejected


def _counted(arrival: Arrival, count: Callable[[int, int, int], None]) -> None:
    """Tells ``count`` of an arrival that is settled."""
    size = sum(laid.stop - laid.start for laid in arrival.blocks)
    bad = {want for want, _ in arrival.rejected}
    wrong = sum(laid.stop - laid.start for laid in arrival.blocks if laid.want in bad) if bad else 0
    count(len(arrival.blocks) - len(arrival.rejected), size - wrong, size)
