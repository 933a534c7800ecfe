"""One download of a dataset, as the swarm knows it: what the engine tells of it (specs/0025 §2). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.abc.exchange import PeerLink
    from wherry.swarm.dataset import Dataset, Listener
    from wherry.swarm.swarm import Swarm


class Entry:
    """One download of a dataset, as the swarm knows it. For the loop's thread."""

    __slots__ = ("_dataset", "_left", "_listener", "_swarm")

    def __init__(self, swarm: Swarm, dataset: Dataset, listener: Listener) -> None:
        self._swarm = swarm
        self._dataset = dataset
        self._listener = listener
        self._left = False

    def sized(self, size: int) -> None:
        """Says how large the dataset is, where that was not known when it was entered: its root had to be fetched first."""
        self._dataset.news.size = size

    def gained(self, start: int, end: int) -> None:
        """Bytes ``start`` ... ``end`` of the dataset are verified and can be served; followers are told."""
        self._swarm.on_gained(self._dataset, start, end)

    def completed(self) -> None:
        """Everything is there, manifest included. Peers are told now."""
        self._swarm.on_completed(self._dataset)

    def follow(self, link: PeerLink) -> None:
        """Asks a peer that this node dialled for this download to tell what it has of the dataset."""
        self._swarm.on_bound(self._dataset, link)

    def credit(self, link: PeerLink, count: int) -> None:
        """Counts ``count`` bytes of verified payload that a peer gave: it is served for them."""
        self._swarm.on_credit(link, count)

    def leave(self) -> None:
        """Ends the download. What is complete is seeded on while `Swarm` is told that it is held. Twice is once."""
        if not self._left:
            self._left = True
            self._swarm.on_left(self._dataset, self._listener)
