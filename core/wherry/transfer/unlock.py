"""Opens encrypted datasets with the keys of this home (specs/0016 §2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wherry.errors import NoKey
from wherry.sealing import header as headers
from wherry.sealing.seal import Sealing

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.cipher import Cipher
    from wherry.block import Block
    from wherry.coding import Codings
    from wherry.sealing.header import Header
    from wherry.sealing.identity import Recipient
    from wherry.sealing.ring import KeyRing
    from wherry.sealing.seal import Scheme


class Unlocked(NamedTuple):
    """An encrypted dataset that this home can read."""

    header: Header
    sealing: Sealing
    key: bytes  # of its root
    sender: Recipient | None  # who granted it; None: its key domain is ours

    def __repr__(self) -> str:
        return f"Unlocked({self.header.scheme.name!r}, sender={self.sender!r})"  # the key is a secret


class Sealings:
    """Sealings by scheme, each made once."""

    def __init__(self, cipher: Callable[[str], Cipher], codings: Callable[[], Codings]) -> None:
        self._cipher = cipher
        self._codings = codings
        self._made: dict[Scheme, Sealing] = {}

    def of(self, scheme: Scheme) -> Sealing:
        """Gives the sealing of a scheme. Raises PluginError for a cipher that is not installed. Any thread."""
        made = self._made.get(scheme)
        if made is None:
            codings = self._codings() if scheme.coding else None
            made = self._made.setdefault(scheme, Sealing(scheme, self._cipher(scheme.cipher), codings))
        return made


class Locksmith:
    """Tries the keys of a home."""

    def __init__(self, ring: Callable[[], KeyRing], sealings: Sealings) -> None:
        """``ring`` is opened when first needed: most datasets are open."""
        self._ring = ring
        self._sealings = sealings

    def knows(self, block: Block) -> bool:
        """Tells whether a verified block is the header of an encrypted dataset."""
        return headers.is_header(block)

    def unlock(self, block: Block) -> Unlocked:
        """Finds the key of a dataset. Blocks its thread. Raises NoKey, DecodeError, IntegrityError, PluginError."""
        header = headers.decode(block)
        ring = self._ring()
        try:  # what needs no passphrase first
            found = _tried(header, ring, locked=False)
        except NoKey:
            found = _tried(header, ring, locked=True)
        return Unlocked(header, self._sealings.of(header.scheme), found.key, found.sender)


def _tried(header: Header, ring: KeyRing, *, locked: bool) -> headers.Unlocked:
    wrappings = (wrap.key for domain in ring.domains(locked=locked) for wrap in domain.wraps)
    return header.open(wrappings, ring.identities(locked=locked))
