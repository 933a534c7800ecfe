"""A process imports the libraries of what it uses, and of nothing else: extras that are installed cost nobody anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

EXTRAS = {"zeroconf", "obstore", "prometheus_client"}
OTHERS = {"nacl", "cryptography", "pyfastcdc", "lz4", "multiformats", "cbor2", "pytest", "pydantic", "typer"}
SCRIPT = """
import json, sys
from wherry.sync import Session
home, data, out, options = sys.argv[1:4] + [json.loads(sys.argv[4])]
with Session.open(home=__import__("pathlib").Path(home), **options) as session:
    added = session.add(data)
    with session.serve(listen=["http://127.0.0.1:0"]) as listen:
        with Session.open(home=__import__("pathlib").Path(home + "-2"), **options) as other:
            other.get(added.cid, sources=listen, output=out)
            other.verify(added.cid, out)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def imported(tmp_path, **options):
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data/x").write_bytes(os.urandom(3 << 20))
    environ = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path), "WHERRY_HOME": ""}
    places = [str(tmp_path / name) for name in ("home", "data", f"out-{len(options)}")]
    line = [sys.executable, "-c", SCRIPT, *places, json.dumps(options)]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_adding_serving_getting_and_verifying_import_no_library_that_they_do_not_use(tmp_path):
    assert imported(tmp_path) & (EXTRAS | OTHERS) == set()


def test_the_check_above_can_fail(tmp_path):
    """What is chosen is imported: so the names looked for are the right ones."""
    chosen = {"chunker.use": "fastcdc", "observer.use": "prometheus", "observer.prometheus.listen": "127.0.0.1:0"}
    found = imported(tmp_path, overrides=chosen)
    if "prometheus_client" not in found:
        pytest.skip("the extra prometheus is not installed")
    assert {"pyfastcdc", "prometheus_client"} <= found
