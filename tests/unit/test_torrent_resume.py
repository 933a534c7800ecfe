"""What is saved of a torrent of version 2, and what is said of the memory that it takes (specs/0036 §11)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wherry_torrent.resume import memory_note, write_without_trees

GIB = 1 << 30


@pytest.mark.parametrize(
    ("sizes", "megabytes"),
    [([8 * GIB], None), ([48 * GIB], 313), ([64 * GIB], 313), ([10 * GIB, 10 * GIB, 0], 179), ([1 << 20] * 10_000, None)],
)
def test_who_needs_much_memory_is_told_before(sizes, megabytes):
    said = memory_note(sizes)
    assert said is None if megabytes is None else said.startswith(f"this download may take {megabytes} MB of memory")


class Handle:
    """A download with one piece that is whole, and one of which a block of two is."""

    def __init__(self, *, piece_bytes=32768, errc=0):
        self.piece_bytes, self.errc, self.asked = piece_bytes, errc, []

    def torrent_file(self):
        return SimpleNamespace(piece_length=lambda: self.piece_bytes)

    def status(self):
        self.asked.append("status")
        errc = SimpleNamespace(value=lambda: self.errc)
        return SimpleNamespace(num_peers=5, pieces=[True, False], info_hashes="hashes", errc=errc)

    def get_download_queue(self):
        self.asked.append("queue")
        return [{"piece_index": 1, "blocks": [{"state": 3}, {"state": 2}]}]  # the latter is being written

    def get_peer_info(self):
        return [
            SimpleNamespace(ip=(f"192.0.2.{kind}{flags}", 1), connection_type=kind, flags=flags)
            for kind in (1, 2)
            for flags in (4, 8)
        ]


def saved(tmp_path, handle):
    kept = SimpleNamespace()

    def write(params):
        assert params is kept
        return b"saved"

    info = SimpleNamespace(standard_bittorrent=1, local_connection=4)
    lt = SimpleNamespace(add_torrent_params=lambda: kept, write_resume_data_buf=write, peer_info=info)
    write_without_trees(lt, str(tmp_path), handle)
    return kept


def test_whole_pieces_blocks_and_peers_are_saved(tmp_path):
    handle = Handle()
    kept = saved(tmp_path, handle)
    assert (tmp_path / "resume").read_bytes() == b"saved"
    assert (kept.info_hashes, kept.have_pieces, kept.unfinished_pieces) == ("hashes", [True, False], {1: [True, False]})
    assert kept.peers == [("192.0.2.14", 1)]  # that we called, so that others can
    assert handle.asked[-2:] == ["queue", "status"]


def test_blocks_of_pieces_are_left_out_where_they_would_take_much_memory(tmp_path):
    assert saved(tmp_path, Handle(piece_bytes=1 << 28)).unfinished_pieces == {}


def test_what_was_saved_stays_where_an_error_may_have_made_it_forget(tmp_path):
    (tmp_path / "resume").write_bytes(b"before")
    saved(tmp_path, Handle(errc=217))
    assert (tmp_path / "resume").read_bytes() == b"before"
