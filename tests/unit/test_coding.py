"""Codings: what is coded, by what name, and that nothing a compressor does leaves as anything but a DecodeError."""

from __future__ import annotations

import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wherry.abc.compressor import Compressor
from wherry.coding import CODED_BYTES_MIN, SAVED_BYTES_MIN, Codings, Form, Identity
from wherry.errors import ConfigError, DecodeError, PluginBroken
from wherry.testing.compressor import text
from wherry_compress.lz4 import Lz4Compressor
from wherry_compress.options import Lz4Options, ZstdOptions
from wherry_compress.zstd import ZstdCompressor

MIB = 1 << 20
NOISE = random.Random(1).randbytes(MIB)


class Halves(Compressor):
    """Takes every second byte, and remembers what it was given: for data of pairs."""

    levels = (1, 2)

    def __init__(self, fault=None):
        self.given = []
        self.fault = fault

    def compress(self, data, *, level=None):
        self.given.append((len(data), level))
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault if self.fault is not None else bytes(data)[::2]

    def decompress_into(self, coded, view):
        if isinstance(self.fault, Exception):
            raise self.fault
        view[::2] = coded
        view[1::2] = coded


def made(preferred, *forms, **compressors):
    """Codings over ready compressors; gives them, and the names of those that were built."""
    built = []

    def build(name):
        built.append(name)
        found = compressors[name]
        if isinstance(found, Exception):
            raise found
        return found

    return Codings(preferred, build, forms), built


def back(codings, coded, size):
    view = memoryview(bytearray(size))
    codings.decode_into(*coded, view)
    return bytes(view)


def ours(preferred="zstd"):
    return made(preferred, Form("lz4", "lz4"), Form("zstd", "zstd"), zstd=ZstdCompressor(ZstdOptions()),
                lz4=Lz4Compressor(Lz4Options()))[0]  # fmt: skip


def test_the_preferred_comes_first_and_nothing_is_built_to_be_named():
    codings, built = made("zstd", Form("identity", "identity"), Form("lz4", "lz4"), Form("zstd", "zstd"))
    assert codings.names == ("zstd", "lz4")
    assert built == []


def test_by_default_nothing_is_coded_and_nothing_known():
    codings = Codings()
    assert codings.names == ()
    assert codings.encode(text(MIB)) is None
    assert codings.common(["zstd"]) is None
    with pytest.raises(DecodeError, match="not known here"):
        codings.decode_into("zstd", b"x", memoryview(bytearray(10)))


def test_identity_decodes_others_and_codes_nothing():
    codings = made("identity", Form("identity", "identity"), Form("zstd", "zstd"), zstd=ZstdCompressor(ZstdOptions()))[0]
    assert codings.names == ("zstd",)
    assert codings.encode(text(MIB)) is None
    assert codings.common(["zstd"]) is None
    assert back(codings, ours().encode(text(MIB)), MIB) == text(MIB)


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_what_shrinks_is_coded_and_comes_back(name):
    codings = ours()
    for size in (CODED_BYTES_MIN, 5000, MIB, 4 * MIB):
        coded = codings.encode(text(size), name=name)
        assert coded[0] == name
        assert len(coded[1]) <= size - SAVED_BYTES_MIN
        assert back(codings, coded, size) == text(size)


@pytest.mark.parametrize("data", [NOISE, NOISE[:5000], text(CODED_BYTES_MIN - 1), b"", b"x"], ids=len)
def test_what_does_not_shrink_stays_plain(data):
    assert ours().encode(data) is None


def test_what_saves_too_little_stays_plain():
    nearly = NOISE[:98_000] + bytes(2000)
    assert 0.97 < len(ZstdCompressor(ZstdOptions()).compress(nearly)) / len(nearly) < 1
    assert ours().encode(nearly) is None


def test_a_sample_decides_before_the_whole_is_coded():
    compressor = Halves(fault=b"\0" * 12_288)  # a sample that does not shrink
    codings = made("acme.halves", **{"acme.halves": compressor})[0]
    assert codings.encode(NOISE) is None
    assert compressor.given == [(3 * 4096, 1)]


def test_a_sample_is_of_the_beginning_the_middle_and_the_end():
    codings = ours()
    assert codings.encode(NOISE[: MIB // 2] + text(MIB // 2)) is not None
    assert codings.encode(text(MIB // 2) + NOISE[: MIB // 2]) is not None
    lone = NOISE[: MIB // 2 - 100_000] + text(200_000) + NOISE[: MIB // 2 - 100_000]
    assert codings.encode(lone) is not None


def test_a_level_is_passed_on():
    compressor = Halves()
    codings = made("acme.halves", **{"acme.halves": compressor})[0]
    assert codings.levels("acme.halves") == (1, 2)
    data = bytes(2000)
    assert codings.encode(data, level=2) == ("acme.halves", bytes(1000))
    assert codings.encode(data, name="acme.halves") == ("acme.halves", bytes(1000))
    assert [level for _, level in compressor.given] == [2, None]


def test_an_instance_is_called_by_its_format_on_the_wire():
    codings, built = made("dense", Form("zstd", "zstd"), Form("dense", "zstd", tuned=True),
                          dense=ZstdCompressor(ZstdOptions(level=9)), zstd=ZstdCompressor(ZstdOptions()))  # fmt: skip
    assert codings.names == ("zstd",)
    assert codings.encode(text(5000))[0] == "zstd"
    assert built == ["dense"]


def dictionary(folder, seed):
    rng = random.Random(seed)
    rows = [b'{"%d": %d, "row-%d": "n%d"}' % (seed, n, seed, rng.getrandbits(20)) for n in range(3000)]
    path = folder / f"dictionary-{seed}"
    path.write_bytes(zstandard.train_dictionary(4096, rows).as_bytes())
    return path, b"".join(rows[:30])


def test_a_dictionary_makes_a_coding_of_its_own(tmp_path):
    (path, data), (other, _) = dictionary(tmp_path, 1), dictionary(tmp_path, 2)

    def codings(preferred, **paths):
        built = {name: ZstdCompressor(ZstdOptions(dictionary=path)) for name, path in paths.items()}
        forms = [Form(name, "zstd", tuned=True) for name in paths]
        return made(preferred, *forms, **built)[0]

    mine, same, wrong = codings("a", a=path), codings("b", b=path), codings("c", c=other)
    name, coded = mine.encode(data)
    assert mine.names == (name, "zstd")
    assert name.startswith("zstd+dict-")
    assert len(coded) < len(ours().encode(data)[1])
    assert back(same, (name, coded), len(data)) == data
    for stranger in (wrong, ours()):
        with pytest.raises(DecodeError, match="not known here"):
            back(stranger, (name, coded), len(data))
        with pytest.raises(DecodeError, match="dictionary"):  # said to be plain zstd, which it is not
            back(stranger, ("zstd", coded), len(data))
    assert back(mine, ours().encode(data), len(data)) == data
    assert mine.common(["zstd"]) is None  # it reads that, and does not write it
    assert mine.encode(data, name="zstd") is None
    assert mine.common(same.names) == name
    both = codings("c", c=other, a=path)
    assert both.names == (wrong.names[0], "zstd", name)
    assert back(both, (name, coded), len(data)) == data
    forms = [Form("a", "zstd", tuned=True), Form("zstd", "zstd")]
    beside = made("a", *forms, a=ZstdCompressor(ZstdOptions(dictionary=path)), zstd=ZstdCompressor(ZstdOptions()))[0]
    assert beside.names == (name, "zstd")
    assert beside.common(["zstd"]) == "zstd"  # who has a plain one besides writes that for others
    assert back(ours(), beside.encode(data, name="zstd"), len(data)) == data


@pytest.mark.parametrize("content", [b"", b"no dictionary at all", b"\x37\xa4\x30\xec" + bytes(100), bytes(5 << 20)], ids=len)
def test_what_is_no_dictionary_is_an_error_of_the_configuration(tmp_path, content):
    (tmp_path / "d").write_bytes(content)
    with pytest.raises(ConfigError, match=r"compressor\.zstd\.dictionary"):
        ZstdCompressor(ZstdOptions(dictionary=tmp_path / "d"))
    with pytest.raises(ConfigError, match="No such file"):
        ZstdCompressor(ZstdOptions(dictionary=tmp_path / "absent"))


@pytest.mark.parametrize("fault", [ValueError("no"), MemoryError(), KeyError("k"), b"", "text", bytearray(9)], ids=repr)
def test_a_broken_compressor_is_not_asked_again(fault):
    broken = Halves(fault=fault)
    codings = made("acme.halves", **{"acme.halves": broken})[0]
    assert codings.encode(bytes(2000)) is None
    assert list(codings.broken) == ["acme.halves"]
    assert codings.encode(bytes(2000)) is None
    assert len(broken.given) == 1
    assert codings.common(["acme.halves"]) is None


@pytest.mark.parametrize("levels", [None, 5, ("a",), (1, None)])
def test_levels_that_are_none_are_no_levels(levels):
    odd = Halves()
    odd.levels = levels
    codings = made("zstd", Form("zstd", "zstd"), Form("acme.halves", "acme.halves"), **{"acme.halves": odd})[0]
    assert codings.levels("acme.halves") == ()
    assert list(codings.broken) == ["acme.halves"]


def test_a_compressor_that_cannot_be_built_codes_nothing_and_fails_nothing():
    codings = made("zstd", Form("zstd", "zstd"), zstd=PluginBroken("its library is gone"))[0]
    assert codings.levels("zstd") == ()
    assert codings.encode(bytes(5000)) is None
    assert "its library is gone" in codings.broken["zstd"]


@pytest.mark.parametrize("fault", [ValueError("no"), MemoryError(), PluginBroken("gone"), RecursionError()], ids=repr)
def test_whatever_decoding_raises_is_a_decode_error_that_names_it(fault):
    codings = made("acme.halves", **{"acme.halves": Halves(fault=fault)})[0]
    with pytest.raises(DecodeError, match=r"acme\.halves"):
        back(codings, ("acme.halves", b"x"), 2)
    codings = made("zstd", Form("zstd", "zstd"), Form("acme.halves", "acme.halves"), **{"acme.halves": fault})[0]
    with pytest.raises(DecodeError, match=r"acme\.halves"):
        back(codings, ("acme.halves", b"x"), 2)


def test_a_compressor_that_cannot_be_built_is_said_when_names_are_asked_for():
    codings = made("mine", Form("mine", "zstd", tuned=True), mine=ConfigError("no dictionary"))[0]
    with pytest.raises(ConfigError):
        codings.names  # noqa: B018 - a property that reads files
    with pytest.raises(DecodeError, match="no dictionary"):
        codings.decode_into("zstd", b"x", memoryview(bytearray(5)))


@pytest.mark.parametrize("name", ["", "gzip", "zstd+dict-1", "z" * 10_000, "\x1b[2J", "identity"])
def test_unknown_names_are_refused_and_shown_as_text(name):
    with pytest.raises(DecodeError, match="not known here") as caught:
        back(ours(), (name, b"x"), 5)
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


@given(st.sampled_from(["zstd", "lz4"]), st.binary(max_size=200), st.integers(0, 3000))
def test_any_bytes(name, coded, size):
    try:
        back(ours(), (name, coded), size)
    except DecodeError:
        return


def test_identity_gives_what_it_takes():
    assert Identity().compress(memoryview(b"abc")) == b"abc"
    with pytest.raises(DecodeError):
        Identity().decompress_into(b"abc", memoryview(bytearray(4)))
