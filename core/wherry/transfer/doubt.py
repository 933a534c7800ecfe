"""A job that no source has: asked for once more, of whatever length, before it ends a get (specs/0013 §5).

A source that has a block in another length than is wanted says that it does not have it (specs/0004 §3.4). So where a manifest
lies about a length, every honest source seems to lack the block.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wherry.transfer.jobs import NodeJob

if TYPE_CHECKING:
    from wherry.errors import WherryError
    from wherry.transfer.jobs import Job


class Doubt:
    """One such job, and how the get ends if there is nothing in it. For one loop."""

    __slots__ = ("_answer", "_job", "again", "end")

    def __init__(self, job: Job, end: WherryError) -> None:
        self._job = job
        self._answer = asyncio.get_running_loop().create_future()
        self.again = NodeJob([want.cid for want in job.wants], self._answer)  # to be put
        self.end = end

    def concerns(self, job: Job) -> bool:
        """Tells whether a job that cannot go on is this one, or the one that is asked for in its place."""
        return job is self._job or job is self.again

    def over(self, job: Job) -> bool:
        """Tells whether there is nothing more to wait for, now that ``job`` cannot go on. Raises IntegrityError for a lie."""
        self._job.compare(self.again.found)
        return job is not self._job or self._answer.done()
