"""The control protocol with both ends in one process: answers, typed errors, events, and requests that are wrong."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
from controlling import controlling, raw, request
from getting import World, beside, write

from wherry import errors
from wherry.daemon import places
from wherry.daemon.daemon import opened
from wherry.errors import NotFound, PeerTimeout, PeerUnreachable, TargetBusy, TargetError, UsageError, WherryError
from wherry_cli.control import client as client_module
from wherry_cli.control import server as server_module
from wherry_cli.control.client import connected
from wherry_cli.control.paths import error_in, error_of, status_of
from wherry_cli.control.server import controlled

A = "memory://a"


async def until(control, name, *states):
    async with asyncio.timeout(30):
        while (found := await control.show(name))["state"] not in states:
            await asyncio.sleep(0.01)
    return found


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_a_transfer_from_add_to_the_end(world, tmp_path):
    source = write(tmp_path / "source", {"a": b"x" * 3_000_000, "b": b"y"})
    async with world.shared(source) as cid, controlling(world) as (daemon, control, home):
        added = await control.add(what=cid, output=str(tmp_path / "out"), sources=[A], seed=False)
        assert (added["schema"], added["id"], added["seed"]) == ("wherry/transfer/1", "t1", False)
        found = await until(control, "t1", "complete")
        assert found["bytes_done"] == found["bytes_total"] == 3_000_001
        assert (tmp_path / "out/a").read_bytes() == b"x" * 3_000_000
        assert beside(tmp_path / "out") == []
        listed = await control.transfers()
        assert (listed["schema"], [one["id"] for one in listed["transfers"]]) == ("wherry/transfers/1", ["t1"])
        status = await control.status()
        assert status["schema"] == "wherry/status/1"
        assert (status["home"], status["listen"], status["transfers"]) == (str(home), daemon.listen, {"complete": 1})
        assert status["down_bytes"] >= 1_000_000
        why = await control.why("t1")
        assert why["why"]["current"] is None
        assert (await control.set("t1", seed=True))["state"] == "seeding"
        assert (await control.stop())["pid"] == status["pid"]
        await daemon.stopped()


async def test_errors_travel_with_their_class(world, tmp_path):
    async with controlling(world) as (_, control, _):
        cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        with pytest.raises(NotFound, match="no transfer t1") as caught:
            await control.show("t1")
        assert caught.value.hint == "`wherry transfers` lists them"
        with pytest.raises(UsageError, match="absolute"):
            await control.add(what=cid, output="relative")
        with pytest.raises(UsageError, match="unknown key"):
            await control.add(what=cid, output="/x", colour="red")
        with pytest.raises(errors.CIDError):
            await control.add(what="nonsense", output="/x")
        await control.add(what=cid, output=str(tmp_path / "x"), sources=["memory://nowhere"])
        with pytest.raises(TargetBusy):
            await control.add(what=cid, output=str(tmp_path / "x"))
        for root in ("/", "//", "/x/../."):  # all else lies within it, and no name can be given to it
            with pytest.raises(TargetError, match="cannot be a target"):
                await control.add(what=cid, output=root)
        assert (await control.act("t1", "pause"))["state"] == "paused"
        with pytest.raises(UsageError, match="it cannot pause"):
            await control.act("t1", "pause")
        with pytest.raises(UsageError, match="does not know POST"):
            await control.act("t1", "explode")
        assert (await control.act("t1", "cancel"))["state"] == "cancelled"


def by_scope(found):
    assert found["schema"] == "wherry/limits/1"
    return {one["scope"]: (one["up"], one["down"]) for one in found["limits"]}


async def test_limits_are_changed_and_those_of_a_transfer_are_kept_with_it(world, tmp_path):
    source = write(tmp_path / "source", {"a": b"x" * 2_000_000})
    async with world.shared(source) as cid, controlling(world) as (daemon, control, _):
        traffic = daemon._session._wiring.traffic
        assert by_scope(await control.limits()) == {}
        await control.limit(scope="node", up=5000)
        await control.limit(scope="class:bulk", down=6000)
        await control.limit(scope="peer", up=7000)
        await control.limit(scope="peer:Lab.Example", up=8000, down=9000)
        assert by_scope(await control.limits())["peer:lab.example"] == (8000, 9000)
        await control.limit(scope="peer:lab.example", up=0)
        assert by_scope(await control.limits())["peer:lab.example"] == (None, 9000)
        assert "peer:lab.example" not in by_scope(await control.limit(scope="peer:lab.example", down=0))
        assert by_scope(await control.limit(scope="node", down=10**9)) == {
            "node": (5000, 10**9), "class:bulk": (None, 6000), "peer": (7000, None),
        }  # fmt: skip
        assert traffic.plan.node == (5000, 10**9)
        # So slow that it waits for the limit until that is taken away.
        await control.add(what=cid, output=str(tmp_path / "out"), sources=[A], limit_down=2000)
        await until(control, "t1", "running")
        async with asyncio.timeout(30):
            while (await control.why("t1"))["why"]["current"] != "limited":
                await asyncio.sleep(0.01)
        assert by_scope(await control.limit(scope="transfer:1", up=9000))["transfer:t1"] == (9000, 2000)
        assert (await control.show("t1"))["limit_up"] == 9000
        assert [(one.klass, one.up.limit) for one in traffic.report().transfers if one.name == "t1"] == [("normal", 9000)]
        await control.set("t1", traffic_class="high")
        assert [one.klass for one in traffic.report().transfers if one.name == "t1"] == ["high"]
        for scope, rate, kind in (("transfer:t8", 9000, NotFound), ("node", 1, UsageError), ("transfer:t1", 1, UsageError)):
            with pytest.raises(kind):
                await control.limit(scope=scope, up=rate)
        with pytest.raises(UsageError, match="below"):
            await control.add(what=cid, output="null:", limit_up=1)
        await control.act("t1", "pause")
    async with world.shared(source), controlling(world) as (_, control, _):
        assert by_scope(await control.limits()) == {"transfer:t1": (9000, 2000)}  # the others were the daemon's
        await control.act("t1", "resume")
        assert by_scope(await control.unlimit()) == {}
        await until(control, "t1", "seeding")


async def test_events_tell_what_is_and_then_what_changes(world, tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "_EVENTS_EVERY_S", 0.01)
    monkeypatch.setattr(server_module, "ALIVE_S", 0.05)
    source = write(tmp_path / "source", {"a": b"x" * 100})
    async with world.shared(source) as cid, controlling(world) as (daemon, control, _):
        await control.add(what=cid, output=str(tmp_path / "out"), sources=[A])
        await until(control, "t1", "seeding")
        heard = []
        async with asyncio.timeout(30):
            async for event in control.events():
                assert event["schema"] == "wherry/event/1"
                heard.append((event["event"], event.get("id"), event.get("state")))
                if heard[-1][0] == "listed":
                    await control.add(what=cid, output="null:", sources=[A])
                if heard[-1] == ("transfer", "t2", "seeding"):
                    daemon.runner._entries.pop(1, None)  # its figures may change, and be told, more than once
                    daemon.runner.news.tell(1)
                if heard[-1][0] == "forgotten":
                    break
        assert heard[:2] == [("transfer", "t1", "seeding"), ("listed", None, None)]
        assert heard[-1] == ("forgotten", "t1", None)


async def test_streams_end_with_the_daemon(world, monkeypatch):
    monkeypatch.setattr(server_module, "_EVENTS_EVERY_S", 0.01)
    async with world.node() as session:
        with places.taken(session.home) as seat:
            async with opened(session, listen=["memory://b"]) as daemon, connected_later(session.home) as asking:
                async with controlled(daemon, seat.listen()):
                    asking.set()
                    await until_heard(asking)
                async with asyncio.timeout(30):
                    assert await asking.task == ["listed"]


class Asking(asyncio.Event):
    heard = None
    task = None


async def until_heard(asking):
    async with asyncio.timeout(30):
        await asking.heard.wait()


@asynccontextmanager
async def connected_later(home):
    asking = Asking()
    asking.heard = asyncio.Event()

    async def listen():
        await asking.wait()
        found = []
        async with connected(home) as control:
            async for event in control.events():
                found.append(event["event"])
                asking.heard.set()
        return found

    asking.task = asyncio.create_task(listen())
    try:
        yield asking
    finally:
        asking.task.cancel()
        await asyncio.wait([asking.task])


async def test_a_listener_that_takes_nothing_is_left(world, tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "_EVENTS_EVERY_S", 0.001)
    monkeypatch.setattr(server_module, "_WRITE_S", 0.2)
    async with controlling(world) as (daemon, control, home):
        cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        await control.add(what=cid, output="/" + "x" * 4000, sources=["memory://nowhere"])
        with places.dialable(home) as path, socket.socket(socket.AF_UNIX) as deaf:
            deaf.setblocking(False)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.get_running_loop().sock_connect(deaf, path)
            await asyncio.get_running_loop().sock_sendall(deaf, request("GET", "/v1/events"))
            async with asyncio.timeout(30):
                while not daemon.runner.news._listeners:
                    await asyncio.sleep(0.01)
                while daemon.runner.news._listeners:
                    daemon.runner.news.tell(1)
                    await asyncio.sleep(0.001)
        assert (await control.status())["transfers"]


async def test_many_requests_at_a_time_are_refused(world, monkeypatch):
    monkeypatch.setattr(server_module, "CONTROL_REQUESTS_MAX", 0)
    async with controlling_raw(world) as home:
        found, body = await raw(home, request("GET", "/v1/status"))
    assert found == 503
    assert json.loads(body)["error"] == "PeerBusy"


@asynccontextmanager
async def controlling_raw(world):
    async with world.node() as session:
        with places.taken(session.home) as seat:
            async with opened(session, listen=["memory://b"]) as daemon, controlled(daemon, seat.listen()):
                yield session.home


async def test_a_fault_in_an_answer_is_told_and_logged(world, caplog):
    async with controlling(world) as (daemon, control, _):

        def fault():
            raise ZeroDivisionError

        daemon.status = fault
        with pytest.raises(WherryError, match="unexpected ZeroDivisionError in the daemon"):
            await control.status()
        del daemon.status
        await control.status()
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("name", ["../stop#", "../limits", "t1/why", "t1?x=1", "", "t0"])
async def test_a_name_of_a_transfer_leads_to_nothing_else(name, world):
    async with controlling(world) as (_, control, _):
        for asked in (control.show(name), control.why(name), control.act(name, "pause"), control.set(name, priority=1)):
            with pytest.raises(UsageError, match="no name of a transfer"):
                await asked
        assert (await control.status())["pid"]


async def test_a_daemon_that_does_not_answer(tmp_path, monkeypatch):
    with pytest.raises(NotFound, match="no daemon"):
        async with connected(tmp_path):
            pass
    with places.taken(tmp_path) as seat:
        with pytest.raises(PeerUnreachable, match="does not answer"):
            async with connected(tmp_path, patience_s=0.1):
                pass
        monkeypatch.setattr(client_module, "_ANSWER_S", 0.1)
        with seat.listen(), pytest.raises(PeerTimeout, match="does not answer"):
            async with connected(tmp_path):
                pass


async def test_answers_of_something_else(tmp_path):
    async def answer(reader, writer):
        line = await reader.readline()
        while (await reader.readline()).strip():
            pass
        body = b"" if line.startswith(b"HEAD") else b"<html>" if b"status" in line else b'{"event": 1}\nnonsense\n'
        if b"limits" in line:
            body = b"[]"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    with places.taken(tmp_path) as seat:
        server = await asyncio.start_unix_server(answer, sock=seat.listen())
        async with server, connected(tmp_path) as control:
            for asking in (control.status(), control.limits()):
                with pytest.raises(WherryError, match="something else than JSON"):
                    await asking
            with pytest.raises(PeerUnreachable, match="something else"):
                assert [event async for event in control.events()] == [{"event": 1}]


async def test_a_stream_that_is_cut_off_is_no_end(tmp_path):
    async def answer(reader, writer):
        line = await reader.readline()
        while (await reader.readline()).strip():
            pass
        if b"events" in line:
            writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{"event":1}\r\n1\r\n\n\r\n')
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    heard = []

    async def listen(control):
        async for event in control.events():
            heard.append(event)
            await asyncio.sleep(0)

    with places.taken(tmp_path) as seat:
        server = await asyncio.start_unix_server(answer, sock=seat.listen())
        async with server, connected(tmp_path) as control:
            with pytest.raises(PeerUnreachable, match="the daemon is gone"):
                await listen(control)
    assert heard == [{"event": 1}]


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WherryError)]
)
def test_every_error_is_made_again(kind):
    problem = kind("what", hint="do")
    again = error_of({"error": kind.__name__, "message": "what", "hint": "do"})
    assert (type(again), again.message, again.hint) == (kind, problem.message, problem.hint)
    assert 400 <= status_of(problem) < 600


def test_what_is_no_error():
    assert type(error_of({"error": "ConfigProblems", "message": "m", "exit_code": 3})) is errors.ConfigError
    assert error_in("{}").message.startswith("the daemon answered")
    assert type(error_in('{"message": "m", "error": "WhoKnows"}')) is WherryError
    assert error_in("[" * 100_000).hint == "is it of another version?"
