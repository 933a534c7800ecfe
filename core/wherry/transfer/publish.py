"""What an encrypting `add` holds besides the files: the sealer, the list of blocks, and for whom it is (specs/0016 §2, §6)."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Final

from wherry.block import Block
from wherry.cid import CID, RAW
from wherry.dag.build import FileBuilder
from wherry.dag.walk import Leaf, Need, Walk
from wherry.errors import BlockNotFound
from wherry.sealing.blocks import BlockList
from wherry.sealing.header import Header
from wherry.sealing.sealer import Sealer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.manifest import Entry
    from wherry.sealing.identity import Identity, Recipient
    from wherry.sealing.keyfile import DomainKey
    from wherry.sealing.seal import Sealing
    from wherry.store.index import LeafRow
    from wherry.store.store import Store

_KEPT_BYTES_MAX: Final = 8 << 20  # of blocks that cannot be made again, before they are written


class Publication:
    """Seals one dataset for a key domain and for recipients. `node`, `leaves` and `again` are for one thread."""

    def __init__(
        self, sealing: Sealing, domain: DomainKey, recipients: Sequence[Recipient], sender: Identity | None, store: Store
    ) -> None:
        """``sender`` signs what is granted to ``recipients``; it may be None where there are none."""
        self._sealing = sealing
        self._domain = domain
        self._recipients = recipients
        self._sender = sender
        self._store = store
        self._kept: list[Block] = []
        self._kept_bytes = 0
        self._kept_sizes: dict[bytes, int] = {}  # by digest, of those not yet written
        self._keeping = threading.Lock()
        self.sealer = Sealer(sealing, domain.content, self._keep if sealing.scheme.coding else None)
        self._list_nodes: list[Block] = []
        self._list = BlockList(self._list_nodes.append)
        self._ident = secrets.token_hex(8) if sealing.scheme.mode == "random" else domain.wraps[-1].id.hex()
        self.header = Block(CID.of(RAW, b""), b"")  # until `finish`

    @property
    def options(self) -> dict[str, str]:
        """What a root's record says of it."""
        return {"scheme": self._sealing.scheme.name, "key": self._domain.name}

    def cut(self, chunker: str) -> str:
        """Names the way in which files are cut and sealed, for the index: another key makes other blocks."""
        return f"{chunker} {self._sealing.scheme.name} {self._ident}"

    def node(self, node: Block) -> tuple[Block, bytes]:
        """Seals a manifest node; gives its block and key."""
        sealed, key = self.sealer.node(node)
        self._list.add(sealed.cid, len(sealed.data))
        return sealed, key

    def leaves(self, leaves: Sequence[LeafRow]) -> None:
        """Lists leaves that were sealed."""
        for leaf in leaves:
            self._listed(CID.from_digest(RAW, leaf.digest), leaf.size)

    def _listed(self, cid: CID, size: int) -> None:
        wire = self._sealing.wire_size(size)
        if wire is None:  # coded: how long it became is known where it is kept
            wire = self._kept_size(cid)
        self._list.add(cid, wire)

    def again(self, entry: Entry) -> None:
        """Lists the blocks of a file that is known from an earlier run, as if its leaves came anew: in the same order."""
        if not entry.size:
            return
        builder = FileBuilder(self._node)
        walk = Walk(entry)
        while (step := walk.step()) is not None:
            if isinstance(step, Need):
                block = self._store.nodes.get_many([step.cid]).get(step.cid)
                if block is None:
                    raise BlockNotFound(f"block {step.cid} is not here", hint="`wherry repair`, then add the dataset again")
                walk.supply(self._sealing.open_node(block, step.key))
            elif isinstance(step, Leaf):
                builder.add(step.cid, step.size, step.key)
                self._listed(step.cid, step.size)
        builder.finish()

    def _node(self, node: Block) -> tuple[CID, bytes]:
        sealed, key = self.node(node)
        return sealed.cid, key

    def drain(self) -> list[Block]:
        """Gives the nodes of the list that are whole, each once."""
        made = self._list_nodes[:]
        self._list_nodes.clear()
        return made

    def finish(self, root: CID, key: bytes) -> list[Block]:
        """Wraps the root's key for all who may open it; gives the blocks to keep, the header last."""
        self.write_kept()
        blocks = self._list.finish()
        header = Header.make(self._sealing.scheme, root, key, blocks).for_key(key, self._domain.wraps[0].key)
        for recipient in self._recipients:
            if self._sender is not None:
                header = header.for_recipient(key, recipient, self._sender)
        self.header = header.block()
        return [*self.drain(), self.header]

    # Blocks that cannot be made again, for no version of a compressor promises the same bytes

    def _keep(self, digest: bytes, data: bytes) -> None:
        with self._keeping:
            self._kept.append(Block(CID.from_digest(RAW, digest), data))
            self._kept_bytes += len(data)
            self._kept_sizes[digest] = len(data)
            if self._kept_bytes >= _KEPT_BYTES_MAX:
                self._write_kept()

    def write_kept(self) -> None:
        """Writes the blocks gathered so far; before any record of them, or a kill would leave records of what is not here."""
        with self._keeping:
            self._write_kept()

    def _write_kept(self) -> None:
        self._store.nodes.put_many(self._kept)
        self._kept, self._kept_bytes = [], 0
        self._kept_sizes.clear()

    def _kept_size(self, cid: CID) -> int:
        with self._keeping:
            size = self._kept_sizes.get(cid.digest)
            size = size if size is not None else self._store.nodes.sizes([cid]).get(cid)
        if size is None:
            raise BlockNotFound(f"block {cid} is not here", hint="`wherry repair`, then add the dataset again")
        return size
