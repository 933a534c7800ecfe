"""What is read of a distribution's own words, beside what importlib.metadata reads."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from typing import TYPE_CHECKING

import pytest

from wherry.errors import UsageError
from wherry.plugin import distinfo
from wherry.plugin.hookspecs import PROJECT
from wherry.plugin.installed import OWN_DISTRIBUTION, Installed

if TYPE_CHECKING:
    from pathlib import Path

METADATA = "Metadata-Version: 2.4\nName: Thing\nVersion: 1.2+local\n\nVersion: of the description\n"
POINTS = "[console_scripts]\nthing = thing.main:main\n\n[wherry]\n# a remark\none = thing.plugin\ntwo=thing.other:Two.three\n"


def laid(place: Path, *, name: str = "thing-1.2.dist-info", metadata: str = METADATA, points: str | None = POINTS) -> str:
    """Lays a distribution down; gives the place."""
    folder = place / name
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(metadata)
    if points is not None:
        (folder / "entry_points.txt").write_text(points)
    return str(place)


def test_it_reads_what_importlib_metadata_reads_of_wherry_itself() -> None:
    known = distinfo.read(OWN_DISTRIBUTION, PROJECT)
    assert known is not None
    there = distribution(OWN_DISTRIBUTION)
    assert known.version == there.version
    assert known.entries == [(one.name, one.value) for one in there.entry_points if one.group == PROJECT]
    assert [one.load() for one in Installed().own()] == [one.load() for one in there.entry_points if one.group == PROJECT]


def test_the_first_on_the_path_counts(tmp_path: Path) -> None:
    first, second = laid(tmp_path / "a"), laid(tmp_path / "b", metadata=METADATA.replace("1.2", "1.3"))
    path = [str(tmp_path / "absent"), first, second]
    found = distinfo.DistInfo("1.2+local", [("one", "thing.plugin"), ("two", "thing.other:Two.three")])
    assert distinfo.read("thing", "wherry", path) == found


@pytest.mark.parametrize("name", ["thing.egg-info", "Thing-1.egg-info", "thing-1.egg", "thing.egg-link", "thing-1.3.dist-info"])
def test_what_is_ambiguous_is_left_to_importlib_metadata(tmp_path: Path, name: str) -> None:
    place = laid(tmp_path)
    (tmp_path / name).mkdir()
    assert distinfo.read("thing", "wherry", [place]) is None


@pytest.mark.parametrize(
    ("metadata", "points"),
    [
        ("Name: thing\n\nVersion: 1\n", POINTS),
        (METADATA, None),
        (METADATA, "[wherry]\nno value\n"),
        (METADATA, "[wherry]\na=b [c]"),
    ],
)
def test_what_is_incomplete_is_left_to_it(tmp_path: Path, metadata: str, points: str | None) -> None:
    assert distinfo.read("thing", "wherry", [laid(tmp_path, metadata=metadata, points=points)]) is None


def test_an_archive_on_the_path_is_left_to_it(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("thing-1.dist-info/METADATA", METADATA)
    assert distinfo.read("thing", "wherry", [str(archive), laid(tmp_path / "b")]) is None


def test_other_names_do_not_count(tmp_path: Path) -> None:
    assert distinfo.read("thing", "wherry", [laid(tmp_path, name="thing_more-1.dist-info")]) is None


def test_an_entry_point_names_a_module_or_something_in_it() -> None:
    assert distinfo.load("wherry.plugin.distinfo") is distinfo
    assert distinfo.load("wherry.errors:UsageError") is UsageError
    with pytest.raises(ImportError):
        distinfo.load("wherry.nothing")
