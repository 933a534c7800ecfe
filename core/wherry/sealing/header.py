"""The header of an encrypted dataset: how it is sealed, where its root is, and the root's key, wrapped for each who may open
it (specs/0016 §2).

The header commits to the key: AEADs of the ChaCha family do not (Len, Grubbs, Ristenpart, "Partitioning Oracle Attacks",
2021), so without the commitment one header could open to two things under two keys. Granting and rotation make another header
over the same sealed blocks.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from wherry import dagcbor
from wherry.block import Block, named
from wherry.cid import CID, DAG_CBOR
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, NoKey, UsageError
from wherry.manifest import KEY_BYTES
from wherry.sealing.seal import Scheme
from wherry.sealing.wrap import unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.sealing.identity import Identity, Recipient

WRAPS_MAX: Final = 64  # each is tried: a header must not cost its reader minutes
_WRAP_BYTES_MAX: Final = 512
_COMMIT: Final = b"wherry sealed/1 commit"
_GRANT: Final = b"wherry sealed/1 grant"
_KEYS: Final = {"wherry", "cipher", "mode", "pad", "coding", "root", "blocks", "commit", "wraps"}

WrapKind = Literal["key", "to"]


class Wrap(NamedTuple):
    """The root's key for somebody: under a key of a domain, or in a sealed box to an identity."""

    kind: WrapKind
    box: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A header, not yet a block. Immutable."""

    scheme: Scheme
    root: CID  # of the sealed dataset node
    blocks: CID  # of the list of all blocks
    commit: bytes
    wraps: tuple[Wrap, ...] = ()

    @classmethod
    def make(cls, scheme: Scheme, root: CID, key: bytes, blocks: CID) -> Header:
        """Makes a header without wraps, which commits to ``key``."""
        return cls(scheme, root, blocks, _commitment(key, scheme, root))

    def block(self) -> Block:
        """Writes it."""
        scheme = self.scheme
        value = {
            "wherry": "sealed/1", "cipher": scheme.cipher, "mode": scheme.mode, "pad": scheme.pad, "coding": scheme.coding,
            "root": self.root, "blocks": self.blocks, "commit": self.commit, "wraps": [list(one) for one in self.wraps],
        }  # fmt: skip
        return named(DAG_CBOR, dagcbor.encode(value))

    # For whom

    def for_key(self, key: bytes, wrapping: bytes) -> Header:
        """Wraps the root's ``key`` under a domain's wrapping key. The same key twice gives the same header."""
        return self._with(Wrap("key", wrap(key, wrapping, self._bound())))

    def for_recipient(self, key: bytes, recipient: Recipient, sender: Identity) -> Header:
        """Wraps the root's ``key`` for a recipient; signed by ``sender``, which the recipient alone can see."""
        signature = sender.sign(_GRANT + self._bound() + bytes(recipient))
        return self._with(Wrap("to", recipient.seal(key + bytes(sender.recipient) + signature)))

    def without_wraps(self, kind: WrapKind) -> Header:
        """Leaves out all wraps of one kind."""
        return replace(self, wraps=tuple(one for one in self.wraps if one.kind != kind))

    def _with(self, one: Wrap) -> Header:
        if one in self.wraps:
            return self
        if len(self.wraps) >= WRAPS_MAX:
            raise UsageError(f"a dataset is opened by at most {WRAPS_MAX} keys and recipients", hint="share a domain key")
        return replace(self, wraps=(*self.wraps, one))

    def _bound(self) -> bytes:
        return self.commit + bytes(self.root)

    # Opening

    def open(self, wrappings: Iterable[bytes], identities: Iterable[Identity]) -> Unlocked:
        """Finds the root's key by the wrapping keys and identities given.

        Raises NoKey if none of them opens it, IntegrityError if what opens breaks the commitment or carries a
        signature that is not its sender's.
        """
        boxes = [one.box for one in self.wraps if one.kind == "key"]
        for wrapping in wrappings:
            for box in boxes:
                key = unwrap(box, wrapping, self._bound())
                if key is not None:
                    return self._checked(Unlocked(key))
        for identity in identities:
            for one in self.wraps:
                payload = identity.open(one.box) if one.kind == "to" else None
                if payload is not None:
                    return self._checked(self._granted(payload, identity))
        raise NoKey(
            "this dataset is encrypted, and no key of this home opens it",
            hint="import its key (`wherry keys import`), or have its owner run `wherry grant CID --to` your recipient text "
            "(`wherry keys show NAME`)",
        )

    def _granted(self, payload: bytes, identity: Identity) -> Unlocked:
        from wherry.sealing.identity import RECIPIENT_BYTES, Recipient

        key, rest = payload[:KEY_BYTES], payload[KEY_BYTES:]
        if len(rest) != RECIPIENT_BYTES + 64:
            raise IntegrityError("the header of this dataset holds a grant that is malformed")
        sender, signature = Recipient.from_bytes(rest[:RECIPIENT_BYTES]), rest[RECIPIENT_BYTES:]
        if not sender.verify(_GRANT + self._bound() + bytes(identity.recipient), signature):
            raise IntegrityError("the header of this dataset holds a grant that its sender did not sign")
        return Unlocked(key, sender)

    def _checked(self, unlocked: Unlocked) -> Unlocked:
        if not hmac.compare_digest(_commitment(unlocked.key, self.scheme, self.root), self.commit):
            raise IntegrityError("the header of this dataset opens to a key that it does not commit to")
        return unlocked


class Unlocked(NamedTuple):
    """The key of a root, and who granted it (None: found under a key of a domain)."""

    key: bytes
    sender: Recipient | None = None

    def __repr__(self) -> str:
        return f"Unlocked(sender={self.sender!r})"  # the key is a secret


def _commitment(key: bytes, scheme: Scheme, root: CID) -> bytes:
    return hmac.digest(key, _COMMIT + scheme.name.encode() + b"\0" + bytes(root), "sha256")


def is_header(block: Block) -> bool:
    """Tells whether a verified block says that it is a header."""
    # The word lies behind the wraps, which may be many; looking for it first spares decoding every other root twice.
    return block.cid.codec == DAG_CBOR and b"hsealed/1" in block.data and _kind(block) == "sealed/1"


def _kind(block: Block) -> object:
    value = dagcbor.decode(block.data)
    return value.get("wherry") if isinstance(value, dict) else None


def decode(block: Block) -> Header:
    """Reads a header from a verified block. Raises DecodeError, LimitExceeded."""
    value = dagcbor.decode(block.data)
    if not isinstance(value, dict) or value.keys() != _KEYS or value["wherry"] != "sealed/1":
        raise DecodeError(f"block {block.cid} is no header of an encrypted dataset", hint="a newer wherry may read it")
    parts = [value[name] for name in ("cipher", "mode", "pad", "coding")]
    if not all(type(part) is str and "/" not in part and len(part) <= 64 for part in parts):
        raise DecodeError(f"header {block.cid}: its scheme is malformed")
    scheme = Scheme.parse("/".join(cast("list[str]", parts)))
    root, blocks, commit, wraps = value["root"], value["blocks"], value["commit"], value["wraps"]
    if type(root) is not CID or type(blocks) is not CID or root.codec != DAG_CBOR or blocks.codec != DAG_CBOR:
        raise DecodeError(f"header {block.cid}: its root and its list of blocks must be links to nodes")
    if type(commit) is not bytes or len(commit) != KEY_BYTES or type(wraps) is not list:
        raise DecodeError(f"header {block.cid}: its commitment or its wraps are malformed")
    if len(wraps) > WRAPS_MAX:
        raise LimitExceeded(f"header {block.cid}: {len(wraps)} wraps, at most {WRAPS_MAX} are read")
    found = []
    for one in wraps:
        match one:
            case ["key" | "to" as kind, bytes(box)] if len(box) <= _WRAP_BYTES_MAX:
                found.append(Wrap(kind, box))
            case _:
                raise DecodeError(f"header {block.cid}: a wrap is malformed")
    return Header(scheme, root, blocks, commit, tuple(found))
