"""What a gateway says to strangers about files that are gone or changed, and of names that few have."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def asked(url, method="GET", **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers, method=method), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read()


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_a_file_that_is_no_more_what_it_was_is_not_here_and_no_path_is_told(change, start, wherry, tmp_path):
    file = tmp_path / "file"
    file.write_text("one\n")
    cid = wherry("add", "-q", file).stdout.decode().strip()
    if change == "gone":
        file.unlink()
    else:
        file.write_text("something longer\n")
    said = start("serve", "--listen", "http://127.0.0.1:0", "--json").said()
    status, text = asked(f"{said['listen'][0]}/ipfs/{cid}")
    assert status == 404
    assert str(tmp_path).encode() not in text


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_what_was_lost_is_refused_in_every_form_before_an_answer_begins(change, start, wherry, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, size in (("large", 3 << 20), ("small", 100_000)):  # a node and three leaves; one leaf
        (tree / name).write_bytes(bytes(size))
    said = json.loads(wherry("add", "--json", tree).stdout)
    base = start("serve", "--listen", "http://127.0.0.1:0", "--json").said()["listen"][0]
    cars = ("?format=car", "?format=car&dag-scope=entity")
    forms = [("large", ""), ("large", "?format=tar"), *(("small", form) for form in ("", "?format=tar", "?format=raw", *cars))]
    roots = (said["cid"], said["unixfs_cid"])
    for root in roots:
        for name, form in forms:
            assert asked(f"{base}/ipfs/{root}/{name}{form}")[0] == 200, form
    for name in ("large", "small"):
        (tree / name).unlink() if change == "gone" else (tree / name).write_bytes(b"other")
    ways = (({}, 404), ({"Range": "bytes=0-9"}, 404), ({"Cache-Control": "only-if-cached, no-transform"}, 412))
    for method in ("GET", "HEAD"):
        for root in roots:
            for name, form in forms:
                for headers, expected in ways:
                    assert asked(f"{base}/ipfs/{root}/{name}{form}", method, **headers)[0] == expected, (name, form, headers)
    for root in roots:
        assert asked(f"{base}/ipfs/{root}/large?format=raw")[0] == 200  # the node of the file, which is here
        with pytest.raises((OSError, http.client.HTTPException)):  # and of a CAR the blocks before the first that is gone
            asked(f"{base}/ipfs/{root}/large?format=car")


def test_a_name_with_a_newline_is_reached(start, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x\ny").write_text("here\n")
    said = start("serve", folder, "--listen", "http://127.0.0.1:0", "--json").said()
    cid = said["added"][0]["cid"]
    assert asked(f"{said['listen'][0]}/ipfs/{cid}/x%0Ay") == (200, b"here\n")
