"""The key of a node: made once, kept to its owner, and named as libp2p names it."""

from __future__ import annotations

import os
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiformats import multibase

from wherry.errors import DataError, StoreError
from wherry.nodekey import NodeKey, peer_id_of, public_of, verify


def test_a_home_has_one_key_that_nobody_else_may_read(tmp_path):
    key = NodeKey.load(tmp_path)
    assert NodeKey.load(tmp_path).peer_id == key.peer_id
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["node.key"]


def test_those_who_make_it_at_once_have_the_same(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(NodeKey.load(tmp_path).peer_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_key_that_others_may_read_or_that_is_cut_short_is_refused(tmp_path):
    NodeKey.load(tmp_path)
    path = tmp_path / "node.key"
    path.chmod(0o644)
    with pytest.raises(StoreError, match="others may read"):
        NodeKey.load(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="no key of a node"):
        NodeKey.load(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="cannot read the key"):
        NodeKey.load(tmp_path)


def test_signatures_are_checked_against_the_peer_id(tmp_path):
    key, other = NodeKey(bytes(32)), NodeKey(bytes(31) + b"\1")
    signature = key.sign(b"said")
    assert verify(key.peer_id, b"said", signature)
    assert not verify(other.peer_id, b"said", signature)
    assert not verify(key.peer_id, b"sead", signature)
    assert not verify(key.peer_id, b"said", signature[:-1])
    assert not verify("12D3Koo", b"said", signature)
    assert repr(key) == f"NodeKey({key.peer_id})"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_the_id_is_what_another_implementation_of_base58_makes_of_the_message():
    """The public key of the test vectors in libp2p's specification of peer ids, as its protobuf message."""
    message = bytes.fromhex("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    text = multibase.get("base58btc").encode(b"\x00\x24" + message)
    assert peer_id_of(message[4:]) == text.removeprefix("z")


@given(st.binary(min_size=32, max_size=32))
def test_ids_and_keys_go_both_ways(public):
    text = peer_id_of(public)
    assert len(text) == 52
    assert public_of(text) == public


@given(
    st.text(max_size=60)
    | st.text(alphabet="123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", min_size=52, max_size=52)
)
def test_no_other_text_is_taken(text):
    try:
        public = public_of(text)
    except DataError:
        return
    assert peer_id_of(public) == text
