"""A transport that writes the files of a torrent without any network, and a get through it."""

from __future__ import annotations

import asyncio
import hashlib
import os

from torrents import CONTENTS

from wherry.abc.torrents import TorrentState
from wherry.torrent.read import read_torrent
from wherry.transfer.torrent_in import Rules, TorrentGet, given

DATA, FILES = CONTENTS["hybrid"]
INFO = read_torrent(DATA).info
MAGNET = f"magnet:?xt=urn:btih:{hashlib.sha1(INFO).hexdigest()}&dn=its%20name"
RULES = Rules(portable=True, bytes_max=None, force=False, sync=True, wait_s=None, lost_s=60.0)


class Fake:
    """A transport that has everything."""

    def __init__(self, files=FILES, *, info=INFO, states=(), damage=()):
        self.files, self.info, self.states = files, info, states
        self.damage = list(damage)  # for each call, a file that is spoilt
        self.calls, self.wanted = 0, None

    async def torrent(self, wanted, approve):
        self.calls, self.wanted = self.calls + 1, wanted
        places = wanted.files if wanted.files is not None else await approve(self.info)
        for state in self.states:
            yield state
        for index, (place, content) in enumerate(zip(places, self.files, strict=True)):
            path = os.path.join(wanted.folder, place.path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if content:  # empty ones are core's to make
                with open(path, "wb") as file:
                    file.write(content if index not in self.damage[:1] else content[:-1] + b"!")
        del self.damage[:1]
        yield TorrentState("fetch", sum(map(len, self.files)), sum(map(len, self.files)), 10, 1)


def get(what, target, fake, rules=RULES, observe=None):
    return asyncio.run(
        TorrentGet(given(what), str(target), fake, rules, observe or (lambda event: None)).run(["h:1"], ["http://w/"], 1.0, 2.0)
    )
