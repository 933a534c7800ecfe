"""The chunker fastcdc: specs/0003 §8, its vectors, and the plain reference of the algorithm."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import fastcdc_plain as plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.abc.chunker import SupportsKey
from wherry.chunking import FixedChunker
from wherry.units import parse_size
from wherry_chunk.fastcdc import FastcdcChunker
from wherry_chunk.options import SIZE_CHOICES

VECTORS = json.loads((Path(__file__).parents[2] / "specs" / "vectors" / "chunking.json").read_text())
SIZE = min(SIZE_CHOICES)
MIB = 1 << 20


def chunker_of(case):
    name, _, size = case["chunker"].partition(":")
    chunker = {"fixed": FixedChunker, "fastcdc": FastcdcChunker}[name](parse_size(size))
    return chunker.keyed(bytes.fromhex(case["key"])) if "key" in case else chunker


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: f"{case['chunker']} {case['name']}")
def test_vectors(case):
    data = plain.made(case["input"])
    assert hashlib.sha256(data).hexdigest() == case["sha256"]
    chunker = chunker_of(case)
    assert chunker.cut(memoryview(data), last=True) == case["lengths"]
    assert chunker.name == case["chunker"]


def test_the_vectors_have_every_size():
    assert {case["chunker"] for case in VECTORS["cases"]} >= {FastcdcChunker(size).name for size in SIZE_CHOICES}


def test_the_table_and_the_masks_are_those_of_the_vectors():
    assert [int(value, 16) for value in VECTORS["gear"]] == plain.GEAR
    assert {parse_size(size): tuple(int(mask, 16) for mask in both) for size, both in VECTORS["masks"].items()} == plain.MASKS


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5 * SIZE), st.integers(), st.sampled_from([2, 3, 256]))
def test_the_library_cuts_as_the_plain_reference_does(length, seed, values):
    """``values``: how many different bytes there are; with few of them the longest leaves come."""
    table = bytes(value % values for value in range(256))
    data = random.Random(seed).randbytes(length).translate(table)
    assert FastcdcChunker(SIZE).cut(memoryview(data), last=True) == plain.lengths(data, SIZE)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * SIZE), st.integers(), st.binary(min_size=32, max_size=32))
def test_with_a_key_too(length, seed, key):
    data = random.Random(seed).randbytes(length)
    keyed = FastcdcChunker(SIZE).keyed(key)
    assert keyed.cut(memoryview(data), last=True) == plain.lengths(data, SIZE, plain.seed_of(key))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8 * SIZE), st.integers(), st.lists(st.integers(1, 4 * SIZE), min_size=1, max_size=12))
def test_stretches_do_not_matter(length, seed, stretches):
    data = memoryview(random.Random(seed).randbytes(length))
    chunker = FastcdcChunker(SIZE)
    found, start, end = [], 0, 0
    for stretch in stretches:
        end = min(length, end + stretch)
        lengths = chunker.cut(data[start:end], last=False)
        found += lengths
        start += sum(lengths)
    found += chunker.cut(data[start:], last=True)
    assert found == chunker.cut(data, last=True)


def test_little_is_left_over_and_what_is_given_is_final():
    data = memoryview(random.Random(1).randbytes(9 * SIZE))
    chunker = FastcdcChunker(SIZE)
    whole = chunker.cut(data, last=True)
    for end in range(1, len(data), 9973):
        some = chunker.cut(data[:end], last=False)
        assert some == whole[: len(some)]
        assert end - sum(some) <= whole[len(some)]  # nothing is held back longer than the leaf is


def leaves_of(chunker, parts):
    """The digests of the leaves of what comes in parts, as a reader gives it."""
    found, rest = [], b""
    for part in parts:
        data = memoryview(rest + part)
        at = 0
        for length in chunker.cut(data, last=False):
            found.append(hashlib.sha256(data[at : at + length]).digest())
            at += length
        rest = bytes(data[at:])
    at = 0
    for length in chunker.cut(memoryview(rest), last=True):
        found.append(hashlib.sha256(rest[at : at + length]).digest())
        at += length
    return found


@pytest.mark.parametrize("size", SIZE_CHOICES)
def test_a_byte_put_in_front_changes_few_leaves(size):
    """Of 1 GiB, 95 % of the leaves stay (`wherry bench dedup` does that); of 64 MiB, all but a few at the front."""
    parts = [random.Random(number).randbytes(4 * MIB) for number in range(16)]
    before = leaves_of(FastcdcChunker(size), parts)
    after = leaves_of(FastcdcChunker(size), [b"x", *parts])
    lost = len(before) - len(set(before) & set(after))
    assert 1 <= lost <= 8
    assert not set(leaves_of(FixedChunker(MIB), parts)) & set(leaves_of(FixedChunker(MIB), [b"x", *parts]))


@pytest.mark.parametrize("size", [0, -1, SIZE - 1, 4 * MIB])
def test_only_the_sizes_that_have_a_name(size):
    with pytest.raises(ValueError, match="64KiB, 256KiB, 1MiB"):
        FastcdcChunker(size)


def test_the_secret_is_not_shown():
    keyed = FastcdcChunker(SIZE).keyed(bytes(32))
    assert isinstance(keyed, SupportsKey)
    assert str(keyed.seed) not in repr(keyed)
    assert keyed != FastcdcChunker(SIZE)


@given(st.binary(min_size=32, max_size=32))
def test_every_key_gives_a_seed_that_the_library_takes(key):
    assert 0 < FastcdcChunker(SIZE).keyed(key).seed < 1 << 63
