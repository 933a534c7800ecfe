"""Which compressors a node has: wherry's own, and those that its configuration names; no others are loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wherry.coding import Codings
from wherry.errors import ConfigError, DecodeError
from wherry.plugin.manager import Manager
from wherry.testing.compressor import text
from wherry.wiring import Wiring

DATA = text(100_000)


def codings(tmp_path, config=""):
    file = tmp_path / "some.toml"
    file.write_text(config)
    return Wiring(tmp_path, file, {}).codings


def test_by_default_zstd_codes_and_both_are_read(tmp_path):
    made = codings(tmp_path)
    assert made.names == ("zstd", "lz4")
    assert made.encode(DATA)[0] == "zstd"


@pytest.mark.parametrize(
    ("config", "names", "codes"),
    [
        ('[compressor]\nuse = "lz4"\n', ("lz4", "zstd"), "lz4"),
        ('[compressor]\nuse = "identity"\n', ("lz4", "zstd"), None),
        ('[compressor]\nuse = "dense"\n[compressor.dense]\nplugin = "zstd"\nlevel = 12\n', ("zstd", "lz4"), "zstd"),
        ("[compressor.lz4]\nlevel = 9\n", ("zstd", "lz4"), "zstd"),
    ],
)
def test_one_line_chooses(tmp_path, config, names, codes):
    made = codings(tmp_path, config)
    assert made.names == names
    coded = made.encode(DATA)
    assert (coded[0] if coded else None) == codes
    if coded:
        view = memoryview(bytearray(len(DATA)))
        codings(tmp_path).decode_into(*coded, view)
        assert view == DATA


def test_options_of_the_instance_hold(tmp_path):
    fast, dense = (codings(tmp_path, f"[compressor.zstd]\nlevel = {level}\n").encode(DATA)[1] for level in (1, 19))
    assert len(dense) < len(fast)


@pytest.mark.parametrize("level", [0, 20])
def test_a_level_that_there_is_not(tmp_path, level):
    with pytest.raises(ConfigError, match="level"):
        _ = codings(tmp_path, f'[compressor]\nuse = "zstd"\n[compressor.zstd]\nlevel = {level}\n').encode(DATA)


def test_a_dictionary_that_is_not_there_is_said(tmp_path):
    made = codings(tmp_path, f'[compressor.zstd]\ndictionary = "{tmp_path / "absent"}"\n')
    with pytest.raises(ConfigError, match="No such file"):
        _ = made.names


def test_a_strangers_bytes_load_no_strangers_package(tmp_path, monkeypatch):
    """Neither when names are asked for nor when a block is called by that package's name."""
    monkeypatch.setattr("wherry.plugin.installed.Installed.others", lambda self: pytest.fail("others were looked for"))
    made = codings(tmp_path)
    assert made.names == ("zstd", "lz4")
    with pytest.raises(DecodeError, match=r"acme\.fast.*not known here"):
        made.decode_into("acme.fast", b"x", memoryview(bytearray(5)))
    assert Manager().own_names("compressor") == ["identity", "lz4", "zstd"]


def test_naming_codings_imports_no_library(tmp_path):
    code = (
        "import sys; from pathlib import Path; from wherry.wiring import Wiring; "
        "print(Wiring(Path(sys.argv[1]), None, {}).codings.names, {'lz4', 'zstandard'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "('zstd', 'lz4') set()\n"


def test_without_wiring_there_are_none():
    assert Codings().names == ()
