"""Settles what arrived, on the thread that received it: verify each block -> open it if it is sealed -> write -> count (D4)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Laid
from wherry.block import other_size, verify
from wherry.buffers import PAGE, ROOM
from wherry.errors import IntegrityError, Misjudged, WherryError
from wherry.limits import LEAF_BYTES_MAX
from wherry.names import shown

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from wherry.abc.transport import Arrival
    from wherry.transfer.sink import Piece, Sealer, Sink


DONE: Final = 1  # verified, written and counted
CLAIMED: Final = 2  # verified, and being written by a thread


class _Batch(NamedTuple):
    """What arrived, and for what."""

    arrival: Arrival
    view: memoryview
    pieces: Sequence[Piece]
    peer: str
    sealing: Sealer | None  # where blocks are not just plain bytes


def settle(
    sink: Sink,
    arrival: Arrival,
    pieces: Sequence[Piece],
    done: bytearray,
    claiming: threading.Lock,
    *,
    peer: str,
    in_place: bool = False,
    plain: bool = False,
) -> int:
    """Verifies and writes what arrived for ``pieces``; sets ``done`` for each that counts. Notes faults in ``arrival``.

    Where two sources are asked for the same, both may bring it at one time: ``claiming`` is held while one of them takes a
    piece. ``plain``: what came are bytes of files of this machine, plain also where the dataset is encrypted.

    Gives how many bytes came that were there already, or that another thread is writing.
    """
    arrival.settled = True
    buffer = arrival.buffer
    if buffer is None:
        return 0
    repeated = sum([laid.stop - laid.start for laid in arrival.blocks if done[laid.want]])
    claimed: list[Laid] = []
    try:
        batch = _Batch(arrival, buffer.view, pieces, peer, sink.sealing)
        good = _verified(batch, done, plain=plain)
        if sink.sealing is not None and not plain and any(pieces[laid.want].key for laid in good):
            good = _opened(batch, good, sink.sealing)
        with claiming:
            for laid in good:
                if done[laid.want]:
                    repeated += laid.stop - laid.start
                else:
                    done[laid.want] = CLAIMED
                    claimed.append(laid)
        good = claimed
        written: list[list[Laid]] = []
        try:
            for run in _runs(good, pieces):
                some = [pieces[laid.want] for laid in run]
                if some[0].slot.small and sum([piece.size for piece in some]) != some[0].slot.size:
                    continue  # not all of it is here: it is asked for again, whole
                if not (in_place and sink.in_place(some)):
                    sink.write(buffer.view, some, [laid.start for laid in run])
                written.append(run)
        finally:  # what was written counts also when the disk became full behind it
            if written:
                sink.commit([[pieces[laid.want] for laid in run] for run in written])
                for run in written:
                    for laid in run:
                        done[laid.want] = DONE
    except BaseException as problem:  # noqa: BLE001  # this thread is the transport's: core raises it again on its own
        arrival.failure = problem
    finally:
        for laid in claimed:
            if done[laid.want] == CLAIMED:
                done[laid.want] = 0
    return repeated


def _verified(batch: _Batch, done: bytearray, *, plain: bool) -> list[Laid]:
    """Gives the blocks that are what they should be, sorted by want."""
    sealing, peer = batch.sealing, batch.peer
    good: list[Laid] = []
    for laid in sorted(batch.arrival.blocks):
        if done[laid.want] or (good and good[-1].want == laid.want):
            continue  # came twice; a piece that counted twice would make its file whole too early
        piece, size = batch.pieces[laid.want], laid.stop - laid.start
        wanted = piece.size if sealing is None or plain else sealing.wire_size(piece.size, piece.key)
        guessed = piece.guessed and not plain
        try:
            if size != wanted and (plain or not 0 < size <= LEAF_BYTES_MAX):
                raise IntegrityError(f"block {piece.cid} from {peer} has {size} bytes, not {wanted}")
            if sealing is not None and plain:
                _verify_plain(piece, batch.view[laid.start : laid.stop], sealing, peer)
            else:
                verify(piece.cid, batch.view[laid.start : laid.stop], origin=peer)
        except WherryError as problem:
            batch.arrival.rejected.append((laid.want, problem))
        else:
            if guessed and size != wanted:
                raise Misjudged(f"block {piece.cid} has {size} bytes, and its directory lets expect {wanted}")
            if wanted is not None and size != wanted:
                raise other_size(piece.cid, size, wanted, piece.slot.path)
            good.append(laid)
    return good


def _verify_plain(piece: Piece, view: memoryview, sealing: Sealer, peer: str) -> None:
    """Plain bytes are those of a sealed block if they seal to it."""
    sealed = sealing.seal_leaf(view, piece.key, piece.offset, final=piece.final)
    if hashlib.sha256(sealed).digest() != piece.cid.digest:
        raise IntegrityError(f"the plain bytes of block {piece.cid} from {peer} do not match its CID")


def _opened(batch: _Batch, good: list[Laid], sealing: Sealer) -> list[Laid]:
    """Opens verified blocks, and lays their plain bytes where the file can be written from: see `_place`.

    Where leaves were coded plain bytes may be longer than sealed ones: then all are opened before any is laid, from ROOM on,
    where a batch's plain bytes have room wherever its peer laid the blocks.
    """
    waiting: list[tuple[int, bytes]] = []
    opened: list[Laid] = []
    free = ROOM if sealing.scheme.coding else 0
    for laid in sorted(good, key=lambda one: one.start):
        piece = batch.pieces[laid.want]
        try:
            sealed = batch.view[laid.start : laid.stop]
            plain = sealing.open_leaf(sealed, piece.key, piece.offset, piece.size, final=piece.final)
        except WherryError as problem:
            if piece.guessed:
                raise Misjudged(f"block {piece.cid} is not like the others of its file: {problem.message}") from problem
            raise IntegrityError(  # it is the right block, so no peer is to blame
                f"{shown(piece.slot.path or '/')}: block {piece.cid} does not open: {problem.message}",
                hint="the dataset contradicts itself, whoever serves it: whoever made it must make it again",
            ) from problem
        if sealing.scheme.coding:
            at = free
            waiting.append((at, bytes(plain)))
        else:
            at = _place(batch.pieces, opened, laid, free)
            batch.view[at : at + piece.size] = plain
        free = at + piece.size
        opened.append(Laid(laid.want, at, free))
    for at, data in waiting:
        batch.view[at : at + len(data)] = data
    return sorted(opened)


def _place(pieces: Sequence[Piece], opened: Sequence[Laid], laid: Laid, free: int) -> int:
    """Tells where the plain bytes of the block at ``laid`` go: behind what comes before it in its file, or at a page, so that
    O_DIRECT can write them.

    Never beyond where the block itself began: plain bytes are shorter than sealed ones, so nothing unopened is overwritten.
    """
    if opened:
        before, piece = pieces[opened[-1].want], pieces[laid.want]
        if piece.slot is before.slot and piece.offset == before.offset + before.size:
            return free
    return max(free, laid.start // PAGE * PAGE)


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
