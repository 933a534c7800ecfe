"""The ciphers give the bytes of their specifications, by either library, and an option chooses which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry.env import Env
from wherry.errors import IntegrityError
from wherry_cipher import openssl, plugin, sodium
from wherry_cipher.options import CipherOptions

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/ciphers.json").read_text())
KINDS = {"chacha20poly1305": "ChaCha20Poly1305", "xchacha20poly1305": "XChaCha20Poly1305"}
BUILD = {"chacha20poly1305": plugin.build_chacha, "xchacha20poly1305": plugin.build_xchacha}
needs_openssl = pytest.mark.skipif(not openssl.usable(), reason="this OpenSSL has no ChaCha20")
both = pytest.mark.parametrize("library", [pytest.param(openssl, marks=needs_openssl), sodium], ids=["openssl", "sodium"])


def case_id(case):
    return f"{case['cipher']}: {case['name']}"


def secrets(case):
    return {name: bytes.fromhex(case[name]) for name in ("key", "nonce", "aad")}


def cipher_of(library, case):
    return getattr(library, KINDS[case["cipher"]])()


@both
@pytest.mark.parametrize("case", VECTORS["valid"], ids=case_id)
def test_vectors(library, case):
    plain, sealed = bytes.fromhex(case["plain"]), bytes.fromhex(case["sealed"])
    cipher = cipher_of(library, case)
    out = bytearray(len(sealed))
    cipher.seal_into(plain, memoryview(out), **secrets(case))
    assert out == sealed
    out = bytearray(len(plain))
    cipher.open_into(sealed, memoryview(out), **secrets(case))
    assert out == plain


@both
@pytest.mark.parametrize("case", VECTORS["invalid"], ids=case_id)
def test_what_must_not_open(library, case):
    sealed = bytes.fromhex(case["sealed"])
    out = bytearray(b"x" * max(0, len(sealed) - 16))
    with pytest.raises(IntegrityError):
        cipher_of(library, case).open_into(sealed, memoryview(out), **secrets(case))
    assert set(out) <= set(b"x\0")


@needs_openssl
@pytest.mark.parametrize("case", VECTORS["hchacha20"], ids=lambda case: case["source"])
def test_the_derived_key(case):
    assert openssl.hchacha20(bytes.fromhex(case["key"]), bytes.fromhex(case["nonce"])).hex() == case["subkey"]


@both
@pytest.mark.parametrize("name", KINDS.values())
def test_lengths_that_are_against_the_contract_are_no_silent_matter(library, name):
    cipher = getattr(library, name)()
    right = {"key": bytes(32), "nonce": bytes(cipher.nonce_bytes), "aad": b""}
    for wrong in ({"key": bytes(31)}, {"key": bytes(33)}, {"nonce": bytes(8)}, {"nonce": bytes(cipher.nonce_bytes + 1)}):
        for call, size in ((cipher.seal_into, 26), (cipher.open_into, 4)):
            with pytest.raises(ValueError, match="must differ by 16"):
                call(bytes(10) if call == cipher.seal_into else bytes(20), memoryview(bytearray(size)), **{**right, **wrong})
    for size in (25, 27):
        with pytest.raises(ValueError, match="must differ by 16"):
            cipher.seal_into(bytes(10), memoryview(bytearray(size)), **right)
        with pytest.raises(ValueError, match="must differ by 16"):
            cipher.open_into(bytes(size), memoryview(bytearray(10)), **right)


@both
def test_an_error_shows_no_secret(library):
    cipher = library.XChaCha20Poly1305()
    with pytest.raises(IntegrityError) as caught:
        cipher.open_into(b"c" * 30, memoryview(bytearray(14)), key=b"k" * 32, nonce=b"n" * 24, aad=b"a" * 10)
    assert caught.value.__cause__ is None
    assert not [word for word in ("kkk", "6b6b", "nnn", "6e6e", "aaa", "ccc") if word in repr(caught.value)]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("chosen", "library"),
    [
        pytest.param("auto", openssl, marks=needs_openssl),
        pytest.param("cryptography", openssl, marks=needs_openssl),
        ("pynacl", sodium),
    ],
)
def test_an_option_chooses_the_library(name, chosen, library, tmp_path):
    built = BUILD[name](CipherOptions(library=chosen), Env(tmp_path, {}))
    assert type(built) is getattr(library, KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_without_a_usable_openssl_libsodium_does_it(name, tmp_path, monkeypatch):
    from cryptography.exceptions import UnsupportedAlgorithm

    def refuse(*_):
        raise UnsupportedAlgorithm("fips")

    monkeypatch.setattr(openssl, "Aead", refuse)
    assert not openssl.usable()
    assert type(BUILD[name](CipherOptions(), Env(tmp_path, {}))) is getattr(sodium, KINDS[name])


def test_the_providers_carry_the_names_of_the_formats():
    offered = {each.name: each for each in plugin.wherry_register_ciphers()}
    assert set(offered) == set(KINDS)
    assert {each.build for each in offered.values()} == set(BUILD.values())
