"""Other people's plugins that hang, in a real process: all bytes come, who hangs is named, and the process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from strangers import plugin

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CACHE = """
import time
from wherry_cache.memory import MemoryCache

class Hanging(MemoryCache):
    def close(self):
        time.sleep(600)
"""


def test_a_cache_that_does_not_close_costs_seconds(environ, wherry, tree, tmp_path):
    site = tmp_path / "site"
    plugin(site, "cache", "return Hanging(options.max_bytes)", more=CACHE)
    environ["PYTHONPATH"] = os.pathsep.join([str(site), environ["PYTHONPATH"]])
    cid = json.loads(wherry("add", tree, "--home", tmp_path / "a", "--json").stdout)["cid"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "wherry.toml").write_text('[cache]\nuse = "acme.own"\n')
    words = ["cat", f"{cid}/data/large.bin", "--home", str(tmp_path / "b"), "--from", f"file://{tmp_path / 'a'}"]
    began = time.monotonic()
    command = [sys.executable, "-m", "wherry_cli", *words]
    done = subprocess.run(command, capture_output=True, env=environ, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (0, (tree / "data" / "large.bin").read_bytes())
    assert time.monotonic() - began < 60
    said = "the cache acme.own (acme_wherry.plugin.Hanging) has not come back after 5 s from close; it is left behind"
    assert said in done.stderr.decode()
