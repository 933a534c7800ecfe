"""The get of a torrent, with a transport that writes files: what is checked, kept, told and given up (specs/0036 §9)."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress

import pytest
from faketorrent import DATA, INFO, MAGNET, RULES, Fake, get
from torrents import BIG, CONTENTS, hybrid

from wherry import safetree
from wherry.abc.torrents import TorrentState
from wherry.errors import (
    DataError,
    IntegrityError,
    LimitExceeded,
    LocalError,
    NoSource,
    NoSpace,
    NotFound,
    TargetBusy,
    TargetError,
    TargetExists,
    UnsafeName,
)
from wherry.observe import Note
from wherry.torrent.bencode import decode, encode
from wherry.torrent.read import read_torrent
from wherry.transfer import torrent_in, torrent_place
from wherry.transfer.torrent_in import TorrentGet, given


@pytest.fixture
def torrent(tmp_path):
    path = tmp_path / "x.torrent"
    path.write_bytes(DATA)
    return str(path)


def check(target):
    assert (target / "a").read_bytes() == BIG
    assert (target / "b" / "c").read_bytes() == b"x"
    assert (target / "empty").read_bytes() == b""
    assert [name for name in os.listdir(target.parent) if name.endswith("-torrent")] == []


@pytest.mark.parametrize("magnet", [False, True])
def test_it_comes_and_gets_its_name(tmp_path, torrent, magnet):
    fake = Fake()
    found = get(MAGNET if magnet else torrent, tmp_path / "got", fake)
    check(tmp_path / "got")
    assert found.info == INFO
    wanted = fake.wanted
    assert (list(wanted.peers), list(wanted.webseeds), wanted.up, wanted.down) == (["h:1"], ["http://w/"], 1.0, 2.0)
    assert not wanted.hints
    assert wanted.magnet == (MAGNET.partition("&")[0] if magnet else "")
    get(torrent, tmp_path / "got", fake)  # here already
    assert fake.calls == 1


@pytest.mark.parametrize(("said_s", "expected_s"), [(None, RULES.lost_s), (9.0, 9.0)])
def test_how_long_nothing_may_come_is_told(tmp_path, torrent, said_s, expected_s):
    fake = Fake()
    get(torrent, tmp_path / "got", fake, RULES._replace(wait_s=said_s))
    assert fake.wanted.wait_s == expected_s


def test_a_single_file(tmp_path):
    path = tmp_path / "x.torrent"
    path.write_bytes(hybrid([((), BIG)], name="file"))
    get(str(path), tmp_path / "got", Fake([BIG]))
    assert (tmp_path / "got").read_bytes() == BIG
    assert get(str(path), tmp_path / "got", Fake([])).single


@pytest.mark.parametrize("single", [False, True])
def test_where_it_is_to_lie_may_be_a_link(tmp_path, torrent, single):
    if single:
        torrent = str(tmp_path / "single.torrent")
        with open(torrent, "wb") as file:
            file.write(hybrid([((), BIG)], name="file"))
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    fake = Fake([BIG]) if single else Fake()
    get(torrent, tmp_path / "way" / "got", fake)
    assert os.listdir(tmp_path / "real") == ["got"]
    get(torrent, tmp_path / "way" / "got", fake)  # here already
    assert fake.calls == 1


def test_where_a_single_file_is_to_be_may_be_a_folder(tmp_path):
    path = tmp_path / "single.torrent"
    path.write_bytes(hybrid([((), BIG)], name="file"))
    (tmp_path / "got" / "mine").mkdir(parents=True)
    with pytest.raises(TargetExists, match="is there already") as refused:
        get(str(path), tmp_path / "got", Fake([]))
    assert "--force" in refused.value.hint
    assert os.listdir(tmp_path / "got") == ["mine"]


def test_what_a_library_vouches_for_wrongly_is_looked_at_again_and_then_refused(tmp_path, torrent):
    notes = []
    fake = Fake(damage=[0])
    get(torrent, tmp_path / "got", fake, observe=notes.append)
    assert fake.calls == 2
    assert "'a' is not what the torrent says" in notes[0].text
    check(tmp_path / "got")
    with pytest.raises(IntegrityError, match="'b/c' is not what"):
        get(torrent, tmp_path / "other", Fake(damage=[1, 1]))
    assert not (tmp_path / "other").exists()


def test_what_is_not_in_the_torrent_is_not_kept(tmp_path, torrent):
    class More(Fake):
        async def torrent(self, wanted, approve):
            os.makedirs(f"{wanted.folder}/data/b/more", exist_ok=True)
            os.symlink("/etc/passwd", f"{wanted.folder}/data/link")
            async for state in super().torrent(wanted, approve):
                yield state

    get(torrent, tmp_path / "got", More())
    check(tmp_path / "got")
    assert sorted(os.listdir(tmp_path / "got")) == ["a", "b", "empty"]
    assert os.listdir(tmp_path / "got" / "b") == ["c"]


@pytest.mark.parametrize("link", ["a", "b", ""])
def test_no_link_is_followed(tmp_path, torrent, link):
    class Linked(Fake):
        async def torrent(self, wanted, approve):
            async for state in super().torrent(wanted, approve):
                yield state
            place = os.path.join(wanted.folder, "data", link).rstrip("/")
            with suppress(FileExistsError, IsADirectoryError):
                os.rename(place, tmp_path / "aside")
                os.symlink(tmp_path / "aside", place)

    with pytest.raises((IntegrityError, LocalError)):
        get(torrent, tmp_path / "got", Linked())
    assert not (tmp_path / "got").exists()


def test_what_is_there_is_left_unless_forced(tmp_path, torrent):
    target = tmp_path / "got"
    for make in (lambda: target.write_text("mine"), target.mkdir, (target / "more").mkdir):
        if target.is_file():
            target.unlink()
        make()
        with pytest.raises(TargetExists, match="is there already"):
            get(torrent, target, Fake())
        with pytest.raises(TargetExists, match="is there already"):
            get(MAGNET, target, Fake())
    get(torrent, target, Fake(), RULES._replace(force=True))
    check(target)
    assert get(MAGNET, target, Fake([])).info == INFO  # the info dictionary says that it is here


@pytest.mark.parametrize("more", ["mine", "b/mine"])
def test_files_that_are_not_in_the_torrent_are_neither_taken_nor_removed(tmp_path, torrent, more):
    target = tmp_path / "got"
    get(torrent, target, Fake())
    (target / more).write_text("mine")
    for what in (torrent, MAGNET):
        with pytest.raises(TargetExists, match=f"'{more}' is not in the torrent"):
            get(what, target, Fake())
        assert (target / more).read_text() == "mine"


def test_what_holds_the_directory_one_is_in_is_not_replaced_even_if_forced(tmp_path, torrent, monkeypatch):
    (tmp_path / "got").mkdir()
    monkeypatch.chdir(tmp_path / "got")
    with pytest.raises(TargetError, match="the directory that you are in"):
        get(torrent, tmp_path / "got", Fake(), RULES._replace(force=True))


def test_what_is_there_is_replaced_also_where_names_cannot_be_swapped(tmp_path, torrent, monkeypatch):
    def cannot(one, other):
        raise OSError(errno.EINVAL, "no swap here", other)

    monkeypatch.setattr(safetree, "exchange", cannot)
    target = tmp_path / "got"
    target.mkdir()
    (target / "old").write_text("mine")
    get(torrent, target, Fake(), RULES._replace(force=True))
    check(target)
    assert sorted(os.listdir(target)) == ["a", "b", "empty"]


def test_a_folder_of_another_get_is_not_taken(tmp_path, torrent):
    class Cut(Fake):
        async def torrent(self, wanted, approve):
            async for _ in super().torrent(wanted, approve):
                with pytest.raises(TargetBusy):
                    await TorrentGet(given(torrent), str(tmp_path / "got"), Fake(), RULES, lambda event: None).run(
                        [], [], None, None
                    )
                raise LocalError("cut")
            yield

    with pytest.raises(LocalError, match="cut"):
        get(torrent, tmp_path / "got", Cut())
    other = tmp_path / "y.torrent"
    other.write_bytes(CONTENTS["version 1"][0])
    with pytest.raises(TargetExists, match="a part of another torrent"):
        get(str(other), tmp_path / "got", Fake())
    get(torrent, tmp_path / "got", Fake())
    check(tmp_path / "got")


def test_what_a_kill_left_behind_a_whole_target_goes(tmp_path, torrent, monkeypatch):
    monkeypatch.setattr(torrent_place.TorrentPlace, "discard", lambda self: None)  # as if it was killed just before
    get(torrent, tmp_path / "got", Fake())
    monkeypatch.undo()
    assert ".got.wherry-torrent" in os.listdir(tmp_path)
    get(torrent, tmp_path / "got", Fake())
    check(tmp_path / "got")


def test_a_magnet_link_whose_metadata_is_known_finds_the_target_too(tmp_path, monkeypatch):
    monkeypatch.setattr(torrent_place.TorrentPlace, "discard", lambda self: None)  # as if it was killed just before
    get(MAGNET, tmp_path / "got", Fake())
    monkeypatch.undo()
    assert os.path.exists(tmp_path / ".got.wherry-torrent" / "info")
    fake = Fake()
    assert get(MAGNET, tmp_path / "got", fake).info == INFO
    assert fake.calls == 0
    check(tmp_path / "got")


@pytest.mark.parametrize("empty", [False, True])
def test_nothing_is_left_where_nothing_came(tmp_path, torrent, empty):
    class Nothing(Fake):
        async def torrent(self, wanted, approve):
            if empty:  # the files without bytes come without anybody
                os.makedirs(f"{wanted.folder}/data")
                os.close(os.open(f"{wanted.folder}/data/empty", os.O_CREAT))
            raise LocalError("nothing")
            yield

    with pytest.raises(LocalError, match="nothing"):
        get(torrent, tmp_path / "new" / "folder" / "got", Nothing())
    assert os.listdir(tmp_path) == ["x.torrent"]
    get(torrent, tmp_path / "new" / "folder" / "got", Fake())
    check(tmp_path / "new" / "folder" / "got")


def test_what_came_of_a_single_file_needs_no_room_again(tmp_path, monkeypatch):
    class Cut(Fake):
        async def torrent(self, wanted, approve):
            async for _ in super().torrent(wanted, approve):
                raise LocalError("cut")
            yield

    path = tmp_path / "x.torrent"
    path.write_bytes(hybrid([((), BIG)], name="file"))
    with pytest.raises(LocalError, match="cut"):
        get(str(path), tmp_path / "got", Cut([BIG]))
    monkeypatch.setattr(torrent_place, "free_bytes", lambda path: torrent_place.RESERVE_BYTES)
    get(str(path), tmp_path / "got", Fake([BIG]))
    assert (tmp_path / "got").read_bytes() == BIG


def test_a_folder_where_nothing_came_of_a_torrent_is_taken_over(tmp_path, torrent):
    class Nothing(Fake):
        async def torrent(self, wanted, approve):
            raise LocalError("nothing")
            yield

    other = tmp_path / "y.torrent"
    other.write_bytes(CONTENTS["version 1"][0])
    with pytest.raises(LocalError, match="nothing"):
        get(str(other), tmp_path / "got", Nothing())
    get(torrent, tmp_path / "got", Fake())
    check(tmp_path / "got")


def test_a_magnet_link_asks_for_its_metadata_once(tmp_path):
    class Cut(Fake):
        async def torrent(self, wanted, approve):
            if self.files is not None:
                assert wanted.files is None
                await approve(self.info)
            else:
                assert wanted.files is not None
            raise LocalError("cut")
            yield

    with pytest.raises(LocalError, match="cut"):
        get(MAGNET, tmp_path / "got", Cut())
    with pytest.raises(LocalError, match="cut"):  # the same torrent, by its other infohash
        get(f"magnet:?xt=urn:btmh:1220{hashlib.sha256(INFO).hexdigest()}", tmp_path / "got", Cut(files=None))
    fake = Fake()
    get(MAGNET, tmp_path / "got", fake)
    assert [place.path for place in fake.wanted.files] == ["data/a", "data/b/c", "data/empty"]
    check(tmp_path / "got")


@pytest.mark.parametrize(
    ("info", "error"),
    [
        (read_torrent(CONTENTS["version 1"][0]).info, IntegrityError),
        (b"d", DataError),
        (b"", DataError),
    ],
)
def test_metadata_that_is_not_the_links_is_refused(tmp_path, info, error):
    with pytest.raises(error):
        get(MAGNET, tmp_path / "got", Fake(info=info))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("magnet", [False, True])
@pytest.mark.parametrize("name", [b"..", b"a/b", b"/etc/passwd", b"nul", b"\xff", b""])
def test_nothing_is_written_for_a_name_that_is_none(tmp_path, name, magnet):
    whole = encode({"info": decode(INFO) | {b"name": name}, "piece layers": decode(DATA)[b"piece layers"]})
    info = encode(decode(whole)[b"info"])
    what = f"magnet:?xt=urn:btih:{hashlib.sha1(info).hexdigest()}"
    if not magnet:
        what = str(tmp_path / "x.torrent")
        (tmp_path / "x.torrent").write_bytes(whole)
    before = os.listdir(tmp_path)
    with pytest.raises(UnsafeName):
        get(what, tmp_path / "got", Fake(info=info))
    assert os.listdir(tmp_path) == before


def test_bounds_and_room_are_looked_at_first(tmp_path, torrent, monkeypatch):
    fake = Fake()
    with pytest.raises(LimitExceeded, match="raise --max-bytes"):
        get(torrent, tmp_path / "got", fake, RULES._replace(bytes_max=10))
    monkeypatch.setattr(torrent_place, "free_bytes", lambda path: 100)
    with pytest.raises(NoSpace):
        get(torrent, tmp_path / "got", fake)
    assert fake.calls == 0
    with pytest.raises(NoSpace):
        get(MAGNET, tmp_path / "got", fake)
    assert os.listdir(tmp_path) == ["x.torrent"]


@pytest.mark.parametrize("case", [(0, None, 25), (5, None, 60), (0, 3.0, 3), (5, 90.0, 90)])
def test_a_download_that_stands_still_is_told_and_ended(tmp_path, torrent, monkeypatch, case):
    came, wait_s, most = case
    now, notes = [0.0], []
    monkeypatch.setattr(torrent_in.time, "monotonic", lambda: now[0])

    class Still(Fake):
        async def torrent(self, wanted, approve):
            while True:
                yield TorrentState("fetch", came, 100, came, 2, [("192.0.2.1:1", "it \x1b sleeps")])
                now[0] += 1.0

    with pytest.raises(NoSource, match=r"2 peers connected; '192.0.2.1:1': 'it \\x1b sleeps'"):
        get(torrent, tmp_path / "got", Still(), RULES._replace(wait_s=wait_s), notes.append)
    assert most - 1 <= now[0] <= most + 1
    assert len([note for note in notes if isinstance(note, Note)]) == (most > 10)


def test_progress_says_what_goes_on(tmp_path, torrent):
    run = TorrentGet(given(torrent), str(tmp_path / "got"), Fake(), RULES, lambda event: None)
    assert (run.progress().phase, run.progress().bytes_done) == ("fetch", 0)
    run._state = TorrentState("check", 7)
    assert (run.progress().phase, run.progress().bytes_done) == ("verify", 7)
    run._state = TorrentState("fetch", 8, 9, 10, 3)
    assert (run.progress().bytes_done, run.progress().bytes_total, run.progress().sources_alive) == (8, run.torrent.size, 3)


def test_names_of_targets(torrent):
    assert given(torrent).name == "n"
    assert given(MAGNET).name == "its name"
    assert given(MAGNET.partition("&")[0]).name == hashlib.sha1(INFO).hexdigest()
    with pytest.raises(NotFound):
        given("/nowhere/x.torrent")
