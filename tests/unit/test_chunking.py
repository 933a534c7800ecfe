"""Chunking: specs/0003 §8."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.chunking import CHOICES, FixedChunker, parse_chunker
from wherry.errors import UsageError
from wherry.limits import LEAF_BYTES_MAX
from wherry.units import MiB


@pytest.mark.parametrize(("text", "leaf_bytes"), [("fixed:1MiB", MiB), ("fixed:2MiB", 2 * MiB), ("fixed:4MiB", 4 * MiB)])
def test_the_choices_are_read_and_named(text, leaf_bytes):
    assert parse_chunker(text) == FixedChunker(leaf_bytes)
    assert parse_chunker(text).name == text
    assert text in CHOICES


@pytest.mark.parametrize("text", ["fixed:4 MiB", "fixed:4194304", "fixed:4mib"])
def test_other_spellings_of_a_choice_have_its_one_name(text):
    assert parse_chunker(text).name == "fixed:4MiB"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fixed",
        "fixed:",
        "fixed:0",
        "fixed:3MiB",
        "fixed:8MiB",
        "fixed:1MB",
        "fixed:-1MiB",
        "FIXED:1MiB",
        "rabin",
        ":1MiB",
        "fixed:1MiB:",
    ],
)
def test_anything_else_is_refused_with_the_choices(text):
    with pytest.raises(UsageError) as caught:
        parse_chunker(text)
    for choice in CHOICES:
        assert choice in str(caught.value)


@pytest.mark.parametrize("leaf_bytes", [0, -1, LEAF_BYTES_MAX + 1])
def test_leaves_beyond_the_limit_cannot_be_asked_for(leaf_bytes):
    with pytest.raises(ValueError, match="leaves have 1 to"):
        FixedChunker(leaf_bytes)


@pytest.mark.parametrize(("leaf_bytes", "name"), [(1024, "fixed:1KiB"), (10, "fixed:10"), (3 * MiB, "fixed:3MiB")])
def test_any_size_has_a_name(leaf_bytes, name):
    assert FixedChunker(leaf_bytes).name == name


@given(st.integers(1, 50), st.integers(0, 1000))
def test_cuts_cover_a_file_without_gap_or_overlap(leaf_bytes, size):
    cuts = list(FixedChunker(leaf_bytes).cuts(size))
    assert len(cuts) == FixedChunker(leaf_bytes).count(size)
    end = 0
    for offset, length in cuts:
        assert offset == end
        assert 0 < length <= leaf_bytes
        end += length
    assert end == size
    assert all(length == leaf_bytes for _, length in cuts[:-1])


def test_cuts_of_a_huge_file_are_lazy():
    cuts = FixedChunker(MiB).cuts(1 << 60)
    assert next(cuts) == (0, MiB)
    assert FixedChunker(MiB).count((1 << 60) + 1) == (1 << 40) + 1
