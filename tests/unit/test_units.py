"""Sizes and durations: what people write, and what is written for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.units import GiB, KiB, MiB, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0), ("512", 512), ("512B", 512), ("1k", 1000), ("1kB", 1000), ("1KiB", KiB), ("4 MiB", 4 * MiB),
        ("4mib", 4 * MiB), ("  2 GB ", 2 * 10**9), ("1.5GiB", 3 * GiB // 2), ("0.5 KiB", 512), ("1TiB", 1024 * GiB),
        ("3 tb", 3 * 10**12), ("1 PiB", 1 << 50), ("2P", 2 * 10**15), ("999999999999999999", 999_999_999_999_999_999),
    ],
)  # fmt: skip
def test_sizes(text, count):
    assert parse_size(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        ("30s", 30),
        ("1.5", 1.5),
        ("250ms", 0.25),
        ("5min", 300),
        ("5m", 300),
        ("2h", 7200),
        ("1 d", 86400),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


NUMBERLESS = [
    "",
    " ",
    "MiB",
    "-1",
    "+1",
    "1e3",
    "1_000",
    "0x10",
    "1.",
    ".5",
    "1.5.2",
    "1 MiB s",
    "nan",
    "inf",
    "١",
    "1" * 19,
    "1MiBs",
]


@pytest.mark.parametrize("text", [*NUMBERLESS, "1 parsec", "1 XiB", "1 Mb/s", "1 min"])
def test_no_sizes(text):
    with pytest.raises(ValueError, match="is not a"):
        parse_size(text)


@pytest.mark.parametrize("text", [*NUMBERLESS, "1 GiB", "1 y", "1us"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="is not a"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (KiB, "1.0 KiB"), (1536, "1.5 KiB"), (4 * MiB, "4.0 MiB"), (1 << 40, "1.0 TiB"),
        (1 << 60, "1024.0 PiB"),
    ],
)  # fmt: skip
def test_sizes_for_people(count, text):
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (4.24, "4.2s"),
        (10, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3600, "1h00m"),
        (90_000, "25h00m"),
    ],
)
def test_durations_for_people(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(0, 1 << 50))
def test_a_size_for_people_is_read_back_within_its_rounding(count):
    assert parse_size(format_size(count)) == pytest.approx(count, rel=0.051)


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_value_error(text):
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError:
            continue
