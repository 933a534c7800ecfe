"""The benchmarks of parts: what is found, what is left out with a reason, and the data that they are tried on."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from itertools import pairwise

import pytest

from wherry.abc.compressor import Compressor
from wherry.chunking import FixedChunker
from wherry.errors import PluginError
from wherry_cli.bench import bench, corpus, dedup, plugins, table
from wherry_cli.bench.figure import Run, Table
from wherry_cli.bench.report import lines_of
from wherry_cli.bench.samples import SAMPLES
from wherry_cli.bench.scale import Scale
from wherry_cli.bench.workspace import Workspace
from wherry_cli.render import Out

MIB = 1 << 20


class Zlib(Compressor):
    levels = (1,)

    def compress(self, data, *, level=None):
        return zlib.compress(data, 1)

    def decompress_into(self, coded, view):
        view[:] = zlib.decompress(coded)


class Loses(Zlib):
    def decompress_into(self, coded, view):
        super().decompress_into(coded, view)
        view[0] ^= 1


class Raises(Zlib):
    def compress(self, data, *, level=None):
        raise RuntimeError("not today")


class Forgets:
    def __init__(self):
        self.closed = False

    def put_many(self, blocks):
        self.blocks = {block.cid: block for block in list(blocks)[1:]}

    def get_many(self, cids):
        return [self.blocks.get(cid) for cid in cids]

    def delete_many(self, cids):
        pass

    def close(self):
        self.closed = True


@pytest.fixture
def space(tmp_path):
    scale = Scale(sample_bytes=2 * MIB, rounds=2)
    return Workspace(tmp_path, scale, config=None, environ={}, say=lambda text: None)


@pytest.fixture
def installed(monkeypatch):
    """Puts parts of the test's own in the place of all that are installed."""
    cache = Forgets()
    parts = {
        "compressor": {"a.zlib": Zlib(), "b.loses": Loses(), "c.raises": Raises()},
        "cipher": {},
        "chunker": {"a.half": FixedChunker(MIB // 2)},
        "cache": {"a.forgets": cache},
    }

    class Wiring:
        def __init__(self, home, config_file, environ):
            self.manager = self

        def names(self, kind):
            return [*parts[kind], *(["d.broken"] if kind == "cipher" else [])]

        def chosen(self, kind):
            return list(parts[kind])[:1]

        def build(self, kind, name):
            if name not in parts[kind]:
                raise PluginError(f"{name} does not load")
            return parts[kind][name]

        def cache(self, name):
            return self.build("cache", name)

    monkeypatch.setattr(plugins, "Wiring", Wiring)
    return cache


def test_whatever_is_installed_is_measured_and_what_breaks_is_said(space, installed):
    report = plugins.plugins(space)
    rows = [dict(zip(report.table.columns, row, strict=True)) for row in report.table.rows]
    found = {(row["kind"], row["name"], row["data"]): row for row in rows}
    assert {(kind, name) for kind, name, _ in found} == {
        ("reference", "SHA-256"), ("reference", "memcpy"),
        ("compressor", "a.zlib"), ("chunker", "a.half"), ("cache", "a.forgets"),
    }  # fmt: skip
    assert all(len(arm.runs) == 2 for arm in report.arms)
    assert len(report.arms) == len(rows) == 5 * len(SAMPLES)
    assert found["compressor", "a.zlib", "text"]["ratio"] < 0.5
    assert found["compressor", "a.zlib", "random"]["ratio"] > 0.99
    assert found["chunker", "a.half", "text"]["out MB/s"] is None
    assert installed.closed
    notes = "\n".join(report.notes)
    assert "cipher d.broken is left out: d.broken does not load" in notes
    assert "compressor b.loses broke on text, round 1: WherryError: other bytes came out than went in" in notes
    assert "compressor c.raises broke on random, round 1: RuntimeError: not today" in notes
    assert "cache a.forgets had forgotten 1 of the blocks on bf16" in notes
    assert not report.at_full_size


def test_people_get_a_table_and_programs_all_runs(space, installed):
    report = plugins.plugins(space)
    text = list(lines_of(report, Out(as_json=False, quiet=False, color="never", environ={})))
    assert text[1].split() == ["kind", "name", "data", "in", "MB/s", "out", "MB/s", "ratio", "in,", "of", "SHA-256"]
    assert text[2].startswith("  reference   SHA-256")
    assert not any(line.startswith("  compressor a.zlib, text  ") for line in text)
    found = report.to_json()
    assert found["table"]["rows"][0]["kind"] == "reference"
    assert len(found["arms"][0]["runs"]) == 2


def test_a_table_as_json():
    assert Table(("a", "b"), [["x", 1 / 3], ["y", None]]).to_json() == {
        "columns": ["a", "b"], "rows": [{"a": "x", "b": 0.333333}, {"a": "y", "b": None}],
    }  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("size", [1, 4095, MIB])
def test_samples_are_as_long_as_asked_and_always_the_same(name, size):
    data = SAMPLES[name](size)
    assert len(data) == size
    assert SAMPLES[name](size) == data
    assert len({SAMPLES[each](MIB) for each in SAMPLES}) == len(SAMPLES)


def test_tensors_are_as_hard_to_code_as_weights_are():
    """Signs and fractions are chance, exponents are not: 4-bytes weights lose about a tenth, 2-byte ones a fifth."""
    floats = struct.unpack(f"<{MIB // 4}f", SAMPLES["float32"](MIB))
    assert abs(sum(floats) / len(floats)) < 0.001
    assert 0.019 < (sum(value * value for value in floats) / len(floats)) ** 0.5 < 0.021
    halves = struct.unpack(f"<{MIB // 2}H", SAMPLES["bf16"](MIB))
    widened = struct.unpack(f"<{len(halves)}f", b"".join(struct.pack("<I", half << 16) for half in halves))
    assert 0.019 < (sum(value * value for value in widened) / len(widened)) ** 0.5 < 0.021
    assert 0.85 < len(zlib.compress(SAMPLES["float32"](MIB))) / MIB < 0.97
    assert 0.7 < len(zlib.compress(SAMPLES["bf16"](MIB))) / MIB < 0.9


# Versions


def test_versions_are_the_same_each_time_and_differ_a_little(tmp_path):
    first = [path.name for path in corpus.write_versions(tmp_path / "a", 64 << 10)]
    assert first == [f"v{number:02}" for number in range(1, 11)]
    list(corpus.write_versions(tmp_path / "b", 64 << 10))
    for name in ("table.csv", "table.jsonl", "table.records"):
        files = [(tmp_path / "a" / version / name).read_bytes() for version in first]
        assert files == [(tmp_path / "b" / version / name).read_bytes() for version in first]
        assert len(set(files)) == 10
    rows = [(tmp_path / "a" / version / "table.csv").read_bytes().splitlines() for version in first]
    for before, after in pairwise(rows):
        assert 0.9 < len(set(before) & set(after)) / len(before) < 1
        assert len(after) > len(before)


def test_pip_that_fails_and_another_file_of_the_name_are_said(tmp_path, monkeypatch, space):
    class Done:
        returncode, stderr = 1, "ERROR: no route\n"

    monkeypatch.setattr(corpus.subprocess, "run", lambda *args, **options: Done)
    report = dedup.dedup_releases(space)
    assert "no route" in report.skipped
    assert not (space.folder / "releases").exists()

    def other(line, **options):
        with open(f"{line[line.index('-d') + 1]}/other.whl", "wb") as file:
            file.write(b"other")
        done = Done()
        done.returncode = 0
        return done

    monkeypatch.setattr(corpus.subprocess, "run", other)
    assert "is not what it was" in dedup.dedup_releases(space).skipped


def test_what_downloads_runs_only_when_it_is_named():
    assert "dedup-releases" not in bench.choose([])
    assert bench.choose(["dedup-releases"]) == ["dedup-releases"]
    assert [name for name, each in table.BENCHMARKS.items() if each.asked] == ["dedup-releases"]


def test_leaves_that_stay_are_counted_over_the_stretches():
    assert dedup._stay(FixedChunker(MIB), 9 * MIB) == 0
    data = b"".join(random.Random(start).randbytes(4 * MIB if start == 0 else MIB) for start in (0, 4 * MIB))
    leaves = {hashlib.sha256(data[at : at + MIB]).digest() for at in range(0, len(data), MIB)}
    assert dedup._digests(FixedChunker(MIB), 5 * MIB, b"") == leaves
    shifted = b"\0" + data
    leaves = {hashlib.sha256(shifted[at : at + MIB]).digest() for at in range(0, len(shifted), MIB)}
    assert dedup._digests(FixedChunker(MIB), 5 * MIB, b"\0") == leaves


def test_a_run_says_what_more_it_saw():
    assert Run(1.0, {"out_seconds": 2.0}).to_json(1) == {"round": 1, "seconds": 1.0, "out_seconds": 2.0}
