"""What the contract does not ask: the published test vector of the AEAD. A cipher without one is not known to be that one."""

from __future__ import annotations

from acme_api1.cipher.cipher import XChaCha

# draft-irtf-cfrg-xchacha-03, appendix A.3.1
PLAIN = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
AAD = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
KEY = bytes(range(0x80, 0xA0))
NONCE = bytes(range(0x40, 0x58))
SEALED_END = bytes.fromhex("c0875924c1c7987947deafd8780acf49")  # the tag


def test_the_published_vector() -> None:
    sealed, opened = bytearray(len(PLAIN) + 16), bytearray(len(PLAIN))
    XChaCha().seal_into(PLAIN, memoryview(sealed), key=KEY, nonce=NONCE, aad=AAD)
    assert sealed[-16:] == SEALED_END
    XChaCha().open_into(sealed, memoryview(opened), key=KEY, nonce=NONCE, aad=AAD)
    assert opened == PLAIN
