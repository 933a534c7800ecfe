"""The contract of a cipher: authenticated encryption of one block's bytes (specs/0006 §7, specs/0016).

Written for implementers. A cipher is an AEAD (RFC 5116) and nothing else: keys, nonces, additional data, and the commitment
to the key, are core's. The provider's name is a format identifier for ever, and two implementations of one name give the
same bytes. Every method is synchronous, thread-safe, and lets go of the interpreter lock while it works.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from wherry.cid import Bytes


class Cipher(ABC):
    """Seals and opens. Deterministic: the same key, nonce, data and additional data give the same bytes."""

    key_bytes: ClassVar[int]  # at least 32
    nonce_bytes: ClassVar[int]  # at least 12: core lays a position of 10 bytes into it
    tag_bytes: ClassVar[int]  # at least 16: how much longer sealed bytes are than plain ones

    @abstractmethod
    def seal_into(self, plain: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        """Seals ``plain`` into ``out``, which has ``tag_bytes`` more and shares no memory with it."""

    @abstractmethod
    def open_into(self, sealed: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        """Opens ``sealed`` into ``out``, which has ``tag_bytes`` less and shares no memory with it.

        Raises IntegrityError if anything of it is not as it was sealed, leaving no plain byte in ``out``; nothing else.
        """
