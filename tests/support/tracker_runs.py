"""A tracker over real HTTP, on a virtual clock, and somebody who speaks to it."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp

from wherry.cid import CID, RAW
from wherry.nodekey import NodeKey
from wherry_locate.announcement import Announcement, encode
from wherry_locate.server.options import TrackerServerOptions
from wherry_locate.server.serving import tracking

KEY = NodeKey(bytes(32))
OPTIONS = TrackerServerOptions()
CID_ = CID.of(RAW, b"x")
NOW = 1_795_829_243.0
BOTH = ("transport-wherry-tcp", "transport-wherry-http")
HERE = ("/ip4/127.0.0.1/tcp/4290",)
JSON = {"Content-Type": "application/json"}


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


class Running:
    """A tracker, and somebody who speaks to it."""

    def __init__(self, url, session, clock):
        self.url, self.session, self.clock = url, session, clock
        self._at = 0

    async def get(self, path, **headers):
        async with self.session.get(self.url + path, headers=headers) as response:
            return response.status, response.headers, await response.text()

    async def providers(self, cid=CID_, query=""):
        status, _, text = await self.get(f"/routing/v1/providers/{cid}{query}")
        assert status == 200
        return json.loads(text)["Providers"]

    async def put(self, body, **headers):
        async with self.session.put(f"{self.url}/routing/v1/providers", data=body, headers=JSON | headers) as response:
            return response.status, await response.text()

    async def announce(self, *, key=KEY, at=None, addrs=HERE, cids=(CID_,), ttl_s=60.0, headers=None, protocols=BOTH, **more):
        self._at += 1
        when = int((self.clock.now if at is None else at) * 1e6) + self._at
        said = Announcement(key.peer_id, when, ttl_s, addrs, protocols, cids, **more)
        return await self.put(encode(said, key), **(headers or {}))


@asynccontextmanager
async def running(tmp_path, listen="http://127.0.0.1:0", **changes):
    clock = Clock()
    options = replace(OPTIONS, **changes)
    async with (
        tracking(listen, tmp_path / "t/records.db", options, clock=clock, chance=random.Random(1)) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        yield Running(url, session, clock)
