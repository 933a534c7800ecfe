"""The options of the ciphers, as written in configuration under ``[cipher.xchacha20poly1305]`` and so on."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass
from typing import Literal

from wherry.plugin import option


@dataclass(frozen=True, slots=True, kw_only=True)
class CipherOptions:
    """Options of both ciphers."""

    library: Literal["auto", "cryptography", "pynacl"] = option(
        "auto", help="the library that does the work; the bytes are the same. auto: the faster one that this machine has"
    )
