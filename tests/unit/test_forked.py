"""A child that forks from a program with an open session: it never hangs, and takes nothing from the parent."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
import asyncio, multiprocessing, os, sys
from contextlib import aclosing
from wherry import Session as AsyncSession
from wherry.errors import UsageError
from wherry.sync import Session
home, data = sys.argv[1:]

def refused(call):
    try:
        call()
    except UsageError as problem:
        assert "in another process" in problem.message, problem
        assert "open one in each process" in problem.hint, problem
        return
    sys.exit("not refused")

def forked(work):
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(20)
    if child.exitcode is None:
        child.kill()
        sys.exit("the child hung")
    assert child.exitcode == 0, child.exitcode

def ended(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""


@pytest.fixture
def program(home, tree):
    def run(text):
        given = [sys.executable, "-W", "error", "-c", HEAD + text, str(home), str(tree)]
        done = subprocess.run(given, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_a_forked_child_is_refused_by_every_way_into_the_session(program):
    program("""
with Session.open(home=home) as session:
    cid = session.add(data).cid
    begun = session.ls(f"{cid}/many")
    next(begun)

    def work():
        refused(lambda: session.stat(cid))
        refused(lambda: list(session.cat(f"{cid}/data/large.bin")))
        refused(lambda: next(begun))
        refused(lambda: session.serve(listen=["http://127.0.0.1:0"]).__enter__())

    forked(work)
    assert len(list(begun)) == 39
    session.stat(cid)
""")


def test_a_session_that_the_child_opens_works(program):
    program("""
def work():
    with Session.open(home=home) as own:
        assert own.stat(cid).kind == "dir"

with Session.open(home=home) as session:
    cid = session.add(data).cid
    forked(work)
""")


def test_a_child_that_leaves_by_the_front_door_closes_nothing_of_its_parent(program):
    program("""
with Session.open(home=home) as session:
    cid = session.add(data).cid
    with session.serve(listen=["http://127.0.0.1:0"]) as listen, Session.open(home=home + "2") as other:
        items = session.cat(f"{cid}/data/large.bin")
        next(items)
        pid = os.fork()
        if pid == 0:
            sys.exit(7)  # leaves all contexts, and ends the interpreter
        ended(pid)
        items.close()
        assert len(os.listdir(f"{home}/run")) == len(os.listdir(f"{home}2/run")) == 1
        assert other.stat(cid, sources=listen).kind == "dir"
    assert session.stat(cid).kind == "dir"
""")


def test_a_child_of_a_loop_is_refused_too(program):
    program("""
async def main():
    async with AsyncSession.open(home=home) as session:
        cid = (await session.add(data)).cid

        async def listed():
            async with aclosing(session.ls(cid)) as entries:
                return [entry async for entry in entries]

        def work():
            refused(lambda: asyncio.run(session.stat(cid)))
            refused(lambda: asyncio.run(listed()))
            refused(lambda: asyncio.run(session.peers()))

        forked(work)
        pid = os.fork()
        if pid == 0:
            try:
                async with session.serve(listen=["http://127.0.0.1:0"]):
                    os._exit(1)
            except UsageError:
                os._exit(7)
        ended(pid)
        await session.stat(cid)

asyncio.run(main())
""")


def test_a_child_of_a_loop_that_leaves_the_session_closes_nothing(program):
    program("""
async def main():
    context = AsyncSession.open(home=home)
    session = await context.__aenter__()
    cid = (await session.add(data)).cid
    pid = os.fork()
    if pid == 0:
        await context.__aexit__(None, None, None)
        os._exit(7)
    ended(pid)
    assert len(os.listdir(f"{home}/run")) == 1
    assert (await session.stat(cid)).kind == "dir"
    await context.__aexit__(None, None, None)

asyncio.run(main())
""")
