"""The async face: what reading verbs give and refuse, and that cancelling any verb leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import aclosing

import pytest

from wherry.cid import CID, RAW
from wherry.config import resolve
from wherry.errors import ConfigError, HomeBusy, LocalError, NotFound, PeerError, UsageError
from wherry.results import LsEntry
from wherry.session import Session
from wherry.transfer.scheduler import Scheduler
from wherry.units import MiB


async def collect(items):
    async with aclosing(items) as opened:
        return [item async for item in opened]


async def read(session, what, **options):
    return b"".join(await collect(session.cat(what, **options)))


# Reading what is here, and what another has


class Reading:
    """A session that reads a tree: its own, or that of another home by HTTP."""

    def __init__(self, home, tree, *, remote):
        self.home, self.tree, self.remote = home, tree, remote

    async def __aenter__(self):
        self._contexts = []
        owner = await self._enter(Session.open(home=self.home))
        self.cid = (await owner.add(str(self.tree))).cid
        if not self.remote:
            self.session, self.sources = owner, ()
            return self
        serving = await self._enter(owner.serve(listen=["http://127.0.0.1:0"]))
        self.session = await self._enter(Session.open(home=self.home.with_name("reader")))
        self.sources = tuple(serving.listen)
        return self

    async def _enter(self, context):
        entered = await context.__aenter__()
        self._contexts.append(context)
        return entered

    async def __aexit__(self, *error):
        while self._contexts:
            await self._contexts.pop().__aexit__(None, None, None)


@pytest.fixture(params=["local", "remote"])
def reading(request, home, tree):
    return Reading(home, tree, remote=request.param == "remote")


async def test_cat_gives_any_stretch(reading):
    data = (reading.tree / "data/large.bin").read_bytes()
    async with reading as on:
        what = f"{on.cid}/data/large.bin"
        assert await read(on.session, what, sources=on.sources) == data
        for offset, length in [
            (0, 0), (0, 1), (MiB - 1, 2), (MiB, MiB), (MiB - 1, MiB + 2), (3, None), (len(data) - 1, 9), (len(data), None),
        ]:  # fmt: skip
            stop = None if length is None else offset + length
            got = await read(on.session, what, sources=on.sources, offset=offset, length=length)
            assert got == data[offset:stop], (offset, length)
        assert await read(on.session, f"{on.cid}/empty", sources=on.sources) == b""
        with pytest.raises(NotFound, match="none at"):
            await read(on.session, what, sources=on.sources, offset=len(data) + 1)
        for wrong in ({"offset": -1}, {"length": -1}):
            with pytest.raises(UsageError, match="at least 0"):
                await read(on.session, what, sources=on.sources, **wrong)


async def test_ls_gives_entries_in_order(reading):
    async with reading as on:
        found = await collect(on.session.ls(on.cid, sources=on.sources))
        assert [entry.name for entry in found] == sorted(os.listdir(on.tree), key=str.encode)
        by_name = {entry.name: entry for entry in found}
        assert by_name["many"].kind == "dir"
        assert by_name["many"].entries == 40
        assert by_name["latest"] == LsEntry(
            name="latest", kind="symlink", size=0, cid=None, executable=False, mtime=None, target="data/large.bin", entries=None
        )
        assert by_name["readme.txt"].cid == str(CID.of(RAW, b"hello\n"))
        (script,) = await collect(on.session.ls(f"{on.cid}/bin/run.sh", sources=on.sources))
        assert (script.executable, script.kind) == (True, "file")
        assert [entry.name for entry in await collect(on.session.ls(f"{on.cid}/deep/a/", sources=on.sources))] == ["b"]
        assert await collect(on.session.ls(f"{on.cid}/empty-dir/inside", sources=on.sources)) == []


async def test_stat(reading):
    async with reading as on:
        whole = await on.session.stat(on.cid, sources=on.sources)
        assert (whole.cid, whole.kind, whole.files, whole.held) == (on.cid, "dir", None, not on.remote)
        assert whole.entries == sum(1 for _ in on.tree.rglob("*"))
        large = await on.session.stat(f"{on.cid}/data/large.bin", sources=on.sources)
        assert (large.kind, large.bytes, large.files, large.blocks, large.chunk_bytes) == ("file", 4 * MiB + 12345, 1, 5, MiB)
        empty = await on.session.stat(f"{on.cid}/empty", sources=on.sources)
        assert (empty.bytes, empty.blocks) == (0, 0)
        link = await on.session.stat(f"{on.cid}/latest", sources=on.sources)
        assert (link.kind, link.files, link.blocks) == ("symlink", None, None)
        alone = await on.session.stat(large.cid, sources=on.sources)
        assert (alone.kind, alone.bytes) == ("file", large.bytes)


async def test_paths_that_lead_nowhere(reading):
    async with reading as on:
        for path in ("absent", "deep/absent", "readme.txt/x", "latest/x", "data/.."):
            with pytest.raises(NotFound) as caught:
                await on.session.stat(f"{on.cid}/{path}", sources=on.sources)
            assert caught.value.exit_code == 6
        for path in ("", "/deep", "/latest"):
            with pytest.raises(UsageError, match="not a file"):
                await read(on.session, f"{on.cid}{path}", sources=on.sources)


async def test_a_directory_in_many_pieces(home, tmp_path):
    root = tmp_path / "wide"
    root.mkdir()
    names = sorted(f"{number * 7919 % 3000:04}" for number in range(3000))
    for name in names:
        (root / name).write_bytes(name.encode())
    async with Reading(home, root, remote=True) as on:
        assert [entry.name for entry in await collect(on.session.ls(on.cid, sources=on.sources))] == names
        assert await read(on.session, f"{on.cid}/1234", sources=on.sources) == b"1234"


async def test_what_was_read_is_kept(home, tree):
    async with Reading(home, tree, remote=True) as on:
        first = await read(on.session, f"{on.cid}/readme.txt", sources=on.sources)
        assert await read(on.session, f"{on.cid}/readme.txt") == first  # from the cache: no source is named
        with pytest.raises((NotFound, PeerError)):
            await read(on.session, f"{on.cid}/data/zeros.bin")


async def test_a_file_that_changed_since_is_fetched_instead(home, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"as it was")
    cid = str(CID.of(RAW, b"as it was"))
    async with Session.open(home=home) as session, Session.open(home=home.with_name("other")) as other:
        await session.add(str(path))
        (tmp_path / "y").write_bytes(b"as it was")
        await other.add(str(tmp_path / "y"))
        path.write_bytes(b"now other")
        with pytest.raises((NotFound, PeerError, LocalError)):
            await read(session, cid)
        async with other.serve(listen=["http://127.0.0.1:0"]) as serving:
            assert await read(session, cid, sources=serving.listen) == b"as it was"
            assert (await session.stat(cid, sources=serving.listen)).bytes == 9


# Verify


async def differences(session, cid, path):
    result = await session.verify(cid, str(path))
    assert result.ok is not bool(result.differences)
    return {each.path: each.problem for each in result.differences}


async def test_verify_names_every_kind_of_difference(home, tree, tmp_path):
    async with Session.open(home=home) as session:
        cid = (await session.add(str(tree))).cid
        assert await differences(session, cid, tree) == {}
        (tmp_path / "way").symlink_to(tree)
        assert await differences(session, cid, tmp_path / "way") == {}
        (tree / "readme.txt").write_bytes(b"HELLO\n")
        (tree / "empty").write_bytes(b"x")
        (tree / "many/000.json").unlink()
        (tree / "bin/run.sh").chmod(0o644)
        (tree / "many/001.json").chmod(0o755)
        (tree / "latest").unlink()
        (tree / "latest").symlink_to("readme.txt")
        (tree / "deep/up").unlink()
        (tree / "deep/up").write_bytes(b"")
        (tree / "empty-dir/inside").rmdir()
        (tree / "empty-dir/inside").symlink_to("..")
        (tree / "names/-dash").unlink()
        (tree / "names/-dash").mkdir()
        with (tree / "data/zeros.bin").open("r+b") as file:
            file.seek(MiB)
            file.write(b"x")
        (tree / "many/extra").write_bytes(b"")
        (tree / "zz").mkdir()
        found = await differences(session, cid, tree)
        assert {path: problem.split(" (")[0] for path, problem in found.items()} == {
            "readme.txt": "differs",
            "empty": "has 1 bytes, not 0",
            "many/000.json": "is missing",
            "bin/run.sh": "should be executable",
            "many/001.json": "should not be executable",
            "latest": "points to 'readme.txt', not 'data/large.bin'",
            "deep/up": "should be a symbolic link",
            "empty-dir/inside": "should be a directory",
            "names/-dash": "should be a regular file",
            "data/zeros.bin": "differs",
            "many/extra": "is not in the manifest",
            "zz": "is not in the manifest",
        }
        assert await differences(session, cid, tree / "nothing") == {"": "is missing (No such file or directory)"}


async def test_verify_bounds_what_it_lists(home, tree):
    async with Session.open(home=home) as session:
        cid = (await session.add(str(tree))).cid
        for number in range(50):
            (tree / f"many/{number:03}.json.bak").write_bytes(b"")
        found = await differences(session, cid, tree)
        assert len(found) == 21
        assert found["many"] == "holds 30 more that are not in the manifest"
        assert found["many/000.json.bak"] == "is not in the manifest"


async def test_verify_of_a_wide_directory_names_the_extra_ones(home, tmp_path):
    root = tmp_path / "wide"
    root.mkdir()
    for number in range(2000):
        (root / f"{number:04}").write_bytes(b"")
    async with Session.open(home=home) as session:
        cid = (await session.add(str(root))).cid
        for name in ("0000-", "1234x", "~"):
            (root / name).write_bytes(b"")
        (root / "0999").unlink()
        assert {*await differences(session, cid, root)} == {"0000-", "1234x", "~", "0999"}


# Opening


async def test_opening_says_what_is_wrong(home, tmp_path):
    (tmp_path / "bad.toml").write_text("[nonsense]\n")
    with pytest.raises(ConfigError, match="nonsense"):
        async with Session.open(home=home, config=tmp_path / "bad.toml"):
            pytest.fail("it opened")
    with pytest.raises(ConfigError):
        async with Session.open(home=home, overrides={"memory.budget": "1"}):
            pytest.fail("it opened")
    (tmp_path / "token").write_text("told")
    given = {f"transport.{name}.token_file": str(tmp_path / "token") for name in ("http", "tcp")}
    environ = {"WHERRY_TOKEN": "other", "WHERRY_TRANSPORT__HTTP__TOKEN": "another"}
    async with Session.open(home=home, environ=environ, overrides=given) as session:
        wiring = session._wiring
        for name in ("http", "tcp"):  # what the line says goes before every variable
            assert resolve(wiring.config, "transport", name, wiring.manager, wiring._environ)[1].token == "told"
    async with Session.open(home=home, overrides={"add.mtime": "true"}) as session:
        assert session.config.add.mtime is True
        with pytest.raises(HomeBusy, match=str(os.getpid())):
            async with Session.open(home=home, verb="repair"):
                pytest.fail("two held it")


async def test_addresses_that_nothing_speaks_are_told_at_once(home):
    async with Session.open(home=home) as session:
        for address in ("gopher://x", "nosuchpeer", "http:"):
            with pytest.raises((UsageError, PeerError)):
                await session.stat("bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq", sources=[address])


# Cancelling


async def cancelled(work, after):
    """Cancels ``work`` after a while, twice, and waits for its end; the fixtures look for what it left behind."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.done()
    running = [thread.name for thread in threading.enumerate() if thread.name.startswith("wherry-hash")]
    assert running == []
    return task


AFTER = [0, 0.005, 0.05, 0.3]


@pytest.mark.parametrize("after", AFTER)
async def test_add_can_be_cancelled(home, after):
    async with Session.open(home=home) as session:
        task = await cancelled(session.add("synth://100GiB", observe=lambda event: None), after)
        assert task.cancelled()
        assert (await session.add("synth://1MiB")).bytes == MiB


@pytest.mark.parametrize("after", AFTER)
async def test_reading_can_be_cancelled(home, tree, after):
    async with Reading(home, tree, remote=True) as on:
        cid, sources = on.cid, on.sources
        for work in (
            on.session.stat(cid, sources=sources),
            collect(on.session.ls(f"{cid}/many", sources=sources)),
            read(on.session, f"{cid}/data/large.bin", sources=sources),
            on.session.verify(cid, str(tree), sources=sources, observe=lambda event: None),
            on.session.doctor(),
            on.session.get(cid, sources=sources, output="null:"),
        ):
            await cancelled(work, after)


async def test_waiting_for_a_source_can_be_cancelled(home):
    async with Session.open(home=home) as session:
        cid = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
        for work in (
            session.stat(cid, sources=["http://127.0.0.1:9"]),
            session.get(cid, sources=["http://127.0.0.1:9"], output="null:"),
            read(session, cid, sources=["http://127.0.0.1:9"]),
        ):
            assert (await cancelled(work, 0.2)).cancelled()


@pytest.mark.parametrize("after", AFTER)
async def test_repair_can_be_cancelled(home, after):
    async with Session.open(home=home) as session:
        cid = (await session.add("synth://64MiB")).cid
    async with Session.open(home=home, verb="repair") as session:
        await cancelled(session.repair(observe=lambda event: None), after)
    async with Session.open(home=home, verb="repair") as session:
        assert (await session.repair()).kept == 1
        assert (await session.stat(cid)).held


async def test_cat_reads_from_all_who_have_it_in_the_order_in_which_it_is_needed(home, tmp_path):
    """Each of the two may send half of what is read a second; alone, one would send all."""
    data = os.urandom(24 * MiB)
    (tmp_path / "file").write_bytes(data)
    limits = {"limits.transfer_up": "20 MB/s"}
    async with (
        Session.open(home=home.with_name("a"), overrides=limits) as one,
        Session.open(home=home.with_name("b"), overrides=limits) as two,
        Session.open(home=home) as reader,
    ):
        cid = (await one.add(str(tmp_path / "file"))).cid
        await two.add(str(tmp_path / "file"))
        asked = []
        put = Scheduler.put

        def note(self, job, **more):
            asked.append(more.get("deadline"))
            put(self, job, **more)

        async with one.serve(listen=["http://127.0.0.1:0"]) as first, two.serve(listen=["http://127.0.0.1:0"]) as second:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Scheduler, "put", note)
                assert await read(reader, cid, sources=[*first.listen, *second.listen]) == data
        sent = [session.traffic.report().node.up.bytes for session in (one, two)]
        assert min(sent) >= len(data) / 8
        assert sum(sent) <= 1.1 * len(data)
        leaves = [deadline for deadline in asked if deadline is not None and deadline < float("inf")]
        assert len(leaves) == 24


async def test_serving_can_be_cancelled(home, tree):
    async def serve():
        async with session.serve([str(tree)], listen=["http://127.0.0.1:0"]) as serving:
            await serving.forever()

    async with Session.open(home=home) as session:
        for after in AFTER:
            assert (await cancelled(serve(), after)).cancelled()


async def test_an_iterator_that_is_closed_early_leaves_nothing(home, tree):
    async with Reading(home, tree, remote=True) as on:
        async with aclosing(on.session.cat(f"{on.cid}/data/large.bin", sources=on.sources)) as pieces:
            async for _ in pieces:
                break
        async with aclosing(on.session.ls(f"{on.cid}/many", sources=on.sources)) as entries:
            async for _ in entries:
                break


async def test_what_an_observer_raises_ends_the_verb(home, tree):
    def observe(event):
        raise RuntimeError("enough")

    async with Session.open(home=home) as session:
        cid = (await session.add(str(tree))).cid
        for work in (
            session.add("synth://100GiB", observe=observe),
            session.add(str(tree), observe=observe),
            session.verify(cid, str(tree), observe=observe),
        ):
            with pytest.raises(RuntimeError, match="enough"):
                await work
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
