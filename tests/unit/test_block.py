"""Blocks: naming own bytes, checking foreign ones (specs/0002 §4)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.block import EMPTY_LEAF, Block, checked, named, verify
from wherry.cid import CID, CODECS, RAW
from wherry.errors import IntegrityError

codecs = st.sampled_from(sorted(CODECS))


@given(codecs, st.binary(max_size=300))
def test_what_was_named_checks_out(codec, data):
    block = named(codec, data)
    assert block == Block(CID.from_digest(codec, hashlib.sha256(data).digest()), data)
    assert checked(block.cid, data) == block
    for kind in (bytes, bytearray, memoryview):
        verify(block.cid, kind(data))


@given(codecs, st.binary(min_size=1, max_size=300), st.data())
def test_any_flipped_bit_is_noticed(codec, data, draw):
    block = named(codec, data)
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        checked(block.cid, bytes(changed))


@pytest.mark.parametrize("wrong", [b"", b"hell", b"hello\0", b"hello hello"])
def test_cut_and_longer_bytes_are_noticed(wrong):
    with pytest.raises(IntegrityError):
        verify(CID.of(RAW, b"hello"), wrong)


def test_the_error_names_the_block_and_who_sent_it():
    cid = CID.of(RAW, b"hello")
    with pytest.raises(IntegrityError) as caught:
        checked(cid, b"jello", origin="http://127.0.0.1:1")
    assert str(cid) in caught.value.message
    assert "from http://127.0.0.1:1 " in caught.value.message
    assert caught.value.retry == "other"
    with pytest.raises(IntegrityError, match="the bytes do not match"):
        verify(cid, b"jello")


def test_the_empty_leaf():
    assert str(EMPTY_LEAF) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    verify(EMPTY_LEAF, b"")
