"""kill -9 at each step of publish, resolve and follow: no number goes back, and the link never leads to half a version."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import name_kills
import pytest
from name_kills import STEPS, opened

from wherry.errors import NotFound
from wherry.ipns.name import Name
from wherry.ipns.record import opened as read_record

EMPTY = "/ipfs/bafkqaaa"
OTHER = "/ipfs/bafkqabtimvwgy3yk"
pytestmark = [pytest.mark.uncounted, pytest.mark.timeout(180)]


def killed(verb, step, folder, value=EMPTY):
    """Runs a verb in a process that dies at a step; gives what it had said by then."""
    line = [sys.executable, name_kills.__file__, verb, step, str(folder), value]
    environ = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(line, capture_output=True, check=False, timeout=120, env=environ)
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr.decode())
    return done.stdout.decode()


def carried(folder, name):
    path = folder / "carried"
    return read_record(path.read_bytes(), Name.parse(name)).sequence if path.exists() else -1


@pytest.mark.parametrize("step", STEPS["publish"])
async def test_a_number_that_anybody_may_have_seen_is_never_signed_again(tmp_path, step):
    async with opened(tmp_path, "publisher") as session:
        name = (await session.publish_name(EMPTY)).name
    assert killed("publish", step, tmp_path, OTHER) == ""
    seen = carried(tmp_path, name)
    assert seen == (1 if step == "handed over" else 0)
    async with opened(tmp_path, "publisher") as session:
        known = session._names.known(Name.parse(name)).record
        assert known.sequence >= seen  # on disk before it left
        assert known.sequence == (0 if step in ("signed", "written") else 1)
        again = await session.publish_name(EMPTY)  # nobody else has the key, and it is not taken for that
        assert again.sequence == known.sequence + 1
    assert carried(tmp_path, name) == again.sequence


@pytest.mark.parametrize("step", STEPS["resolve"])
async def test_what_was_resolved_is_on_disk_before_it_is_used(tmp_path, step):
    async with opened(tmp_path, "publisher") as session:
        name = (await session.publish_name(EMPTY)).name
        old = (tmp_path / "carried").read_bytes()
        async with opened(tmp_path, "reader") as reader:
            await reader.resolve_name(name)
        await session.publish_name(OTHER)
    assert killed("resolve", step, tmp_path) == ""  # it was not used
    (tmp_path / "carried").write_bytes(old)  # whoever carries it goes back meanwhile
    async with opened(tmp_path, "reader") as reader:
        found = await reader.resolve_name(name)
        if step == "written":  # as if it had never been seen
            assert (found.value, found.sequence, found.warnings) == (EMPTY, 0, [])
        else:
            assert (found.value, found.sequence) == (OTHER, 1)
            assert "older record" in found.warnings[0]


def filled(root, seed):
    rng = random.Random(seed)
    root.mkdir(parents=True)
    for name in ("a.bin", "b.bin"):
        (root / name).write_bytes(rng.randbytes(3 << 20))
    return root


def content(root):
    return {path.name: path.read_bytes() for path in Path(root).iterdir()}


async def two_versions(tmp_path):
    """Publishes two versions; the reader has followed the first one. Gives the name, the CIDs and the contents."""
    link, data = tmp_path / "now", tmp_path / "data"
    async with opened(tmp_path, "publisher") as publisher:
        cids, wholes = [], []
        for seed in (1, 2):
            cids.append((await publisher.add(str(filled(data / str(seed), seed)))).cid)
            wholes.append(content(data / str(seed)))
        name = (await publisher.publish_name(cids[0])).name
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving, opened(tmp_path, "reader") as reader:
            reader._addresses = lambda sources, ticket: list(serving.listen)
            assert [one.changed async for one in reader.follow_name(name, link=str(link), once=True)] == [True]
        await publisher.publish_name(cids[1])
    return name, cids, wholes


async def followed_again(tmp_path, name, **options):
    async with opened(tmp_path, "publisher") as publisher, opened(tmp_path, "reader") as reader:
        assert reader._names.known(Name.parse(name)).record.sequence == 1  # before anything of it was fetched
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving:
            reader._addresses = lambda sources, ticket: list(serving.listen)
            (found,) = [one async for one in reader.follow_name(name, link=str(tmp_path / "now"), once=True, **options)]
    return found


@pytest.mark.parametrize("step", STEPS["follow"])
async def test_the_link_leads_to_a_whole_version_whenever_the_follower_dies(tmp_path, step):
    link = tmp_path / "now"
    name, cids, wholes = await two_versions(tmp_path)
    assert killed("follow", step, tmp_path) == ""
    assert content(link) == wholes[1 if step == "swapped" else 0]
    found = await followed_again(tmp_path, name)
    assert found.changed is (step != "swapped")
    assert content(link) == wholes[1]
    assert sorted(os.listdir(tmp_path / "now.versions")) == sorted(cids)  # and no half of one
    assert not os.path.lexists(tmp_path / "now.next")


@pytest.mark.parametrize("keep", [1, None])
@pytest.mark.parametrize("step", STEPS["prune"])
async def test_a_removal_that_was_killed_leaves_the_link_right_and_is_ended_by_the_next_run(tmp_path, step, keep):
    name, cids, wholes = await two_versions(tmp_path)
    assert killed("prune", step, tmp_path) == ""
    left = sorted(os.listdir(tmp_path / "now.versions"))
    assert left == sorted([cids[1]] if step == "gone" else [cids[1], f".{cids[0]}.wherry-removed"])  # no half under its name
    assert content(tmp_path / "now") == wholes[1]
    found = await followed_again(tmp_path, name, keep=keep)
    assert (found.changed, found.removed, found.warnings) == (False, [], [])
    assert os.listdir(tmp_path / "now.versions") == [cids[1]]
    assert content(tmp_path / "now") == wholes[1]
    async with opened(tmp_path, "reader") as reader:
        assert [os.path.basename(row.path) for row in reader._store.state.roots()] == [cids[1]] or (step, keep) == (
            "going",
            None,
        )


async def test_a_reader_that_knows_nothing_says_so(tmp_path):
    async with opened(tmp_path, "reader") as reader:
        with pytest.raises(NotFound):
            await reader.resolve_name("k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8")
