"""The repository holds together: packaging, folders, specifications and README say the same."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import wherry
from wherry import errors

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
SPECS = {path.name[:4]: path for path in (ROOT / "specs").glob("[0-9]*.md")}
SOURCES = sorted(path for top in ("core", "plugins", "cli") for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PACKAGES = sorted(path for top in ("core", "plugins", "cli") for path in (ROOT / top).iterdir() if path.is_dir())

LINES_MAX = 400
LONGER_FILES: dict[str, str] = {}  # path: why it is one file all the same

# The owner's nine: declared from the first commit on.
OWNERS_PACKAGES = {"aiohttp", "cbor2", "lz4", "multiformats", "pluggy", "pynacl", "pytest", "typer", "zstandard"}


def here(path):
    return str(path.relative_to(ROOT))


def comments_of(path):
    """Yields (line number, comment) of a Python file; text inside strings is none."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_the_wheel_holds_every_package():
    declared = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(declared) == sorted(here(path) for path in PACKAGES)


@pytest.mark.parametrize("package", PACKAGES, ids=here)
def test_every_package_is_typed_and_a_package(package):
    assert (package / "py.typed").is_file()
    assert (package / "__init__.py").is_file()
    for folder in {path.parent for path in package.rglob("*.py")}:
        assert (folder / "__init__.py").is_file(), f"{here(folder)} would be a namespace package"


def test_every_plugin_comes_in_by_the_public_door():
    declared = PROJECT["project"]["entry-points"]["wherry"]
    folders = {path.name.removeprefix("wherry_"): f"{path.name}.plugin" for path in PACKAGES if path.parent.name == "plugins"}
    assert declared == {**folders, "core": "wherry.builtin"}  # core's own parts, fixed and identity, by the same door
    for package in folders:
        assert (ROOT / "plugins" / f"wherry_{package}" / "plugin.py").is_file()


def test_what_is_installed_is_what_is_declared():
    installed = {point.name: point.value for point in metadata.entry_points(group="wherry") if point.dist.name == "wherry"}
    assert installed == PROJECT["project"]["entry-points"]["wherry"]
    assert metadata.version("wherry") == wherry.__version__


def test_the_version_is_written_in_one_place():
    assert "version" not in PROJECT["project"]
    assert f"## {wherry.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_owners_packages_are_declared():
    declared = {re.match(r"[a-z0-9]+", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert declared >= OWNERS_PACKAGES
    assert all("<" in line for line in PROJECT["project"]["dependencies"]), "a library's next major version is not ours"


def test_no_file_is_long_without_a_reason():
    long = {here(path) for path in [*SOURCES, *TESTS] if len(path.read_text().splitlines()) > LINES_MAX}
    assert long == set(LONGER_FILES)
    assert all(len(reason) > 20 for reason in LONGER_FILES.values())


REFERENCE = re.compile(r"specs/(?P<number>\d{4})(?:-[a-z-]+(?:\.md)?)?(?P<sections>(?:,? (?:and )?§\s?\d+(?:\.\d+)*)*)")


def references(text):
    for match in REFERENCE.finditer(text):
        yield match["number"], re.findall(r"\d+(?:\.\d+)*", match["sections"])


@pytest.mark.parametrize("path", [*SOURCES, *sorted(SPECS.values())], ids=here)
def test_every_reference_to_a_specification_leads_somewhere(path):
    text = path.read_text()
    for number, sections in references(text):
        assert number in SPECS, f"{here(path)} names specs/{number}"
        spec = SPECS[number].read_text()
        for section in sections:
            assert re.search(rf"^#+ {re.escape(section)}\.? ", spec, re.MULTILINE), (
                f"{here(path)}: specs/{number} has no §{section}"
            )
    for number in re.findall(r"specs/decisions/(\d{4})", text):
        assert list((ROOT / "specs/decisions").glob(f"{number}-*.md")), f"{here(path)} names specs/decisions/{number}"


def test_references_are_seen():
    text = "specs/0003 §6; specs/0002-cid-and-block.md §1, §2.1 and specs/0009."
    assert list(references(text)) == [("0003", ["6"]), ("0002", ["1", "2.1"]), ("0009", [])]


@pytest.mark.parametrize("path", sorted(SPECS.values()), ids=here)
def test_every_specification_says_what_it_is(path):
    text = path.read_text()
    head = dict(re.findall(r"^(\w+): (.+)$", text.split("---")[1], re.MULTILINE))
    assert head["number"] == f'"{path.name[:4]}"'
    assert head["status"] in {"draft", "accepted", "implemented", "superseded"}
    assert f"# {path.name[:4]} {head['title']}\n" in text
    for vectors in re.findall(r"vectors/[a-z-]+\.json", text):
        assert (ROOT / "specs" / vectors).is_file()
    assert f"]({path.name})" in (ROOT / "specs/README.md").read_text()


def test_every_decision_is_listed_and_says_its_number():
    listed = re.findall(r"\]\(decisions/([a-z0-9-]+\.md)\)", (ROOT / "specs/README.md").read_text())
    decisions = sorted((ROOT / "specs/decisions").glob("*.md"))
    assert listed == [path.name for path in decisions]
    for path in decisions:
        assert path.read_text().startswith(f"# {path.name[:4]} "), here(path)
        assert "\nStatus: " in path.read_text(), here(path)


def test_the_tests_that_specifications_name_exist():
    for path in SPECS.values():
        for name in re.findall(r"tests/[a-z_/]+\.py", path.read_text()):
            assert (ROOT / name).is_file(), f"{here(path)} names {name}"


def test_every_file_of_vectors_is_named_by_a_specification():
    named = {name for path in SPECS.values() for name in re.findall(r"vectors/([a-z-]+\.json)", path.read_text())}
    assert {path.name for path in (ROOT / "specs/vectors").iterdir()} == named


def test_every_index_entry_exists():
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "specs/README.md").read_text()):
        assert (ROOT / "specs" / link).exists(), link


def test_the_readme_has_exactly_the_two_commands():
    marked = re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert [name for name, _ in marked] == ["demo", "tests"]
    assert README.count("<!-- command:") == 2
    for _, block in marked:
        assert len(block.strip().splitlines()) == 1
    assert dict(marked)["demo"].strip().endswith("wherry demo")


def test_the_readme_names_real_verbs_and_every_one():
    from wherry_cli.table import VERBS

    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    used = set(re.findall(r"(?:^|/|\$ )wherry ([a-z]+)", blocks, re.MULTILINE))
    assert used <= set(VERBS)
    assert {"add", "share", "get"} <= used
    listed = set(re.findall(r"^\| `([a-z]+)[^|]*\|", README, re.MULTILINE))
    assert set(VERBS) <= listed


def test_the_readme_lists_the_exit_codes_that_there_are():
    listed = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `?(\w+)`? \|", README, re.MULTILINE)}
    kinds = {kind.exit_code: kind.__name__ for kind in errors.WherryError.__subclasses__()}
    assert {code: name for code, name in listed.items() if code in kinds} == kinds
    assert set(listed) - set(kinds) == {0, 1, 130}


def test_the_links_of_the_readme_lead_somewhere():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("path", SOURCES, ids=here)
def test_no_check_of_shipped_code_is_an_assert(path):
    """``python -O`` removes them. The contract suites of wherry.testing, and the tests of new plugins, are run by pytest."""
    if "/testing/" in here(path) or ("/scaffold/" in here(path) and "/tests/" in here(path)):
        return
    assert not [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]


SUPPRESSION = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w, -]+\])?|pragma: no cover)(?P<why>.*)"
)


def suppressed_without_reason(comments):
    for line, comment in comments:
        match = SUPPRESSION.search(comment)
        if match is not None and len(match["why"].strip(" -:#")) < 8:
            yield line, comment


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=here)
def test_every_suppression_carries_its_reason(path):
    assert list(suppressed_without_reason(comments_of(path))) == []


def test_a_suppression_without_a_reason_is_seen():
    bare = "# type: ignore[attr-defined]"
    assert list(suppressed_without_reason([(1, bare), (2, bare + "  # the stub lacks it"), (3, "# noqa: " + "S101")])) == [
        (1, bare),
        (3, "# noqa: " + "S101"),
    ]


@pytest.mark.parametrize("path", SOURCES, ids=here)
def test_every_module_says_why_it_is_there(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_nothing_is_left_to_do():
    for path in [*SOURCES, *TESTS]:
        for line, comment in comments_of(path):
            assert not re.search(r"\b(?:TODO|FIXME|XXX)\b", comment), f"{here(path)}:{line}"
