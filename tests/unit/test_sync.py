"""The plain face: every verb from code without a loop, from several threads, and nothing left behind (specs/0011 §3)."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time

import pytest

from wherry.errors import HomeBusy, NotFound, UsageError, WherryError
from wherry.results import AddResult, GetPlan, GetResult, RepairResult
from wherry.sync import Session


@pytest.fixture
def session(home):
    with Session.open(home=home) as opened:
        yield opened


def lies(path):
    return "file://" + str(path)


def test_every_verb(home, tree, tmp_path):
    with Session.open(home=home) as session:
        added = session.add(str(tree), name="tree")
        assert isinstance(added, AddResult)
        assert session.stat(added.cid).meta == {"name": "tree"}
        assert [entry.name for entry in session.ls(f"{added.cid}/deep")] == ["a", "up"]
        data = (tree / "data/large.bin").read_bytes()
        assert b"".join(session.cat(f"{added.cid}/data/large.bin")) == data
        assert b"".join(session.cat(f"{added.cid}/data/large.bin", offset=(1 << 20) - 3, length=6)) == data[1048573:1048579]
        assert session.verify(added.cid, str(tree)).ok
        assert any(check.name == "home" for check in session.doctor())
        with session.serve(listen=["http://127.0.0.1:0"]) as listen, Session.open(home=tmp_path / "other") as other:
            plan = other.get(added.cid, sources=listen, output=str(tmp_path / "copy"), dry_run=True)
            assert isinstance(plan, GetPlan)
            got = other.get(added.cid, sources=listen, output=str(tmp_path / "copy"))
            assert isinstance(got, GetResult)
            assert got.fetched_bytes > 0
            assert other.verify(added.cid, str(tmp_path / "copy")).ok
    with Session.open(home=home, verb="repair") as session:
        repaired = session.repair()
        assert isinstance(repaired, RepairResult)
        assert (repaired.roots, repaired.dropped, repaired.set_aside) == (1, [], [])


def test_a_home_and_a_configuration_may_be_told_as_text(home, tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text("[add]\nunixfs = false\n")
    with Session.open(home=str(home), config=str(tmp_path / "own.toml"), environ={}) as session:
        (tmp_path / "x").write_bytes(b"x")
        assert session.add(str(tmp_path / "x")).unixfs_cid is None
    monkeypatch.setenv("HOME", str(tmp_path))
    with Session.open(home="~/within", environ={}):
        assert (tmp_path / "within" / "FORMAT").exists()


def test_errors_are_wherrys_own(session, tree):
    cid = session.add(str(tree)).cid
    for call in (
        lambda: session.add("/nonexistent"),
        lambda: session.stat(f"{cid}/absent"),
        lambda: list(session.ls(f"{cid}/absent")),
        lambda: list(session.cat(f"{cid}/absent")),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(UsageError, match="directory"):
        list(session.cat(cid))
    with pytest.raises(UsageError, match="alone"):
        session.repair()


def test_a_home_that_is_held_is_an_error_on_entering(session, home):
    with pytest.raises(HomeBusy, match="wherry python"):
        with Session.open(home=home, verb="repair"):
            pytest.fail("two held it")


def test_several_threads_use_one_session(session, tree):
    cid = session.add(str(tree)).cid
    data = (tree / "data/large.bin").read_bytes()
    found, problems = [], []

    def use(number):
        try:
            for _ in range(3):
                assert b"".join(session.cat(f"{cid}/data/large.bin")) == data
                assert session.add(str(tree)).cid == cid
                assert len(list(session.ls(f"{cid}/many"))) == 40
                found.append(number)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(found) == 15


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_an_iterator_that_is_closed_early_leaves_nothing(session, tree, taken):
    cid = session.add(str(tree)).cid
    for make in (lambda: session.cat(f"{cid}/data/large.bin"), lambda: session.ls(f"{cid}/many")):
        items = make()
        for _ in range(taken):
            next(items)
        items.close()
    assert session._loop._tasks == set()


def test_closing_an_iterator_waits_until_what_it_opened_is_closed(session):
    ended = []

    async def items():
        try:
            for number in range(10):  # it runs ahead by what the queue holds, and must not be at its end
                yield number
        finally:
            await asyncio.sleep(0.05)
            ended.append(True)

    found = session._each(items())
    assert next(found) == 0
    found.close()
    assert ended == [True]


def test_an_iterator_that_outlives_its_session(home, tree):
    with Session.open(home=home) as session:
        cid = session.add(str(tree)).cid
        items, untouched = session.ls(f"{cid}/many"), session.ls(f"{cid}/many")
        next(items)
    for late in (items, untouched):
        with pytest.raises(UsageError, match="closed"):
            list(late)
    dropped = session.ls(cid)
    del items, untouched, dropped
    gc.collect()


def test_a_closed_session_says_so(home, tree):
    with Session.open(home=home) as session:
        pass
    for call in (lambda: session.add(str(tree)), session.doctor, lambda: list(session.ls("x"))):
        with pytest.raises(UsageError, match="closed"):
            call()


def test_leaving_ends_what_other_threads_do(home):
    ended = []

    def add():
        try:
            session.add("synth://200GiB")
        except WherryError as problem:
            ended.append(problem)

    def serve():
        try:
            with session.serve(listen=["http://127.0.0.1:0"]):
                serving.set()
                session._loop.spawn(never()).result()
        except WherryError as problem:
            ended.append(problem)

    async def never():
        await asyncio.Event().wait()

    serving = threading.Event()
    threads = [threading.Thread(target=add), threading.Thread(target=serve)]
    with Session.open(home=home) as session:
        for thread in threads:
            thread.start()
        assert serving.wait(20)
        time.sleep(0.2)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert [type(problem) for problem in ended] == [UsageError] * 2


def interrupt():
    """What Ctrl-C does: the kernel hands the signal to the main thread."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_an_interrupt_ends_the_verb_and_what_was_read_is_kept(session):
    seen = []

    def observe(event):
        seen.append(event)
        if len(seen) == 3:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        session.add("synth://200GiB?seed=1", observe=observe)
    assert session._loop._tasks == set()
    files, leaves = session._session._store.index.usage()
    assert files == 1
    assert leaves > 0


def test_an_interrupt_while_an_iterator_waits(session, tree):
    cid = session.add(str(tree)).cid
    items = session.cat(f"{cid}/data/large.bin")
    next(items)
    threading.Timer(0.2, interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(10)
    items.close()
    assert session._loop._tasks == set()


def test_what_an_observer_raises_ends_the_verb(session):
    class Enough(Exception):
        pass

    def observe(event):
        raise Enough

    with pytest.raises(Enough):
        session.add("synth://200GiB?seed=2", observe=observe)


def test_an_observer_cannot_wait_for_its_own_loop(session):
    problems = []

    def observe(event):
        with pytest.raises(UsageError, match="observer"):
            session.doctor()
        problems.append(event)

    session.add("synth://1MiB", observe=observe)
    assert problems


def test_many_sessions_one_after_another(home, tmp_path):
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for number in range(5):
        with Session.open(home=home) as session:
            session.add(f"synth://1MiB?seed={number}")
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
