"""The contract of ciphers catches what it is there to catch: for each check there is a cipher that fails it, and no other."""

from __future__ import annotations

import hashlib
import hmac
import os
import time

import pytest

from wherry.errors import IntegrityError
from wherry.testing.checks import checks, failing
from wherry.testing.cipher import CipherContract
from wherry_cipher.sodium import ChaCha20Poly1305


class Sound(ChaCha20Poly1305):
    """What is wrong with it comes below."""

    def seal_into(self, plain, out, *, key, nonce, aad):
        super().seal_into(plain, out, key=key, nonce=nonce, aad=aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)


WHOLE = ChaCha20Poly1305()  # for those whose own sizes are others


class HasShortKeys(Sound):
    key_bytes = 16

    def seal_into(self, plain, out, *, key, nonce, aad):
        WHOLE.seal_into(plain, out, key=key + bytes(16), nonce=nonce, aad=aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        WHOLE.open_into(sealed, out, key=key + bytes(16), nonce=nonce, aad=aad)


class LosesTheLastByte(Sound):
    def open_into(self, sealed, out, *, key, nonce, aad):
        super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)
        if len(out) == 65_537:
            out[-1] ^= 1


class TrustsTheBuffer(Sound):
    """Leaves four bytes as they are, and minds when it opens them and they are not zeros."""

    tag_bytes = 20

    def seal_into(self, plain, out, *, key, nonce, aad):
        WHOLE.seal_into(plain, out[:-4], key=key, nonce=nonce, aad=aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        if len(sealed) < 20 or bytes(sealed[-4:]) != bytes(4):
            raise IntegrityError("four bytes are not zeros")
        WHOLE.open_into(bytes(sealed[:-4]), out, key=key, nonce=nonce, aad=aad)


class OnlySigns(Sound):
    def tag(self, plain, key, nonce, aad):
        head = len(aad).to_bytes(8, "big") + aad + nonce
        return hmac.digest(key, head + plain, "sha256")[:16]

    def seal_into(self, plain, out, *, key, nonce, aad):
        out[:-16], out[-16:] = plain, self.tag(bytes(plain), key, nonce, aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        plain = bytes(sealed[:-16])
        if len(sealed) < 16 or self.tag(plain, key, nonce, aad) != bytes(sealed[-16:]):
            raise IntegrityError("the tag is wrong")
        out[:] = plain


class RepeatsItsKeyStream(OnlySigns):
    """Hides the message under one block, over and over."""

    def hidden(self, data, key, nonce):
        stream = hashlib.sha256(key + nonce).digest() * (len(data) // 32 + 1)
        mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream[: len(data)], "big")
        return mixed.to_bytes(len(data), "big")

    def seal_into(self, plain, out, *, key, nonce, aad):
        super().seal_into(self.hidden(bytes(plain), key, nonce), out, key=key, nonce=nonce, aad=aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)
        out[:] = self.hidden(bytes(out), key, nonce)


class DrawsItsOwnNonce(Sound):
    tag_bytes = 16 + 16

    def seal_into(self, plain, out, *, key, nonce, aad):
        out[-16:] = salt = os.urandom(16)
        WHOLE.seal_into(plain, out[:-16], key=hashlib.sha256(key + salt).digest(), nonce=nonce, aad=aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        if len(sealed) < 32:
            raise IntegrityError("too short")
        salted = hashlib.sha256(key + bytes(sealed[-16:])).digest()
        WHOLE.open_into(bytes(sealed[:-16]), out, key=salted, nonce=nonce, aad=aad)


class CutsTheNonce(Sound):
    def seal_into(self, plain, out, *, key, nonce, aad):
        super().seal_into(plain, out, key=key, nonce=nonce[:8] + bytes(4), aad=aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        super().open_into(sealed, out, key=key, nonce=nonce[:8] + bytes(4), aad=aad)


class PadsAdditionalData(Sound):
    """So that data with zeros behind them are taken for the same."""

    def seal_into(self, plain, out, *, key, nonce, aad):
        super().seal_into(plain, out, key=key, nonce=nonce, aad=aad.ljust(100, b"\0"))

    def open_into(self, sealed, out, *, key, nonce, aad):
        super().open_into(sealed, out, key=key, nonce=nonce, aad=aad.ljust(100, b"\0"))


class LooksAtHalfTheTag(OnlySigns):
    """A keystream of its own, so that nothing else is wrong with it."""

    def hidden(self, data, key, nonce):
        stream = hashlib.shake_256(key + nonce).digest(len(data))
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")

    def seal_into(self, plain, out, *, key, nonce, aad):
        super().seal_into(self.hidden(bytes(plain), key, nonce), out, key=key, nonce=nonce, aad=aad)

    def open_into(self, sealed, out, *, key, nonce, aad):
        plain = bytes(sealed[:-16])
        if len(sealed) < 16 or self.tag(plain, key, nonce, aad)[:8] != bytes(sealed[-16:-8]):
            raise IntegrityError("the tag is wrong")
        out[:] = self.hidden(plain, key, nonce)


class TakesWhatIsLonger(Sound):
    def open_into(self, sealed, out, *, key, nonce, aad):
        try:
            super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)
        except IntegrityError:
            if len(sealed) < 17:
                raise
            super().open_into(sealed[:-1], out[:-1], key=key, nonce=nonce, aad=aad)


class FallsOverShortOnes(Sound):
    def open_into(self, sealed, out, *, key, nonce, aad):
        if len(sealed) < 16:
            raise ValueError("negative length")
        super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)


class LooksAtTheTagLast(Sound):
    """What OpenSSL does."""

    def open_into(self, sealed, out, *, key, nonce, aad):
        try:
            super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)
        except IntegrityError:
            if len(out) >= 1000:
                whole = memoryview(bytearray(len(out) + 16))
                super().seal_into(sealed[:-16], whole, key=key, nonce=nonce, aad=aad)  # the key stream, once more
                out[:] = whole[:-16]
            raise


class OpensInPlace(Sound):
    def open_into(self, sealed, out, *, key, nonce, aad):
        super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)
        if isinstance(sealed, bytearray):
            sealed[: len(out)] = out


class KeepsAView(Sound):
    def seal_into(self, plain, out, *, key, nonce, aad):
        self.view = memoryview(plain)
        super().seal_into(plain, out, key=key, nonce=nonce, aad=aad)


class HasOneScratch(Sound):
    def seal_into(self, plain, out, *, key, nonce, aad):
        self.plain = bytes(plain)
        if 3000 <= len(plain) < 4000:
            time.sleep(0.001)
        super().seal_into(self.plain.ljust(len(plain), b"\0")[: len(plain)], out, key=key, nonce=nonce, aad=aad)


class HoldsTheLock(Sound):
    def seal_into(self, plain, out, *, key, nonce, aad):
        if len(plain) >= 1 << 24:
            sum(plain)  # in C, from the first byte to the last
        super().seal_into(plain, out, key=key, nonce=nonce, aad=aad)


class MindsShortMessages(Sound):
    def open_into(self, sealed, out, *, key, nonce, aad):
        super().open_into(sealed, out, key=key, nonce=nonce, aad=aad)
        if 2 <= len(out) <= 14:
            out[1] ^= 1


BROKEN = [
    (HasShortKeys, "test_its_sizes_are_enough"),
    (LosesTheLastByte, "test_what_is_sealed_opens"),
    (TrustsTheBuffer, "test_it_writes_all_of_out"),
    (OnlySigns, "test_it_hides_the_message"),
    (RepeatsItsKeyStream, "test_it_hides_the_message"),
    (DrawsItsOwnNonce, "test_it_is_deterministic"),
    (CutsTheNonce, "test_every_byte_of_the_secrets_counts"),
    (PadsAdditionalData, "test_every_byte_of_the_secrets_counts"),
    (LooksAtHalfTheTag, "test_any_change_is_found"),
    (TakesWhatIsLonger, "test_another_length_is_found"),
    (FallsOverShortOnes, "test_another_length_is_found"),
    (LooksAtTheTagLast, "test_nothing_plain_is_left_on_failure"),
    (OpensInPlace, "test_it_leaves_alone_what_it_is_given"),
    (KeepsAView, "test_it_leaves_alone_what_it_is_given"),
    (HasOneScratch, "test_threads_may_share_it"),
    (HoldsTheLock, "test_it_lets_go_of_the_lock"),
    (MindsShortMessages, "test_any_message"),
]


def suite_of(cipher):
    return type("Suite", (CipherContract,), {"make_cipher": lambda self: cipher()})()


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_exactly_its_check_fails(broken, check, tmp_path):
    assert failing(suite_of(broken), tmp_path) == {check}


def test_a_sound_cipher_passes(tmp_path):
    assert failing(suite_of(Sound), tmp_path) == set()


def test_every_check_has_a_broken_cipher():
    assert {check for _, check in BROKEN} == checks(CipherContract)
