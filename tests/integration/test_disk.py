"""Disks that are full or may not be written: small file systems of their own, another user, read-only mounts."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from wherry.errors import LocalError, NoSpace, TargetError, Unwritable, WherryError
from wherry.session import Session
from wherry.testing.memory import MemoryNetwork, MemoryTransport
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MIB = 1 << 20
A = "memory://a"
NOBODY = 65534


def mount(path, *words):
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *words, str(path)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let a test mount: {done.stderr.decode().strip()}")


def unmount(path):
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 40 MiB."""
    path = tmp_path / "disk"
    mount(path, "-t", "tmpfs", "-o", "size=40m", "wherry-test")
    yield path
    unmount(path)


@pytest.fixture
def data(tmp_path):
    return filled(tmp_path / "data")


def filled(root):
    root.mkdir()
    rng = random.Random(2)
    (root / "a.bin").write_bytes(rng.randbytes(8 * MIB))
    (root / "b.bin").write_bytes(rng.randbytes(12 * MIB))
    (root / "c").mkdir()
    for number in range(60):
        (root / f"c/{number:02}").write_bytes(rng.randbytes(20_000))
    return root


@asynccontextmanager
async def world(data, tmp_path, home=None):
    network = MemoryNetwork()
    async with Session.open(home=tmp_path / "home-a", environ={}) as sharing:
        cid = (await sharing.add(str(data))).cid
        async with (
            MemoryTransport(network).listen(A, sharing._store),
            Session.open(home=home or tmp_path / "home-b", environ={}) as session,
        ):
            session._wiring.transport = lambda *_, **__: MemoryTransport(network)
            yield session, cid


def fill(path, leaving):
    """Fills a disk but for so many bytes."""
    free = os.statvfs(path)
    with (path / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - leaving))


async def test_too_little_room_is_said_before_anything_is_fetched(data, small_disk, tmp_path):
    fill(small_disk, 30 * MIB)  # the dataset would fit, the reserve would not
    async with world(data, tmp_path) as (session, cid):
        with pytest.raises(NoSpace, match="free") as found:
            await session.get(cid, sources=[A], output=str(small_disk / "copy"))
        assert found.value.hint
        assert os.listdir(small_disk) == ["ballast"]
        plan = await session.get(cid, sources=[A], output=str(small_disk / "copy"), dry_run=True)
        assert plan.free_bytes <= 30 * MIB
        os.unlink(small_disk / "ballast")
        await session.get(cid, sources=[A], output=str(small_disk / "copy"))
    assert list(compare(data, small_disk / "copy")) == []


@pytest.mark.parametrize("free", [0, 9, 12, 21])
async def test_a_disk_that_fills_up_on_the_way_keeps_the_part(data, small_disk, tmp_path, free):
    """Of a selection the size is not known before, so it is met in the middle; then there is room, and it goes on."""
    fill(small_disk, free * MIB)
    options = {"sources": [A], "output": str(small_disk / "copy"), "exclude": ["nothing"]}
    async with world(data, tmp_path) as (session, cid):
        with pytest.raises(NoSpace) as found:
            await session.get(cid, **options)
        assert found.value.exit_code == 8
        assert found.value.hint
        assert not (small_disk / "copy").exists()
        os.unlink(small_disk / "ballast")
        got = await session.get(cid, **options)
    assert list(compare(data, small_disk / "copy")) == []
    assert got.fetched_bytes < got.bytes + 100_000 - (4 * MIB if free > 9 else 0)  # what was done was kept
    assert os.listdir(small_disk) == ["copy"]


async def test_the_journal_may_be_what_does_not_fit(data, small_disk, tmp_path, monkeypatch):
    """No byte is free when the record is written: what was written before it still stands."""
    cut = {"after": 3}

    real = os.write

    def write(fd, data):
        if len(data) == 20:
            cut["after"] -= 1
            if cut["after"] == 0:
                return real(fd, data[:7])
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    async with world(data, tmp_path) as (session, cid):
        with pytest.raises(NoSpace):
            await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
        monkeypatch.undo()
        got = await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert got.fetched_bytes < got.bytes - MIB
    assert list(compare(data, tmp_path / "copy")) == []


async def test_a_home_on_a_full_disk(data, small_disk, tmp_path):
    """The index and the nodes cannot be written. The error is wherry's, and it works once there is room."""
    async with Session.open(home=small_disk / "home", environ={}):
        pass
    fill(small_disk, 0)
    async with world(data, tmp_path, small_disk / "home") as (session, cid):
        with pytest.raises(WherryError) as found:
            await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
        assert found.value.exit_code in (8, 10)
        os.unlink(small_disk / "ballast")
        await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert list(compare(data, tmp_path / "copy")) == []


async def test_a_read_only_disk(data, small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    async with world(data, tmp_path) as (session, cid):
        with pytest.raises(Unwritable, match="Read-only") as found:
            await session.get(cid, sources=[A], output=str(small_disk / "copy"))
    assert (found.value.exit_code, os.listdir(small_disk)) == (8, [])
    assert found.value.hint


@asynccontextmanager
async def on_a_read_only_disk(data, small_disk, network):
    """A home that has the data, on a disk that may not be written any more."""
    async with Session.open(home=small_disk / "home", environ={}) as session:
        cid = (await session.add(str(data))).cid
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    async with Session.open(home=small_disk / "home", environ={}) as session:
        session._wiring.transport = lambda *_, **__: MemoryTransport(network)
        yield session, cid


async def test_a_home_that_may_not_be_written_can_be_read_and_served(data, small_disk, tmp_path):
    network = MemoryNetwork()
    async with on_a_read_only_disk(data, small_disk, network) as (session, cid):
        assert [entry.name async for entry in session.ls(cid)] == ["a.bin", "b.bin", "c"]
        assert b"".join([piece async for piece in session.cat(f"{cid}/c/07")]) == (data / "c/07").read_bytes()
        assert (await session.verify(cid, str(data))).ok
        assert (await session.store_stat()).files == 62
        [home] = [check for check in await session.doctor() if check.name == "home"]
        assert (home.status, home.detail.endswith("; read-only")) == ("warn", True)
        async with (
            MemoryTransport(network).listen(A, session._store),
            Session.open(home=tmp_path / "home-b", environ={}) as other,
        ):
            other._wiring.transport = lambda *_, **__: MemoryTransport(network)
            await other.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert list(compare(data, tmp_path / "copy")) == []


async def test_a_home_that_may_not_be_written_says_so_before_anything_is_fetched(data, small_disk, tmp_path):
    (data / "more").write_bytes(b"something that this home has not")
    network = MemoryNetwork()
    async with (
        on_a_read_only_disk(tmp_path / "data/c", small_disk, network) as (session, mine),
        Session.open(home=tmp_path / "home-a", environ={}) as sharing,
    ):
        cid = (await sharing.add(str(data))).cid
        async with MemoryTransport(network).listen(A, sharing._store):
            for verb in (
                session.get(cid, sources=[A], output=str(tmp_path / "copy")), session.add(str(data)), session.cache_warm(mine),
                session.import_car(str(tmp_path / "no.car")), session.cache_stat(), session.publish_name(mine),
            ):  # fmt: skip
                with pytest.raises(Unwritable, match="is read-only") as found:
                    await verb
                assert (found.value.exit_code, "--home" in found.value.hint) == (8, True)
            assert not (tmp_path / "copy").exists()
            plan = await session.get(cid, sources=[A], output=str(tmp_path / "copy"), dry_run=True)
            assert plan.files == 63
            said = b"".join([piece async for piece in session.cat(f"{cid}/more", sources=[A])])
            assert said == (data / "more").read_bytes()  # what was fetched for that is not kept


async def test_a_complete_target_on_a_read_only_disk_is_complete(data, small_disk, tmp_path):
    async with world(data, tmp_path) as (session, cid):
        await session.get(cid, sources=[A], output=str(small_disk / "copy"))
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        assert (await session.get(cid, sources=[A], output=str(small_disk / "copy"))).fetched_bytes == 0


async def test_a_parent_that_is_missing_is_made_and_one_that_is_a_file_is_an_error(data, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    async with world(data, tmp_path) as (session, cid):
        await session.get(cid, sources=[A], output=str(tmp_path / "not/yet/here"))
        for place in ("file/copy", "file/deeper/copy"):
            with pytest.raises(TargetError, match="hint: name a place on a disk") as found:
                await session.get(cid, sources=[A], output=str(tmp_path / place))
            assert found.value.exit_code == 9  # of no use, whoever may write there
    assert list(compare(data, tmp_path / "not/yet/here")) == []
    assert (tmp_path / "file").read_bytes() == b"mine"


async def test_a_name_that_is_too_long_for_the_disk(data, tmp_path):
    async with world(data, tmp_path) as (session, cid):
        await session.get(cid, sources=[A], output=str(tmp_path / ("n" * 255)))  # the hidden names are shorter
        with pytest.raises(LocalError):
            await session.get(cid, sources=[A], output=str(tmp_path / ("n" * 256)))
    assert list(compare(data, tmp_path / ("n" * 255))) == []
    assert [name for name in os.listdir(tmp_path) if "wherry-" in name] == []


async def test_a_limit_of_the_process_on_file_sizes_is_no_space(data, tmp_path):
    """EFBIG, as quotas of some file systems give it; SIGXFSZ is ignored by Python."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with world(data, tmp_path) as (session, cid):
        resource.setrlimit(resource.RLIMIT_FSIZE, (6 * MIB, before[1]))
        try:
            with pytest.raises(NoSpace):
                await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
    assert list(compare(data, tmp_path / "copy")) == []


@pytest.fixture
def as_nobody():
    """What it gives makes this process a user who may write only where he is let, for the time of the test."""
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    yield lambda: os.seteuid(NOBODY)
    os.seteuid(0)


@pytest.fixture
def passable():
    """A folder below which anybody may read; below pytest's nobody may, and each pytest that begins sees to that."""
    with tempfile.TemporaryDirectory(prefix="wherry-") as path:
        os.chmod(path, 0o711)
        yield Path(path)


async def test_a_directory_that_may_not_be_written(as_nobody, passable):
    tmp_path, data = passable, filled(passable / "data")
    (tmp_path / "shut").mkdir(mode=0o755)
    async with world(data, tmp_path) as (session, cid):
        await session.get(cid, sources=[A], output=str(tmp_path / "first"))
        shutil.rmtree(tmp_path / "first")  # all modules are imported by now, which nobody may not be able to read
        for path in [tmp_path / "home-b", *(tmp_path / "home-b").rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        as_nobody()
        with pytest.raises(Unwritable, match="Permission denied") as found:
            await session.get(cid, sources=[A], output=str(tmp_path / "shut/copy"))
        os.seteuid(0)
        assert found.value.hint
        assert os.listdir(tmp_path / "shut") == []
        os.chown(tmp_path / "shut", NOBODY, NOBODY)
        as_nobody()
        await session.get(cid, sources=[A], output=str(tmp_path / "shut/copy"))
        os.seteuid(0)
    assert list(compare(data, tmp_path / "shut/copy")) == []
    assert (tmp_path / "shut/copy").stat().st_uid == NOBODY
