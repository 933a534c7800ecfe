"""Data from a server that speaks S3, a process of its own: moto's. It is no dependency; without it this skips."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from urllib.parse import quote

import pytest

from wherry_cli.demo import compare

pytest.importorskip("obstore", reason="the extra s3 is not installed")


def moto():
    """The program, if it is one that runs."""
    program = shutil.which("moto_server")
    if program is None:
        return None
    return (
        program if subprocess.run([program, "--help"], capture_output=True, check=False, timeout=60).returncode == 0 else None
    )


pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.skipif(moto() is None, reason="moto's server is not installed: pip install 'moto[server,s3]'"),
]


def put(address, data=b""):
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(address, data=data, method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


@pytest.fixture
def bucket(tree, tmp_path):
    """A bucket with a copy of the tree below a prefix; the address of the service."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "moto.log").open("wb") as log:
        server = subprocess.Popen([moto(), "-p", str(port)], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                put(f"{address}/datasets")
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < end, (tmp_path / "moto.log").read_text()
                time.sleep(0.1)
        for path in sorted(tree.rglob("*")):
            if path.is_file() and not path.is_symlink():
                put(f"{address}/datasets/v%201/{quote(path.relative_to(tree).as_posix())}", path.read_bytes())
        yield address
    finally:
        server.terminate()
        server.wait()


def test_the_manifest_from_a_peer_and_the_bytes_from_the_bucket(start, wherry, bucket, tree, tmp_path):
    process = start("share", tree, "--home", tmp_path / "a", "--listen", "http://127.0.0.1:0", "--json")
    said = process.said()
    (tmp_path / "b").mkdir()
    (tmp_path / "key").write_text("secret-of-the-test\n")
    (tmp_path / "name").write_text("name-of-the-key\n")
    (tmp_path / "b" / "wherry.toml").write_text(
        f'[transport]\nuse = ["http", "s3"]\n[transport.s3]\nendpoint = "{bucket}"\nallow_http = true\n'
        f'access_key_id_file = "{tmp_path}/name"\nsecret_access_key_file = "{tmp_path}/key"\n'
    )
    home = ("--home", tmp_path / "b", "--json")
    wherry("get", said["cid"], "-o", tmp_path / "copy", *home, "--dry-run", "--from", said["listen"][0])
    process.stop(signal.SIGKILL)
    done = wherry("get", said["cid"], "-o", tmp_path / "copy", *home, "--from", "s3://datasets/v%201/")
    assert list(compare(tree, tmp_path / "copy")) == []
    found = json.loads(done.stdout)
    assert [each["address"] for each in found["sources"]] == ["s3://datasets/v%201/"]
    assert found["fetched_bytes"] > 0
    assert b"secret-of-the-test" not in done.stdout + done.stderr


def test_it_is_not_put_to_use_by_an_address(wherry, tmp_path):
    done = wherry(
        "get", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "--from", "s3+s3://datasets/", "--json", code=2
    )
    problem = json.loads(done.stderr.splitlines()[-1])
    assert problem["hint"] == 'write under [transport]: use = ["http", "tcp", "file", "web", "s3"]'
