"""What was promised to authors of plugins changes on purpose only: the public surface, and a frozen package of API 1."""

from __future__ import annotations

import hashlib
from pathlib import Path

from surface import surface

from wherry.plugin.hookspecs import KINDS
from wherry.plugin.providers import API_VERSION, SUPPORTED_APIS

HERE = Path(__file__).parent
DOWNSTREAM = HERE.parent / "downstream"


def test_the_public_surface_is_the_one_that_is_written_down():
    """If this fails: is the change compatible (specs/0006 §5)? Then run tests/support/surface.py, which says how."""
    assert surface() + "\n" == (HERE / "public_surface.txt").read_text()


def test_the_surface_has_what_plugins_use():
    text = surface()
    for words in (
        "options: type[O], build: Callable[[O, Env], T], summary: str, api: int = ...) -> Provider[T]",
        "abstract def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]",
        "size: int | None = ...",
        "abstract def make_cache(self, folder: Path, max_bytes: int) -> Cache",
    ):
        assert words in text


def frozen(folder):
    """Every file of a frozen package and its hash."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc" and "/." not in str(path))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_packages_of_each_api_are_frozen():
    """They stand for those that other people wrote, which nobody can change either."""
    packages = {f"api{number}" for number in SUPPORTED_APIS}
    assert {path.name for path in DOWNSTREAM.iterdir() if path.is_dir()} == packages
    for package in packages:
        lines = (DOWNSTREAM / f"{package}.sha256").read_text().splitlines()
        assert {name: digest for digest, name in (line.split("  ", 1) for line in lines)} == frozen(DOWNSTREAM / package)


def test_the_newest_api_is_supported_and_every_kind_is_frozen_in_it():
    assert API_VERSION in SUPPORTED_APIS
    assert {path.name for path in (DOWNSTREAM / "api1" / "acme_api1").iterdir() if path.is_dir()} - {"__pycache__"} == set(
        KINDS
    )
