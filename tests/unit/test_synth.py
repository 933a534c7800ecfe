"""Generated sources: the same bytes each time, whatever stretch is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import UsageError
from wherry.synth import Synth, is_synth
from wherry.units import MiB

SOURCE = Synth("synth://3MiB?seed=7")


def whole(source):
    data = bytearray(source.size)
    source.read_into(memoryview(data), 0)
    return bytes(data)


WHOLE = whole(SOURCE)


@given(st.integers(0, 3 * MiB), st.integers(0, 40))
def test_any_stretch_is_that_of_the_whole(offset, count):
    view = bytearray(min(count, 3 * MiB - offset))
    SOURCE.read_into(memoryview(view), offset)
    assert view == WHOLE[offset : offset + count]


def test_stretches_across_many_units():
    for offset, count in ((MiB - 5, 2 * MiB), (MiB + 8, MiB), (3, 3 * MiB - 3)):
        view = bytearray(count)
        SOURCE.read_into(memoryview(view), offset)
        assert view == WHOLE[offset : offset + count]


def test_no_two_units_are_alike_and_seeds_differ():
    units = {WHOLE[start : start + MiB] for start in range(0, 3 * MiB, MiB)} | {
        whole(Synth(f"synth://1MiB?seed={seed}")) for seed in range(3)
    }
    assert len(units) == 6
    assert whole(Synth("synth://3145728?seed=7")) == WHOLE
    assert whole(Synth("synth://1MiB")) == whole(Synth("synth://1MiB?seed=0"))


@pytest.mark.parametrize(
    "address",
    [
        "", "synth:", "synth://", "synth://x", "synth://-1", "synth://1MiB?seed=", "synth://1MiB?seed=-1", "synth://1MiB?x=1",
        "synth://1MiB?seed=1&x", "synth://9999999PiB", "synth://1MiB/../etc", "Synth://1MiB", "synth://1MiB\n",
        "synth://1MiB?seed=" + "9" * 30,
    ],
)  # fmt: skip
def test_what_is_none(address):
    with pytest.raises(UsageError, match="generated source"):
        Synth(address)


def test_its_address_is_its_name():
    assert Synth("synth://4 KiB?seed=007").address == "synth://4096?seed=7"
    assert is_synth("synth://x")
    assert not is_synth("/tmp/synth://x")
