"""What is told to the followers of a dataset: news of a download, and more and more of what is revealed (specs/0025 §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.swarm.dataset import Dataset
    from wherry.swarm.neighbour import Neighbour


def tell_news(dataset: Dataset, now: float) -> None:
    """Tells all followers what is new here, if it is time."""
    gained = dataset.news.due(now)
    if gained:
        have = dataset.news.map
        for neighbour in dataset.followers:
            neighbour.link.tell_have(dataset.root, have, gained)


def show(neighbour: Neighbour, dataset: Dataset, now: float) -> None:
    """Shows a follower more of a dataset that is revealed piece by piece."""
    if dataset.reveal is not None:
        gained = dataset.reveal.onward(dataset.shown[neighbour], now)
        if gained:
            dataset.tell(neighbour, gained)


def show_more(dataset: Dataset, now: float, *, idle: bool) -> None:
    """Shows more to those who are due; ``idle``: nobody waits to be served."""
    reveal = dataset.reveal
    if reveal is None:
        return
    for neighbour, shown in dataset.shown.items():
        if shown.open or shown.done:
            continue
        if reveal.mute(shown, now):
            shown.open = True
            dataset.tell(neighbour)
        elif reveal.sent(shown, 0, idle=idle):
            show(neighbour, dataset, now)
    if idle and not reveal.left:
        of = {id(shown): neighbour for neighbour, shown in dataset.shown.items()}
        for shown, gained in reveal.again(now):
            dataset.tell(of[id(shown)], gained)


def count_sent(neighbour: Neighbour, dataset: Dataset, sent: int, now: float, *, idle: bool) -> None:
    """Counts what was sent to a follower; shows it more if it has what it was shown."""
    dataset.sent += sent
    shown = dataset.shown.get(neighbour)
    if shown is not None and dataset.reveal is not None and dataset.reveal.sent(shown, sent, idle=idle):
        show(neighbour, dataset, now)


def refresh(dataset: Dataset) -> None:
    """Looks at all that the followers of a revealed dataset have."""
    if dataset.reveal is not None:
        for neighbour, shown in dataset.shown.items():
            have = dataset.maps.get(neighbour)
            if have is not None:
                dataset.reveal.refresh(shown, have)
