"""Who is connected to a daemon, as `wherry peers` shows it: asked of the daemon where one runs (specs/0029 §8)."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from getting import write

from wherry.abc.exchange import PeerInfo
from wherry.cid import CID, RAW
from wherry.daemon import places
from wherry.daemon.daemon import opened
from wherry.daemon.peers import connected as connections
from wherry.errors import NotFound, PeerProtocolError
from wherry.peer_results import ConnectedReport, PeerReport
from wherry.session import Session
from wherry.swarm.stats import PeerStats
from wherry.traffic import Pair, Plan, Traffic
from wherry_cli.control.client import connected
from wherry_cli.control.server import controlled
from wherry_cli.verbs.peers import connection, read

ROOT = CID.of(RAW, b"root")


def stats(info, **more):
    figures = {
        "since": 90.0, "uploaded": 1000, "downloaded": 5000, "choking": False, "choked": False, "interested": False,
        "waiting": 0, "serving": 0, "has": {},
    }  # fmt: skip
    return PeerStats(info=info, **(figures | more))


def test_what_is_known_of_a_connection_is_put_together():
    seconds = [100.0]
    traffic = Traffic(Plan(peers={"12D3Koo": Pair(up=5000.0)}), clock=lambda: seconds[0])
    for name in ("t1", "t2"):
        traffic.flow(name).of_peer("12D3Koo").moved(up=1000, down=2000)
    seconds[0] += 1.0
    proven = PeerInfo("tcps", "12D3Koo", "tcps://10.0.0.7:1", "10.0.0.7", incoming=True)
    plain = PeerInfo("tcp", "", "tcp://10.0.0.8:1", "10.0.0.8", incoming=False)
    known = [PeerReport(
        key="12D3Koo", proven=True, address="", first=0, last=0, score=0.75, reliability=1, goodput=1, latency=1, integrity=1,
        useful=1, failed=0, wrong=0, rejected=0, rate=0, latency_s=0, down_bytes=0, up_bytes=0,
    )]  # fmt: skip
    found = connections(
        [stats(plain, downloaded=1, choked=True), stats(proven, choking=True, interested=True, has={ROOT: 5})],
        known, traffic.report(), now=100.0,
    )  # fmt: skip
    first, second = found
    assert (first.key, first.score, first.seconds, first.limit_up, first.limit_down) == ("12D3Koo", 0.75, 10.0, 5000.0, None)
    assert first.up_rate > 0
    assert first.down_rate > 0
    assert (first.datasets, first.choking, first.incoming) == (1, True, True)
    assert (second.key, second.score, second.up_rate, second.choked) == ("tcp://10.0.0.8:1", None, 0.0, True)
    assert "limit up" in connection(first)
    assert "choked" in connection(first)
    assert "chokes us" in connection(second)
    assert connection(second).startswith("new")
    told = json.loads(json.dumps(first.to_json()))
    assert read(ConnectedReport, told | {"later": 1}) == first
    del told["ip"]
    with pytest.raises(PeerProtocolError, match="'ip'"):
        read(ConnectedReport, told)


async def test_a_daemon_tells_who_is_connected_and_what_a_score_is_made_of(tmp_path):
    source = write(tmp_path / "source", {"a": os.urandom(12_000_000)})
    own, others = (Session.open(home=tmp_path / name, environ={}) for name in ("own", "other"))
    async with own as session, others as other:
        with places.taken(session.home) as seat:
            async with opened(session, listen=["tcp://127.0.0.1:0"]) as daemon, controlled(daemon, seat.listen()):
                async with connected(session.home) as control, other.serve(listen=["tcp://127.0.0.1:0"]) as serving:
                    assert (await control.peers())["connected"] == []
                    cid = (await other.add(str(source))).cid
                    other.traffic.set(Plan(node=Pair(up=1_000_000)))
                    await control.add(what=str(cid), output=str(tmp_path / "out"), sources=list(serving.listen))
                    async with asyncio.timeout(30):
                        seen = {"down_rate": False, "down_bytes": False}
                        while not all(seen.values()):
                            found = await control.peers()
                            seen = {key: seen[key] or any(each[key] for each in found["connected"]) for key in seen}
                            await asyncio.sleep(0.02)
                    assert found["schema"] == "wherry/peers/1"
                    (one,) = [read(ConnectedReport, each) for each in found["connected"]]
                    assert (one.ip, one.incoming, one.choked) == ("127.0.0.1", False, False)
                    assert one.address == serving.listen[0]
                    with pytest.raises(NotFound, match="no peer that is remembered"):
                        await control.peer("some/body?x=1&y")
                    other.traffic.set(Plan())
                    async with asyncio.timeout(30):
                        while (await control.show("t1"))["state"] not in ("complete", "seeding"):
                            await asyncio.sleep(0.02)
