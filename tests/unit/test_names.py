"""Names, targets and collisions: the vectors of specs/0003 §6, and escapes tried on a real file system."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wherry.errors import UnsafeName
from wherry.limits import NAME_BYTES_MAX, PATH_BYTES_MAX, SYMLINK_BYTES_MAX
from wherry.names import (
    Collisions,
    check_name,
    check_path,
    check_portable,
    check_target,
    escapes,
    folded,
    on_disk,
    portability,
    shown,
)

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/names.json").read_text())


def refused(check, *args) -> bool:
    try:
        check(*args)
    except UnsafeName as problem:
        assert len(str(problem)) < 300
        return True
    return False


@pytest.mark.parametrize("vector", VECTORS["names"], ids=lambda vector: ascii(vector["name"][:20]))
def test_names_of_the_vectors(vector):
    assert refused(check_name, vector["name"]) is not vector["hard"]
    if vector["hard"]:
        assert refused(check_portable, vector["name"], "dir/name") is not vector["portable"]


@pytest.mark.parametrize("pair", VECTORS["folded"], ids=ascii)
def test_names_that_are_one_somewhere(pair):
    assert folded(pair[0]) == folded(pair[1])
    collisions = Collisions("dir")
    collisions.add(pair[0])
    assert refused(collisions.add, pair[1])


def test_of_names_that_are_one_both_are_told():
    collisions = Collisions("dir")
    for name in ("a", "README", "b"):
        collisions.add(name)
    with pytest.raises(UnsafeName, match="directory 'dir': 'README' and 'Readme' differ only by case"):
        collisions.add("Readme")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("bad\udcff\udcfename.txt", r"'bad\xff\xfename.txt'"),
        ("/ä/\udc80", r"'/ä/\x80'"),
        (r"a\udcff", r"'a\\udcff'"),
        ("a\\\udcff", r"'a\\\xff'"),
        ("\ud800", r"'\ud800'"),
    ],
)
def test_bytes_that_are_not_utf_8_are_told_as_bytes(path, said):
    assert on_disk(path) == said


def test_a_name_that_is_not_utf_8_is_told_as_bytes():
    with pytest.raises(UnsafeName, match=r"name 'bad\\xff\\xfename.txt' is not valid Unicode"):
        check_name("bad\udcff\udcfename.txt")


@pytest.mark.parametrize("pair", VECTORS["distinct"], ids=ascii)
def test_names_that_are_two_everywhere(pair):
    collisions = Collisions("dir")
    for name in pair:
        collisions.add(name)
    collisions.finish()


@pytest.mark.parametrize("vector", VECTORS["links"], ids=lambda vector: ascii((vector["path"], vector["target"])))
def test_links_of_the_vectors(vector):
    assert escapes(vector["path"], vector["target"]) is vector["escapes"]


@pytest.mark.parametrize("name", ["\udc80", "a\ud800", "\udfff" * 2])
def test_names_that_are_not_unicode(name):
    assert refused(check_name, name)
    assert refused(check_target, name)


@given(st.text(max_size=300))
def test_the_hard_rule_is_what_it_says(name):
    data = name.encode("utf-8", "surrogatepass")
    allowed = (
        0 < len(data) <= NAME_BYTES_MAX
        and name not in {".", ".."}
        and not {"/", "\0"} & set(name)
        and not any(0xD800 <= ord(char) <= 0xDFFF for char in name)
    )
    assert refused(check_name, name) is not allowed


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.sampled_from(["NFC", "NFD"]))
def test_folding_sees_no_difference_of_form_or_case(name, form):
    assert folded(unicodedata.normalize(form, name)) == folded(name)
    assert folded(folded(name)) == folded(name)
    assert folded(name.casefold()) == folded(name)


def test_a_portable_name_is_taken_by_the_strictest_rules_python_knows():
    if sys.version_info < (3, 13):
        pytest.skip("os.path.isreserved is new in 3.13")
    import ntpath

    for vector in VECTORS["names"]:
        if vector["portable"]:
            assert not ntpath.isreserved(vector["name"]), vector


@pytest.mark.parametrize("last", ["N0000123", "other"])
def test_collisions_in_large_directories_are_found_at_the_end(last):
    collisions = Collisions("big")
    for number in range(10_000):
        collisions.add(f"n{number:07}")
    collisions.add(last)
    assert refused(collisions.finish) is (last != "other")


def test_collisions_take_few_bytes_a_name():
    collisions = Collisions("big")
    for number in range(50_000):
        collisions.add(f"a name of some length {number}")
    assert collisions._small is None
    assert sum(sys.getsizeof(bucket) for bucket in collisions._large) < 50_000 * 12


def test_paths_and_targets_have_bounds():
    check_path("é" * (PATH_BYTES_MAX // 2))
    assert refused(check_path, "é" * (PATH_BYTES_MAX // 2) + "a")
    check_target("t" * SYMLINK_BYTES_MAX)
    assert refused(check_target, "t" * (SYMLINK_BYTES_MAX + 1))
    assert refused(check_target, "é" * (SYMLINK_BYTES_MAX // 2) + "a")
    assert refused(check_target, "")
    assert refused(check_target, "a\0")


def test_what_is_shown_is_short_and_escaped():
    assert shown("\x1b[2J\u202e") == "'\\x1b[2J\\u202e'"
    assert len(shown("n" * 10**6)) < 100
    assert len(shown([["n" * 100]] * 10)) < 100
    assert portability("") is None


# A tree of links that pass the check, made for real: none of them leads outside, whatever they go through.

PARTS = st.sampled_from(["..", ".", "a", "l1", "l2", "l1/..", "l2/.."])
TARGETS = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(bool)


def visited(top: Path, path: str) -> list[Path]:
    """Follows ``path`` from ``top`` as the kernel does, one component after the other; gives all places on the way."""
    places, here, ahead, followed = [], top, list(reversed(path.split("/"))), 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            here = here.parent
        elif (here / part).is_symlink():
            followed += 1
            if followed > 40:  # the kernel's ELOOP: nothing is reached
                break
            ahead += reversed((here / part).readlink().parts)
        else:
            here /= part
        places.append(here)
    return places


@given(st.lists(TARGETS, min_size=3, max_size=3), st.lists(st.sampled_from(["", "a/", "a/b/"]), min_size=3, max_size=3))
@settings(max_examples=300, deadline=None)
def test_links_that_pass_lead_nowhere_outside(tmp_path_factory, targets, places):
    links = {f"{place}l{number}": target for number, (place, target) in enumerate(zip(places, targets, strict=True), 1)}
    links = {path: target for path, target in links.items() if not escapes(path, target)}
    assume(links)
    top = tmp_path_factory.mktemp("tree") / "dataset"
    (top / "a/b").mkdir(parents=True)
    for path, target in links.items():
        (top / path).symlink_to(target)
    for path in links:
        assert all(place == top or top in place.parents for place in visited(top, path)), links


def test_a_link_through_a_link_would_escape(tmp_path):
    """Why ".." behind a name is refused, however many names stand before it."""
    top = tmp_path / "dataset"
    top.mkdir()
    (top / "here").symlink_to(".")
    (top / "l").symlink_to("here/here/../../x")
    assert os.path.realpath(top / "l") == str(tmp_path.parent / "x")
    assert visited(top, "l")[-1] == tmp_path.parent / "x"
    assert escapes("l", "here/here/../../x")
