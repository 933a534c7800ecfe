"""The built-in ciphers keep the contract of ciphers, with either library, and both libraries give the same bytes."""

from __future__ import annotations

import pytest

from wherry.testing.cipher import SIZES, CipherContract, message, seal, secrets_of, unseal
from wherry_cipher import openssl, sodium

pytestmark = [pytest.mark.uncounted, pytest.mark.skipif(not openssl.usable(), reason="this OpenSSL has no ChaCha20")]
NAMES = ("ChaCha20Poly1305", "XChaCha20Poly1305")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("library", [openssl, sodium], ids=["openssl", "sodium"])
class TestCipher(CipherContract):
    @pytest.fixture(autouse=True)
    def choose(self, library, name):
        self.kind = getattr(library, name)

    def make_cipher(self):
        return self.kind()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_what_one_library_seals_the_other_seals_equally_and_opens(name, size):
    first, second = getattr(openssl, name)(), getattr(sodium, name)()
    secrets = secrets_of(first)
    sealed = seal(first, message(size), secrets)
    assert seal(second, message(size), secrets) == sealed
    assert unseal(second, sealed, secrets) == message(size)
