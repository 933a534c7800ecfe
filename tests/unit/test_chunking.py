"""Chunking: specs/0003 §8."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.chunking import FixedChunker
from wherry.errors import ConfigError, PluginError, UsageError
from wherry.limits import LEAF_BYTES_MAX
from wherry.units import MiB
from wherry.wiring import Wiring


@pytest.fixture
def wiring(tmp_path):
    return Wiring(tmp_path, None, {})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (None, "fixed:1MiB"),
        ("fixed", "fixed:1MiB"),
        ("fixed:2MiB", "fixed:2MiB"),
        ("fixed:4 MiB", "fixed:4MiB"),
        ("fixed:4194304", "fixed:4MiB"),
        ("fixed:4mib", "fixed:4MiB"),
        ("fastcdc", "fastcdc:256KiB"),
        ("fastcdc:64KiB", "fastcdc:64KiB"),
        ("fastcdc:1MiB", "fastcdc:1MiB"),
    ],
)
def test_whatever_the_spelling_a_choice_has_one_name(wiring, text, name):
    assert wiring.chunker(text).name == name


@pytest.mark.parametrize(
    "text",
    [":1MiB", "fixed:0", "fixed:3MiB", "fixed:8MiB", "fixed:1MB", "fixed:-1MiB", "FIXED:1MiB", "rabin", "fixed:1MiB:"],
)
def test_anything_else_is_refused(wiring, text):
    with pytest.raises((ConfigError, PluginError, UsageError)):
        wiring.chunker(text)


@pytest.mark.parametrize("text", ["fixed:3MiB", "fastcdc:4MiB"])
def test_a_size_that_is_none_of_the_choices_is_refused_with_them(wiring, text):
    with pytest.raises(ConfigError, match="1MiB"):
        wiring.chunker(text)


def test_the_configuration_chooses(tmp_path):
    file = tmp_path / "wherry.toml"
    file.write_text('[chunker]\nuse = "fastcdc"\n[chunker.fastcdc]\nsize = "64 KiB"\n')
    wiring = Wiring(tmp_path, file, {})
    assert wiring.chunker().name == "fastcdc:64KiB"
    assert wiring.chunker("fastcdc:1MiB").name == "fastcdc:1MiB"
    assert wiring.chunker("fixed").name == "fixed:1MiB"


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
