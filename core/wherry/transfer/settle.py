"""Settles what arrived, on the thread that received it: verify each block -> open it if it is sealed -> write -> count (D4)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from wherry.abc.transport import Laid
from wherry.block import verify
from wherry.errors import IntegrityError, WherryError
from wherry.limits import LEAF_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Arrival
    from wherry.buffers import Buffer
    from wherry.sealing.seal import Sealing
    from wherry.transfer.sink import Piece, Sink


def settle(
    sink: Sink,
    arrival: Arrival,
    pieces: Sequence[Piece],
    done: bytearray,
    *,
    peer: str,
    in_place: bool = False,
    plain: bool = False,
) -> None:
    """Verifies and writes what arrived for ``pieces``; sets ``done`` for each that counts. Notes faults in ``arrival``.

    ``plain``: what came are bytes of files of this machine, plain also where the dataset is encrypted.
    """
    arrival.settled = True
    buffer = arrival.buffer
    if buffer is None:
        return
    try:
        good = _verified(arrival, buffer, pieces, done, peer, sink.sealing, plain=plain)
        if sink.sealing is not None and not plain:
            good = _opened(arrival, buffer, pieces, good, peer, sink.sealing)
        written: list[list[Laid]] = []
        try:
            for run in _runs(good, pieces):
                some = [pieces[laid.want] for laid in run]
                if some[0].slot.small and sum([piece.size for piece in some]) != some[0].slot.size:
                    continue  # not all of it is here: it is asked for again, whole
                if in_place:
                    sink.in_place(some)
                else:
                    sink.write(buffer.view, some, [laid.start for laid in run])
                written.append(run)
        finally:  # what was written counts also when the disk became full behind it
            if written:
                sink.commit([[pieces[laid.want] for laid in run] for run in written])
                for run in written:
                    for laid in run:
                        done[laid.want] = 1
    except BaseException as problem:  # noqa: BLE001  # this thread is the transport's: core raises it again on its own
        arrival.failure = problem


def _verified(
    arrival: Arrival,
    buffer: Buffer,
    pieces: Sequence[Piece],
    done: bytearray,
    peer: str,
    sealing: Sealing | None,
    *,
    plain: bool,
) -> list[Laid]:
    good: list[Laid] = []
    for laid in sorted(arrival.blocks):
        if done[laid.want] or (good and good[-1].want == laid.want):
            continue  # came twice; a piece that counted twice would make its file whole too early
        piece, size = pieces[laid.want], laid.stop - laid.start
        wanted = piece.size if sealing is None or plain else sealing.wire_size(piece.size)
        try:
            if size != wanted if wanted is not None else not 0 < size <= LEAF_BYTES_MAX:
                raise IntegrityError(f"block {piece.cid} from {peer} has {size} bytes, not {wanted}")
            if sealing is not None and plain:
                _verify_plain(piece, buffer.view[laid.start : laid.stop], sealing)
            else:
                verify(piece.cid, buffer.view[laid.start : laid.stop], origin=peer)
        except WherryError as problem:
            arrival.rejected.append((laid.want, problem))
        else:
            good.append(laid)
    return good


def _verify_plain(piece: Piece, view: memoryview, sealing: Sealing) -> None:
    """Plain bytes are those of a sealed block if they seal to it."""
    sealed = sealing.seal_leaf(view, piece.key, piece.offset, final=piece.final)
    if hashlib.sha256(sealed).digest() != piece.cid.digest:
        raise IntegrityError(f"the plain bytes of block {piece.cid} do not match its CID")


def _opened(
    arrival: Arrival, buffer: Buffer, pieces: Sequence[Piece], good: list[Laid], peer: str, sealing: Sealing
) -> list[Laid]:
    """Opens verified blocks, and lays their plain bytes back to back from where the first block began.

    Plain bytes are shorter than sealed ones, so each comes to lie before the next block: nothing unopened is overwritten.
    """
    opened: list[Laid] = []
    at = -1
    for laid in sorted(good, key=lambda one: one.start):
        piece = pieces[laid.want]
        at = laid.start if at < 0 else at
        try:
            view = buffer.view[laid.start : laid.stop]
            plain = sealing.open_leaf(view, piece.key, piece.offset, piece.size, final=piece.final)
        except WherryError as problem:
            problem = IntegrityError(f"block {piece.cid} from {peer} does not open: {problem.message}")
            arrival.rejected.append((laid.want, problem))
            continue
        end = at + piece.size
        buffer.view[at:end] = plain
        opened.append(Laid(laid.want, at, end))
        at = end
    return sorted(opened)


def _runs(good: list[Laid], pieces: Sequence[Piece]) -> list[list[Laid]]:
    """Groups the blocks of each small file, and those of a long one that follow each other in the buffer as in the file."""
    runs: list[list[Laid]] = []
    for laid in good:
        if runs:
            last = runs[-1][-1]
            before, piece = pieces[last.want], pieces[laid.want]
            follows = piece.slot is before.slot and piece.offset == before.offset + before.size
            if follows and (piece.slot.small or laid.start == last.stop):
                runs[-1].append(laid)
                continue
        runs.append([laid])
    return runs
