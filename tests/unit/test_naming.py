"""The verbs of names against trackers and gateways that lie, and the tracker's side of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import aiohttp
import pytest

from wherry.errors import DataError, IntegrityError, NotFound, StoreError, TargetExists, UsageError, WherryError
from wherry.ipns.name import Name
from wherry.ipns.record import create
from wherry.nodekey import NodeKey
from wherry.session import Session
from wherry.testing.hostile import HostileServer, answer
from wherry_locate.naming import records
from wherry_locate.server.options import TrackerServerOptions
from wherry_locate.server.serving import tracking

TYPE = "application/vnd.ipfs.ipns-record"
KEY = NodeKey(b"n" * 32)
NAME = str(Name.of(KEY.public))
FAR = 4_000_000_000 * 10**9
EMPTY = "/ipfs/bafkqaaa"
OTHER = "/ipfs/bafkqabtimvwgy3yk"  # "hello\n", all in its name


def made(number, value=EMPTY, until=FAR, key=KEY):
    return create(key, value, number, until)


@asynccontextmanager
async def tracker(tmp_path, **options):
    async with tracking("http://127.0.0.1:0", tmp_path / "t.db", TrackerServerOptions(**options)) as url:
        yield url


def session(tmp_path, url="", home="home"):
    environ = {"WHERRY_LOCATOR__USE": "tracker", "WHERRY_LOCATOR__TRACKER__URLS": url} if url else {}
    return Session.open(home=tmp_path / home, environ=environ)


async def put(url, record, name=NAME, form=TYPE):
    async with (
        aiohttp.ClientSession() as web,
        web.put(f"{url}/routing/v1/ipns/{name}", data=record, headers={"Content-Type": form}) as done,
    ):
        return done.status


async def ask(url, path, method="GET", **headers):
    async with aiohttp.ClientSession() as web, web.request(method, url + path, headers=headers) as done:
        return done.status, await done.read(), done.headers


def run(work):
    return asyncio.run(work)


def test_a_tracker_keeps_the_best_record_over_a_restart(tmp_path):
    async def work():
        async with tracker(tmp_path) as url:
            assert (await ask(url, f"/routing/v1/ipns/{NAME}"))[0] == 404
            assert await put(url, made(3)) == 200
            assert await put(url, made(3)) == 200
            assert await put(url, made(2)) == 400
            assert await put(url, made(3, until=FAR - 1)) == 400
        async with tracker(tmp_path) as url:
            status, body, headers = await ask(url, f"/routing/v1/ipns/{KEY.peer_id}", Accept=TYPE)
            assert (status, body, headers["Content-Type"]) == (200, made(3), TYPE)
            assert headers["Cache-Control"] == "public, max-age=300"
            assert (await ask(url, f"/routing/v1/ipns/{NAME}", **{"If-None-Match": headers["Etag"]}))[0] == 304

    run(work())


@pytest.mark.parametrize(
    ("record", "name", "form", "status"),
    [
        (made(1, key=NodeKey(b"x" * 32)), NAME, TYPE, 400),
        (made(1, until=10**18), NAME, TYPE, 400),
        (b"", NAME, TYPE, 400),
        (made(1) + bytes(11_000), NAME, TYPE, 400),
        (made(1), "bafkqaaa", TYPE, 400),
        (made(1), "k51", TYPE, 400),
        (made(1), NAME, "application/json", 406),
    ],
)
def test_a_tracker_refuses_what_is_wrong(tmp_path, record, name, form, status):
    async def work():
        async with tracker(tmp_path) as url:
            assert await put(url, record, name, form) == status
            assert (await ask(url, f"/routing/v1/ipns/{NAME}"))[0] == 404

    run(work())


def test_a_flood_of_names_drives_out_itself_and_the_far_future_keeps_nothing(tmp_path):
    now = [1_800_000_000.0]

    async def work():
        options = TrackerServerOptions(names_per_network=3, names_s_max=100)
        async with tracking("http://127.0.0.1:0", tmp_path / "t.db", options, clock=lambda: now[0]) as url:
            keys = [NodeKey(bytes([number]) * 32) for number in range(5)]
            for key in keys:
                assert await put(url, made(1, key=key), str(Name.of(key.public))) == 200
                now[0] += 1
            found = [(await ask(url, f"/routing/v1/ipns/{key.peer_id}"))[0] for key in keys]
            assert found == [404, 404, 200, 200, 200]
            now[0] += 200
            assert (await ask(url, f"/routing/v1/ipns/{keys[4].peer_id}"))[0] == 404

    run(work())


def test_pages_of_browsers_may_ask_where_it_is_allowed(tmp_path):
    async def work():
        async with tracker(tmp_path) as url:
            assert (await ask(url, "/routing/v1/providers/bafkqaaa", Origin="http://a.example"))[0] == 403
        async with tracker(tmp_path, web_pages=True) as url:
            status, _, headers = await ask(url, "/routing/v1/providers/bafkqaaa", Origin="http://a.example")
            assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*")
            status, _, headers = await ask(url, "/routing/v1/ipns/" + NAME, "OPTIONS", Origin="http://a.example")
            assert (status, headers["Access-Control-Allow-Methods"]) == (204, "GET, PUT, OPTIONS")
            status, _, headers = await ask(url, "/routing/v1/ipns/" + NAME, Origin="http://a.example")
            assert (status, headers["Access-Control-Allow-Origin"]) == (404, "*")
            assert (await ask(url, "/routing/v1/dht/closest/peers/" + KEY.peer_id))[0] == 501

    run(work())


def test_publish_resolve_and_another_home_with_the_key(tmp_path):
    async def work():
        async with tracker(tmp_path) as url:
            async with session(tmp_path, url) as mine:
                first = await mine.publish_name(EMPTY)
                second = await mine.publish_name(OTHER, ttl_s=60)
                assert (first.sequence, second.sequence, second.told) == (0, 1, [url])
                with pytest.raises(DataError):
                    await mine.publish_name("bafynonsense")
            keys = tmp_path / "home/keys/names"
            assert (keys / "self.key").stat().st_mode & 0o777 == 0o600
            async with session(tmp_path, url, "other") as other:
                report = await other.resolve_name(f"ipns://{first.name}")
                assert (report.value, report.ttl, report.key) == (OTHER, 60.0, "")
                pieces = [piece async for piece in other.cat(first.name)]
                assert b"".join(pieces) == b"hello\n"
                (tmp_path / "other/keys/names").mkdir(parents=True)
                for folder in ("keys", "keys/names"):
                    (tmp_path / "other" / folder).chmod(0o700)
                copy = tmp_path / "other/keys/names/self.key"
                copy.write_bytes((keys / "self.key").read_bytes())
                copy.chmod(0o600)
                with pytest.raises(IntegrityError, match="published elsewhere"):  # it knows number 1, and did not publish it
                    await other.publish_name(EMPTY)
                assert (await other.publish_name(EMPTY, force=True)).sequence == 2
            async with session(tmp_path, url) as mine:
                with pytest.raises(IntegrityError, match="published elsewhere"):
                    await mine.publish_name(OTHER)
                assert (await mine.publish_name(OTHER, force=True)).sequence == 3
                assert [one.key for one in await mine.names()] == ["self"]

    run(work())


def test_a_name_leads_neither_to_itself_nor_out_of_a_dataset(tmp_path):
    async def work():
        async with session(tmp_path) as mine:
            own = (await mine.publish_name(EMPTY)).name
            for what in (own, f"/ipns/{own}/x", f"{EMPTY}/../x", f"{EMPTY}/./x", f"/ipns/{NAME}/..", f"{EMPTY}/a\0"):
                with pytest.raises(UsageError):
                    await mine.publish_name(what)
            assert (await mine.publish_name(own, key="other")).value == f"/ipns/{own}"
            assert len(await mine.name_log(own)) == 1

    run(work())


def test_what_goes_wrong_with_one_who_is_asked_leaves_nobody_asking(tmp_path):
    async def work():
        async with session(tmp_path) as mine, tracker(tmp_path) as url:
            assert await put(url, made(1)) == 200

            class Carrier:
                async def put_record(self, _name, _record):
                    return []

            class Fails(Carrier):
                async def name_records(self, _name):
                    raise StoreError("broken")
                    yield

            class Slow(Carrier):
                async def name_records(self, name):
                    await asyncio.sleep(0.05)
                    yield url, made(1)
                    over.append(name)

            over = []
            mine._wiring.locators = lambda: [("fails", Fails()), ("slow", Slow())]
            with pytest.raises(StoreError, match="broken"):
                await mine.resolve_name(NAME)
            assert over == [NAME]
            assert (await mine.name_log(NAME))[0].sequence == 1

    run(work())


def test_processes_of_one_home_publish_side_by_side(tmp_path):
    async def work():
        async with session(tmp_path) as one, session(tmp_path) as other:
            name = (await one.publish_name(EMPTY)).name

            class Meanwhile:
                async def name_records(self, _name):
                    if len(published) == 0:
                        published.append(await other.publish_name(OTHER))
                    return
                    yield

                async def put_record(self, _name, _record):
                    return []

            published = []
            one._wiring.locators = lambda: [("meanwhile", Meanwhile())]
            assert (await one.publish_name(EMPTY)).sequence == 2
            assert [event.sequence for event in await one.name_log(name)] == [0, 1, 2]

    run(work())


def test_a_tracker_that_is_silent_hides_no_other(tmp_path):
    async def work():
        async def silent(reader, writer):
            await reader.read(-1)  # until the other side goes
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        dead = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with tracker(tmp_path) as url:
            assert await put(url, made(1)) == 200
            async with asyncio.timeout(30), aclosing(records([dead, url], NAME, 3600.0)) as found:
                assert await anext(found) == (url, made(1))
        server.close()

    run(work())


def test_records_that_go_back_or_contradict_are_said(tmp_path):
    async def work():
        async with tracker(tmp_path) as url, session(tmp_path, url) as mine:
            await mine.import_record(NAME, made(5))
            assert await put(url, made(4, OTHER)) == 200
            report = await mine.resolve_name(NAME)
            assert (report.value, report.sequence) == (EMPTY, 5)
            assert "older record" in report.warnings[0]
            assert await put(url, made(5, OTHER)) == 200
            with pytest.raises(IntegrityError, match="two different records"):
                await mine.resolve_name(NAME)
            with pytest.raises(IntegrityError):
                await mine.import_record(NAME, made(1))
            assert [event.kind for event in await mine.name_log(NAME)] == ["new", "rollback", "equivocation", "rollback"]
            assert await put(url, made(6, OTHER)) == 200
            assert (await mine.resolve_name(NAME)).value == OTHER

    run(work())


def gateway(record, form=TYPE, status=200):
    return HostileServer(answer(lambda _request: record, headers={"Content-Type": form}, status=status))


@pytest.mark.parametrize(
    ("record", "form"),
    [
        (made(1, key=NodeKey(b"x" * 32)), TYPE),
        (made(1, until=10**18), TYPE),
        (made(1), "text/html"),
        (made(1) + bytes(11_000), TYPE),
        (b"", TYPE),
    ],
)
def test_a_gateway_that_lies_gives_nothing(tmp_path, record, form):
    async def work():
        async with session(tmp_path) as mine:
            with gateway(record, form) as server, pytest.raises(NotFound) as missing:
                await mine.resolve_name(NAME, sources=[server.url])
            assert "nobody who could know" not in missing.value.message
            with pytest.raises(NotFound, match="nobody who could know was asked"):
                await mine.resolve_name(NAME)
            assert await mine.names() == []

    run(work())


def test_a_gateway_gives_a_record_and_a_name_may_lead_to_a_name(tmp_path):
    second = NodeKey(b"2" * 32)
    known = {
        NAME: made(1, f"/ipns/{Name.of(second.public)}/a"),
        str(Name.of(second.public)): made(1, OTHER, key=second),
    }

    async def work():
        behaviour = answer(
            lambda request: known[request.path.partition("?")[0].rpartition("/")[2]], headers={"Content-Type": TYPE}
        )
        async with session(tmp_path) as mine:
            with HostileServer(behaviour) as server:
                from wherry.session.names import led

                assert await led(mine, f"{NAME}/b", [server.url]) == f"{OTHER}/a/b"
                known[str(Name.of(second.public))] = made(2, f"/ipns/{NAME}", key=second)
                with pytest.raises(DataError, match="never to content"):
                    await led(mine, NAME, [server.url])

    run(work())


def test_a_name_that_is_over_is_not_used(tmp_path):
    import time

    async def work():
        async with session(tmp_path) as mine:
            soon = int((time.time() + 0.2) * 1e9)
            await mine.import_record(NAME, made(1, until=soon))
            while time.time() * 1e9 <= soon:
                await asyncio.sleep(0.02)
            with pytest.raises(DataError, match="withheld"):
                await mine.resolve_name(NAME)
            assert [event.kind for event in await mine.name_log(NAME)] == ["new", "frozen"]

    run(work())


def test_follow_swaps_a_link_and_nothing_else(tmp_path):
    async def work():
        async with session(tmp_path) as mine:
            await mine.import_record(NAME, made(1, OTHER))
            link = tmp_path / "now"
            (step,) = [one async for one in mine.follow_name(NAME, link=str(link), once=True)]
            assert step.changed
            assert link.read_bytes() == b"hello\n"
            await mine.import_record(NAME, made(2, OTHER + "/nothing"))
            with pytest.raises(WherryError):  # the new version cannot be got
                [one async for one in mine.follow_name(NAME, link=str(link), once=True)]
            assert link.read_bytes() == b"hello\n"
            (tmp_path / "file").write_text("mine")
            with pytest.raises(TargetExists):
                [one async for one in mine.follow_name(NAME, link=str(tmp_path / "file"), once=True)]
            with pytest.raises(UsageError):
                await mine.resolve_name("bafkqaaa")

    run(work())


def test_a_node_gives_records_to_its_gateway(tmp_path):
    async def work():
        async with session(tmp_path) as mine:
            await mine.import_record(NAME, made(1))
            holdings = mine._node.holdings
            assert holdings.record(bytes(Name.parse(NAME))) == made(1)
            assert holdings.record(b"\x12\x20" + bytes(32)) is None
            assert holdings.record(b"junk") is None

    run(work())


def test_nobody_is_given_a_name_that_says_two_things(tmp_path):
    async def work():
        async with session(tmp_path) as mine:
            holdings, wanted = mine._node.holdings, bytes(Name.parse(NAME))
            await mine.import_record(NAME, made(1))
            with pytest.raises(IntegrityError):
                await mine.import_record(NAME, made(1, OTHER))
            assert holdings.record(wanted) is None
            await mine.import_record(NAME, made(2, OTHER))
            assert holdings.record(wanted) == made(2, OTHER)

    run(work())


@pytest.mark.parametrize("schema", ["peer", "bitswap", "graphsync-filecoinv1", "unheard-of"])
def test_records_of_old_schemas_are_read_as_peers(schema):
    from wherry_locate.tracker import _addresses

    said = {"Schema": schema, "ID": KEY.peer_id, "Addrs": ["/ip4/192.0.2.7/tcp/80/http"], "Protocol": "transport-bitswap"}
    assert [str(one) for one in _addresses(json.loads(json.dumps(said)))] == (
        [] if schema == "unheard-of" else ["http://192.0.2.7:80"]
    )
