"""`wherry cid`: one CID and many, as arguments and on standard input, right and wrong."""

from __future__ import annotations

import io
import json
import sys

import pytest

from wherry import multibase
from wherry_cli.app import run
from wherry_cli.invocation import Invocation

V0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnpbdG"
V1 = "bafybeie5nqv6kd3qnfjupgvz34woh3oksc3iau6abmyajn7qvtf6em24y4"


@pytest.fixture
def cid(capsys, monkeypatch):
    """Runs `wherry cid`; gives its exit code, standard output and standard error."""

    def line(*words, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(["cid", *words], Invocation(environ={}))
        return code, *capsys.readouterr()

    return line


def test_a_cid_is_inspected(cid):
    code, out, _ = cid("inspect", V0)
    assert code == 0
    assert "version  0\n" in out
    assert f"block    {V1}\n" in out
    code, out, _ = cid("inspect", "--json", f"/ipfs/{V1}/a/b", "bafkqabtimvwgy3yk")
    first, second = json.loads(out)["cids"]
    assert (first["version"], first["codec"], first["hash"], first["path"], first["base"]) == (
        1, "dag-pb", "sha2-256", "a/b", "base32",
    )  # fmt: skip
    assert first["digest"] == first["multihash"][4:]
    assert (bytes.fromhex(second["inline"]), second["block"]) == (b"hello\n", None)


KEY = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w"


def test_a_name_is_the_cid_of_a_key_in_any_of_its_forms(cid):
    code, out, _ = cid("inspect", "--json", f"/ipns/{KEY}/a/b")
    (found,) = json.loads(out)["cids"]
    assert (code, found["codec"], found["base"], found["path"]) == (0, "libp2p-key", "base36", "a/b")
    peer = multibase.encode_base58(bytes.fromhex(found["multihash"]))
    assert peer.startswith("12D3Koo")
    for text, base in ((KEY, "base36"), (f"ipns://{KEY}", "base36"), (peer, "base58btc"), (f"/ipns/{peer}", "base58btc")):
        (other,) = json.loads(cid("inspect", "--json", text)[1])["cids"]
        assert other == {**found, "input": text, "base": base, "path": None}
        assert cid("convert", "--base", "base36", text)[1] == f"{KEY}\n"
    assert "no data" in cid("explain", f"/ipns/{KEY}")[1]
    for wrong in ("/ipns/example.org", f"/ipns/{V1}", "/ipns/"):
        assert cid("inspect", wrong)[0] == 5


def test_a_cid_is_converted_and_comes_back(cid):
    assert cid("convert", "--version", "1", V0)[:2] == (0, V1 + "\n")
    assert cid("convert", "--version", "0", V1)[:2] == (0, V0 + "\n")
    for base in ("base36", "base16", "base58btc", "base64url", "base2", "base32hexpadupper"):
        code, out, _ = cid("convert", "--base", base, V1)
        assert code == 0
        assert cid("convert", out.strip())[1] == V1 + "\n"
    assert cid("convert", "--base", "base32", V0)[1] == V1 + "\n"  # version 0 has no other base
    assert cid("convert", "--base", "base58btc", V0)[1] == V0 + "\n"
    raw = cid("convert", "--codec", "raw", V0)[1].strip()
    assert raw.startswith("bafkrei")
    assert cid("convert", "--codec", "0x70", "--version", "0", raw)[1] == V0 + "\n"
    for number in ("0x_70", "0x7_0", "0x٧٠", "0x", "0x-1", "0x" + "7" * 17):
        assert cid("convert", "--codec", number, raw)[0] == 2


def test_many_come_on_standard_input_and_bad_ones_are_said_at_last(cid):
    code, out, err = cid("convert", "--version", "1", stdin=f"{V0}\n\n{V1}\nnothing\n")
    assert (code, out) == (5, f"{V1}\n{V1}\n")
    assert "1 of 3 cannot be converted" in err
    code, out, _ = cid("inspect", "--json", stdin=f"{V0}\nQm\n")
    good, bad = json.loads(out)["cids"]
    assert (code, good["cid"], bad["input"]) == (5, V0, "Qm")
    assert "version 0 has 46" in bad["error"]
    assert json.loads(cid("inspect", "--json", stdin="")[1])["cids"] == []


def test_a_line_that_is_too_long_is_one_that_is_wrong(cid):
    code, out, err = cid("inspect", "--json", stdin=f"{'a' * 8192}{V1}\n{'b' * 100_000}\n{V0}\n{'c' * 20_000}{V1}")
    found = json.loads(out)["cids"]
    assert (code, ["error" in one for one in found], found[2]["cid"]) == (5, [True, True, False, True], V0)
    assert "3 of 4 cannot be read" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (V0, "version 0"),
        (V1, "UnixFS"),
        ("bafkqaaa", "in the CID"),
        ("bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "manifests of wherry"),
        ("k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r", "(IPNS)"),
        ("zB7NCg7FL5nsvYiM1VLq9cjbhvzAjXFiWbE3wVxGvRPSbaRchg9JevwHYih26bfaf7iB1kVNAWbpGuS9ueTXFg4Ca8hVb", "sha2-512"),
    ],
)
def test_a_cid_is_explained(cid, text, said):
    code, out, _ = cid("explain", text)
    assert (code, said in out) == (0, True), out


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "--base", "base33", V1),
        ("convert", "--version", "2", V1),
        ("convert", "--codec", "nothing", V1),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(cid, words):
    assert cid(*words)[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "--version", "0", "bafkqaaa"),
        ("inspect", "\x1b[31mbafy"),
        ("explain", "b" * 5000),
        ("convert", "--version", "0", "--base", "base32", V0),
    ],
)
def test_what_cannot_be_is_bad_data_and_harmless_to_a_terminal(cid, words):
    code, _, err = cid(*words)
    assert code == 5
    assert "\x1b" not in err
    assert err.count("error:") == 1  # the one CID that was named has one thing wrong, and it is said once
    code, out, err = cid(*words[:1], "--json", *words[1:])
    assert code == 5
    assert json.loads(err)["message"] == json.loads(out)["cids"][0]["error"]


@pytest.mark.parametrize("words", [("inspect",), ("inspect", "-"), ("convert", "-"), ("explain",)])
def test_what_is_wrong_with_the_only_line_is_said_once(cid, words):
    code, out, err = cid(*words, stdin="Qm\n\n")
    assert (code, out, err.count("error:")) == (5, "", 1)
    assert "version 0 has 46" in err
    code, out, err = cid(words[0], "--json", *words[1:], stdin="Qm")
    assert (code, json.loads(err)["message"]) == (5, json.loads(out)["cids"][0]["error"])
    code, _, err = cid(*words, stdin=f"Qm\n{V0}\nQn\n")  # of several each is said, in their order, and how many at last
    said = [line for line in err.splitlines() if "hint:" not in line]
    assert (code, len(said)) == (5, 3)
    assert ("'Qm'" in said[0], "'Qn'" in said[1], "2 of 3" in said[2]) == (True, True, True)
