"""The verbs that tell what the home holds: how much of it is unique, and what lies in several places."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from wherry.offload import in_thread, stoppable
from wherry.session.parts import Parts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from wherry.results import EqualFiles, SharedBytes, StoreStat

_AT_ONCE = 100  # found in one turn of the thread


class Storing(Parts):
    """Duplicates and the sums of the store."""

    async def store_stat(self) -> StoreStat:
        """Counts what this home knows and what it keeps itself; reads its databases, and none of the user's files."""
        from wherry.store.usage import store_stat

        stop = threading.Event()
        return await stoppable(lambda: store_stat(self.home, self._store, stop.is_set), stop.set)

    async def duplicates(self, *, min_bytes: int = 1) -> AsyncGenerator[EqualFiles | SharedBytes, None]:
        """Gives what lies in several places: first equal files, then files that share leaves; those first that matter most.

        Of ``min_bytes`` or more each. Files that have changed since they were read are left out.
        """
        from itertools import chain, islice

        from wherry.store.duplicates import Duplicates

        stop = threading.Event()
        found = Duplicates(self._store.index, min_bytes=min_bytes, stopped=stop.is_set)
        try:
            items: Iterator[EqualFiles | SharedBytes] = chain(found.equal(), found.shared())
            while some := await stoppable(lambda: list(islice(items, _AT_ONCE)), stop.set):
                for item in some:
                    yield item
        finally:
            await in_thread(found.close)
