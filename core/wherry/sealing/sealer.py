"""The publisher's side of encryption: makes the keys of blocks, and seals them (specs/0016 §3)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from wherry.manifest import KEY_BYTES
from wherry.sealing.seal import expand

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.block import Block
    from wherry.cid import Bytes
    from wherry.sealing.seal import Sealing


class Sealer:
    """Seals what one `add` makes. Thread-safe but for ``keep``, which is called in the thread that seals."""

    def __init__(self, sealing: Sealing, content: bytes, keep: Callable[[bytes, bytes], None] | None = None) -> None:
        """``content`` is the key domain's secret (32 bytes), of no use in the mode "random".

        ``keep`` takes the digest and bytes of each sealed leaf that cannot be made again: those that were coded.
        """
        self.sealing = sealing
        self._random = sealing.scheme.mode == "random"
        scheme = sealing.scheme.name.encode()
        self._leaf_secret = expand(content, b"wherry content leaf " + scheme, KEY_BYTES)
        self._node_secret = expand(content, b"wherry content node " + scheme, KEY_BYTES)
        self._keep = keep

    def file_key(self) -> bytes:
        """Gives the key of the leaves of one file: fresh; b"" in the mode "domain", where each leaf has its own."""
        return secrets.token_bytes(KEY_BYTES) if self._random else b""

    def leaf(self, plain: Bytes, offset: int, *, final: bool, file_key: bytes) -> tuple[bytes, bytes]:
        """Seals a leaf; gives the digest of its block, and its key. Lets go of the interpreter lock."""
        # The key hashes what is sealed, not what it stands for: another version of a compressor gives other bytes, and these
        # must never meet the same key and nonce.
        prepared = self.sealing.prepared(plain)
        key = file_key if self._random else hmac.digest(self._leaf_secret, prepared, "sha256")
        sealed = self.sealing.seal_prepared(prepared, key, offset, final=final)
        digest = hashlib.sha256(sealed).digest()
        if self._keep is not None:
            self._keep(digest, bytes(sealed))
        return digest, key

    def node(self, node: Block) -> tuple[Block, bytes]:
        """Seals a manifest node; gives its block, and its key."""
        key = secrets.token_bytes(KEY_BYTES) if self._random else hmac.digest(self._node_secret, node.data, "sha256")
        return self.sealing.seal_node(node, key), key
