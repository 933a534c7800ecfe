"""Compares files with what a torrent says of them (specs/0036 §8). Pure: who calls it reads them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from wherry.errors import IntegrityError
from wherry.names import shown
from wherry.torrent.metainfo import FileHash
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wherry.torrent.read import Torrent

    Content = Callable[[int], Iterable[bytes | memoryview]]


_ZEROS: Final = bytes(MiB)


def verify(torrent: Torrent, content: Content, padded: Callable[[int], None] = lambda _: None) -> None:
    """Reads every file through ``content(index)``, in order, and compares: SHA-256 if there is a version 2, else SHA-1.

    What ``content`` gives is looked at before it gives more. ``padded`` hears of padding, of which there may be far more than
    of anything else, and may raise to stop. Raises IntegrityError, which names the file, or for version 1
    the files that a piece lies in; and what ``content`` raises.
    """
    if torrent.v2 is not None:
        for index, file in enumerate(torrent.files):
            run = FileHash(file.parts, torrent.piece_bytes)
            for data in content(index):
                run.update(data)
            if run.size != file.size or (file.size and run.root() != file.root):
                raise IntegrityError(f"{_shown(torrent, index)} is not what the torrent says")
        return
    held, touched, number = 0, list[int](), 0
    run1 = hashlib.sha1(usedforsecurity=False)
    last = sum(size for _, size in torrent.spans)
    for index, data in _stretches(torrent, content, padded):
        view = memoryview(data)
        while view:
            some = view[: torrent.piece_bytes - held]
            run1.update(some)
            touched += [index] if index >= 0 and touched[-1:] != [index] else []  # they come in order
            held, last, view = held + len(some), last - len(some), view[len(some) :]
            if held == torrent.piece_bytes or not last:
                if run1.digest() != torrent.pieces[20 * number : 20 * number + 20]:
                    names = ", ".join(_shown(torrent, one) for one in touched[:3])
                    raise IntegrityError(f"{names} {'is' if len(touched) == 1 else 'are'} not what the torrent says")
                run1, held, touched, number = hashlib.sha1(usedforsecurity=False), 0, [], number + 1


def _stretches(torrent: Torrent, content: Content, padded: Callable[[int], None]) -> Iterator[tuple[int, bytes | memoryview]]:
    """Gives the bytes of version 1, padding included, with the number of their file. Raises IntegrityError."""
    for index, size in torrent.spans:
        found = 0
        if index < 0:
            for at in range(0, size, MiB):
                count = min(MiB, size - at)
                yield index, memoryview(_ZEROS)[:count]
                padded(count)
            continue
        for data in content(index):
            found += len(data)
            if found > size:
                break
            yield index, data
        if found != size:
            raise IntegrityError(f"{_shown(torrent, index)} does not have the length that the torrent says")


def _shown(torrent: Torrent, index: int) -> str:
    return shown("/".join(torrent.files[index].parts) or torrent.name)
