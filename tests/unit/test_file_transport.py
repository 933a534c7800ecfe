"""The file transport: addresses, homes and copies that are not what they seem."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from wherry.errors import PeerError, PeerUnreachable, UsageError
from wherry.store.store import Store
from wherry.testing.blocks import CountedPool, fetch_once, harvest
from wherry.testing.leaves import file_of, right
from wherry_file.transport import FileTransport, path_of


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///a/b", "/a/b"), ("file://localhost/a", "/a"), ("file:///a%20b/%C3%BC", "/a b/ü"), ("file:/a", "/a"),
        ("file:///a/../b/./c", "/b/c"),
    ],
)  # fmt: skip
def test_addresses(address, path):
    assert path_of(address) == path


@pytest.mark.parametrize("address", ["file:", "file://", "file:a", "file://host/a", "http:///a", "/a", "file:///a%00b", ""])
def test_what_is_no_address(address):
    with pytest.raises(UsageError):
        path_of(address)


async def test_nothing_is_there(tmp_path):
    with pytest.raises(PeerUnreachable, match="nothing at"):
        async with FileTransport().connect(f"file://{tmp_path}/none"):
            pass


async def test_one_file_is_a_dataset(tmp_path):
    file = [leaf._replace(want=leaf.want._replace(path="")) for leaf in file_of("f", 1000, 300)]
    (tmp_path / "f").write_bytes(b"".join(leaf.data for leaf in file))
    async with FileTransport().connect(f"file://{tmp_path}/f") as channel:
        wants = [leaf.want for leaf in file]
        right(await harvest(channel, wants, CountedPool()), file)
        inside = [want._replace(path="f") for want in wants]
        assert (await fetch_once(channel, inside, CountedPool())).missing == {0, 1}


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "link", "loop/f", "fifo", "sub", "short", "a/../f", ""])
async def test_what_is_not_the_file_that_is_meant_is_missing(path, tmp_path):
    leaf = file_of("outside", 6)[0]
    (tmp_path / "outside").write_bytes(leaf.data)
    copy = tmp_path / "copy"
    (copy / "sub").mkdir(parents=True)
    (copy / "f").write_bytes(leaf.data)
    (copy / "short").write_bytes(leaf.data[:3])
    (copy / "link").symlink_to("../outside")
    (copy / "loop").symlink_to(".")
    os.mkfifo(copy / "fifo")
    async with FileTransport().connect(f"file://{copy}") as channel:
        pool = CountedPool()
        found = await fetch_once(channel, [leaf.want._replace(path=path)], pool)
        assert (found.missing, found.blocks, pool.out) == ({0}, {}, 0)


async def test_other_bytes_under_the_right_name_are_refused(tmp_path):
    leaf = file_of("f", 6)[0]
    (tmp_path / "f").write_bytes(b"other!")
    async with FileTransport().connect(f"file://{tmp_path}") as channel:
        assert (await fetch_once(channel, [leaf.want], CountedPool())).rejected == {0}


def home_in(folder):
    folder.mkdir()
    (folder / "FORMAT").write_text("wherry-home 1\n")
    Store(folder, None).close()
    return folder


async def test_a_home_that_is_damaged_is_a_peers_fault(tmp_path):
    home = home_in(tmp_path / "home")
    (home / "index.db").write_bytes(b"damaged" * 999)
    with pytest.raises(PeerUnreachable, match=r"index\.db"):
        async with FileTransport().connect(f"file://{home}"):
            pass


async def test_a_home_that_fails_midway_is_a_peers_fault(tmp_path):
    home = home_in(tmp_path / "home")
    async with FileTransport().connect(f"file://{home}") as channel:
        pool = CountedPool()
        wants = [file_of("f", 6)[0].want]
        assert (await fetch_once(channel, wants, pool)).missing == {0}
        with closing(channel._source.index):
            pass
        with pytest.raises(PeerError) as caught:
            await fetch_once(channel, wants, pool)
        assert str(home) in caught.value.peer
        assert pool.out == 0
