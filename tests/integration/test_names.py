"""A name from end to end: published to a tracker, resolved, got and followed by another home."""

from __future__ import annotations

import json
import os
import signal

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]  # a dozen processes, one after the other


def said(done):
    return json.loads(done.stdout)


def test_a_name_goes_over_a_tracker_and_its_content_is_followed(start, wherry, environ, tmp_path):
    tracker = start("tracker", "serve", "--listen", "http://127.0.0.1:0", "--store", tmp_path / "t.db").line()
    using = {"WHERRY_LOCATOR__USE": "tracker", "WHERRY_LOCATOR__TRACKER__URLS": tracker}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("one")
    first = said(wherry("add", tmp_path / "data", "--json"))["cid"]
    mine = {**environ, **using}
    published = said(wherry("name", "publish", first, "--json", env=mine))
    name = published["name"]
    assert published["told"] == [tracker]
    assert oct(os.stat(tmp_path / "home/keys/names/self.key").st_mode & 0o777) == "0o600"
    server = start("serve", "--listen", "http://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0")
    address, native = server.line(), server.line()
    theirs = {**environ, **using, "WHERRY_HOME": str(tmp_path / "other")}
    assert said(wherry("name", "resolve", name, "--json", env=theirs))["value"] == f"/ipfs/{first}"
    follow = ("name", "follow", name, "--link", tmp_path / "now", "--once", "--json")
    # the record from the tracker, the data from the peer
    both = {**theirs, "WHERRY_LOCATOR__USE": "static,tracker", "WHERRY_LOCATOR__STATIC__ADDRESSES": address}
    step = said(wherry(*follow, env=both))
    assert step["changed"]
    assert (tmp_path / "now").is_symlink()
    assert (tmp_path / "now/a.txt").read_text() == "one"
    (tmp_path / "data/a.txt").write_text("two")
    second = said(wherry("add", tmp_path / "data", "--json"))["cid"]
    wherry("name", "publish", second, env=mine)
    assert said(wherry(*follow, env=both))["changed"]
    assert (tmp_path / "now/a.txt").read_text() == "two"
    assert not said(wherry(*follow, env=both))["changed"]
    done = wherry("cat", f"/ipns/{name}/a.txt", env=both)
    assert done.stdout == b"two"
    # a node that serves is a gateway for the records of the names that it knows
    for number, where in enumerate([address, native]):  # over HTTP, and over the native exchange
        third = {**environ, "WHERRY_HOME": str(tmp_path / f"third-{number}")}
        done = wherry("name", "resolve", name, "--from", where, "--json", env=third)
        assert said(done)["value"] == f"/ipfs/{second}"
    wherry("get", name, "-o", tmp_path / "got", env=both)
    assert (tmp_path / "got/a.txt").read_text() == "two"
    kinds = [event["kind"] for event in said(wherry("name", "log", name, "--json", env=theirs))["events"]]
    assert kinds == ["new", "new"]
    # without an end: a new version comes in by itself, and Ctrl-C ends it well
    following = start("name", "follow", name, "--link", tmp_path / "now", "--every", "200ms", "--json", env=both)
    assert following.said()["sequence"] == 1
    (tmp_path / "data/a.txt").write_text("three")
    third = said(wherry("add", tmp_path / "data", "--json"))["cid"]
    wherry("name", "publish", third, env=mine)
    step = following.said()
    assert (step["sequence"], step["changed"]) == (2, True)
    assert (tmp_path / "now/a.txt").read_text() == "three"
    code, error = following.stop(signal.SIGINT)
    assert code == 130
    assert "the link leads to the last whole version" in error
    assert "Traceback" not in error
    assert os.readlink(tmp_path / "now") == f"now.versions/{third}"
    listed = said(wherry("name", "list", "--json", env=mine))["names"]
    assert listed[0]["renews"] < listed[0]["until"]
    assert server.stop(15)[0] == 0
