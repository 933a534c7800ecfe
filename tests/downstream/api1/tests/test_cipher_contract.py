"""The cipher keeps the contract of ciphers."""

from __future__ import annotations

from wherry.abc.cipher import Cipher
from wherry.testing.cipher import CipherContract

from acme_api1.cipher.cipher import XChaCha


class TestCipher(CipherContract):
    def make_cipher(self) -> Cipher:
        return XChaCha()
