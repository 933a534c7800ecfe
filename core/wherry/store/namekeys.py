"""The keys that names are published with: PEM files in the home's folder of keys, for its owner alone (specs/0034 §6).

PKCS #8 in PEM, the form that other tools of IPFS and openssl read and write.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.errors import KeyProblem, NotFound
from wherry.nodekey import KEY_BYTES, NodeKey
from wherry.sealing.folder import KeyFolder

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_KEY: Final = "self"
_HEAD: Final = bytes.fromhex("302e020100300506032b657004220420")
_BEGIN: Final = b"-----BEGIN PRIVATE KEY-----\n"
_END: Final = b"\n-----END PRIVATE KEY-----\n"


class NameKeys:
    """The folder ``keys/names`` of a home. Blocks."""

    def __init__(self, home: Path) -> None:
        self._outer = KeyFolder(home / "keys")
        self._folder = KeyFolder(home / "keys" / "names")

    def names(self) -> list[str]:
        """Lists the keys. Raises KeyProblem if others may look into the folder."""
        return self._folder.names()

    def get(self, label: str) -> NodeKey:
        """Reads a key. Raises NotFound, KeyProblem if it is open to others or is none."""
        data = self._folder.read(label)
        try:
            if not data.startswith(_BEGIN) or not data.rstrip().endswith(_END.strip()):
                raise ValueError("no PEM")
            inner = base64.b64decode(b"".join(data[len(_BEGIN) :].rstrip()[: -len(_END.strip())].split()), validate=True)
        except (ValueError, binascii.Error) as problem:
            raise KeyProblem(f"the key of names {label!r} is no private key in PEM") from problem
        if len(inner) != len(_HEAD) + KEY_BYTES or not inner.startswith(_HEAD):
            raise KeyProblem(f"the key of names {label!r} is no Ed25519 key", hint="other kinds are not taken")
        return NodeKey(inner[len(_HEAD) :])

    def get_or_make(self, label: str) -> NodeKey:
        """Reads a key, or makes it; on the disk when this returns, and the same for all who do this at once.

        Raises as `get`, and errors of the disk.
        """
        try:
            return self.get(label)
        except NotFound:
            self._outer.prepare()
            body = base64.b64encode(_HEAD + secrets.token_bytes(KEY_BYTES))
            try:
                self._folder.swap(label, None, _BEGIN + body + _END)
            except KeyProblem:
                with suppress(NotFound):  # another process was first: its key is the one
                    return self.get(label)
                raise
            return self.get(label)
