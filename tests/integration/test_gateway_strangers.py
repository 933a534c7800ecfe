"""What a gateway says to strangers about files that are gone or changed, and of names that few have."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def asked(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
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


def test_a_name_with_a_newline_is_reached(start, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x\ny").write_text("here\n")
    said = start("serve", folder, "--listen", "http://127.0.0.1:0", "--json").said()
    cid = said["added"][0]["cid"]
    assert asked(f"{said['listen'][0]}/ipfs/{cid}/x%0Ay") == (200, b"here\n")
