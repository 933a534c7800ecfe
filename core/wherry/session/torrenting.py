"""The verb that brings what a torrent or a magnet link names, and addresses it by CID (specs/0036 §9)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from wherry.address import without_user
from wherry.car_results import TorrentFetched
from wherry.errors import PluginContractError, UsageError
from wherry.limits import TORRENT_PEERS_MAX, TORRENT_WEBSEEDS_MAX
from wherry.offload import in_thread
from wherry.redaction import masked
from wherry.session.adding import Adding
from wherry.session.parts import absolute, quiet
from wherry.session.telling import told
from wherry.transfer.pace import paced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.observe import Observe
    from wherry.transfer.select import Names

TRANSPORT: Final = "torrent"  # its name in the configuration


class Torrenting(Adding):
    """Get of torrents."""

    @told
    async def get_torrent(
        self,
        what: str,
        *,
        sources: Sequence[str] = (),
        output: str | None = None,
        force: bool = False,
        wait_s: float | None = None,
        names: Names | None = None,
        max_bytes: int | None = None,
        observe: Observe | None = None,
    ) -> TorrentFetched:
        """Downloads what a torrent (a path) or a magnet link names, compares it, adds it, and gives its CIDs.

        ``sources`` are peers (``HOST:PORT``) and web seeds (``http://...``) besides those that it names. ``output`` is the file
        or folder to make; it must not exist unless ``force``, or be this very content already. An interrupted run is gone on
        from. Needs a transport named ``torrent`` that downloads torrents: wherry's own needs the extra ``wherry[torrent]``.

        Raises DecodeError, UnsafeName and LimitExceeded for a torrent that is not taken, NoSource where nobody gives anything,
        IntegrityError, TargetError, LocalError, PluginError.
        """
        self._home.must_be_writable()
        from wherry.abc.torrents import SupportsTorrents
        from wherry.transfer.target import check_path
        from wherry.transfer.torrent_in import Rules, TorrentGet, given

        began = time.monotonic()
        peers, webseeds = self._torrent_sources(sources)
        asked = await in_thread(lambda: given(what))
        transport = self._wiring.build("transport", TRANSPORT)
        if not isinstance(transport, SupportsTorrents):
            raise PluginContractError(f"the transport {TRANSPORT!r} that is configured downloads no torrents")
        options, limits = self.config.get, self.config.limits
        rules = Rules(
            (names or options.names) == "portable", max_bytes or options.max_bytes, force, options.sync, wait_s, options.wait
        )
        target = absolute(output or asked.name)
        check_path(target)
        run = TorrentGet(asked, target, transport, rules, quiet(observe))
        async with paced(observe, run.progress):
            torrent = await run.run(
                peers, webseeds, _least(limits.up, limits.transfer_up), _least(limits.down, limits.transfer_down)
            )
        added = await self.add(target, observe=observe)
        return TorrentFetched(
            cid=added.cid, unixfs_cid=added.unixfs_cid, unixfs_reason=added.unixfs_reason, path=target,
            files=len(torrent.files), bytes=torrent.size, fetched_bytes=run.wire_bytes,
            btih=torrent.v1.hex() if torrent.v1 else None, btmh=torrent.v2.hex() if torrent.v2 else None,
            seconds=time.monotonic() - began, warnings=added.warnings,
        )  # fmt: skip

    def _torrent_sources(self, sources: Sequence[str]) -> tuple[list[str], list[str]]:
        """Gives peers and web seeds. Raises UsageError for what is neither, and for too many."""
        from wherry.torrent.addresses import peer_of, seeds_at, webseeds_of

        peers: list[str] = []
        webseeds: list[str] = []
        for source in sources:
            address = without_user(self.config.peers.get(source, source))
            if peer_of(address) is not None:
                peers.append(address)
            elif webseeds_of([address]):
                webseeds.append(address)
            else:
                raise UsageError(
                    f"{masked(address)!r} is no source of a torrent",
                    hint="write HOST:PORT of a peer, or the http:// of a web seed",
                )
        if len(peers) > TORRENT_PEERS_MAX or len(webseeds) > TORRENT_WEBSEEDS_MAX:
            raise UsageError(f"at most {TORRENT_PEERS_MAX} peers and {TORRENT_WEBSEEDS_MAX} web seeds can be named")
        return peers, [place for webseed in webseeds for place in seeds_at(webseed)]


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
