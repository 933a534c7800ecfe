"""Builds the wheel, checks what it holds, installs it in a clean environment and runs it. (`tox -e wheel`; no pytest.)"""

from __future__ import annotations

import email
import json
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def check(holds: object, problem: str) -> None:
    if not holds:
        raise SystemExit(f"wheel: {problem}")


def expected_files() -> set[str]:
    """Every file of the packages but what Python leaves beside them, at its import path."""
    packages = [ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    return {
        str(path.relative_to(package.parent))
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def check_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        points = archive.read(f"{info}/entry_points.txt").decode()
    files = {name for name in names if not name.startswith(info)}
    check(files == expected_files(), f"holds other files than the packages: {sorted(files ^ expected_files())}")
    check({f"{info}/licenses/LICENSE-APACHE", f"{info}/licenses/LICENSE-MIT"} <= names, "lacks a licence")
    check(metadata["License-Expression"] == "Apache-2.0 OR MIT", "says another licence")
    check(metadata["Version"] == wheel.name.split("-")[1], "says another version")
    for name, value in PROJECT["project"]["entry-points"]["wherry"].items():
        check(f"{name} = {value}" in points, f"lacks the entry point {name}")


def check_installed(wheel: Path, place: Path) -> None:
    venv.create(place / "venv", with_pip=True)
    run(place / "venv/bin/pip", "install", "--quiet", wheel, cwd=place)
    wherry = place / "venv/bin/wherry"
    version = run(wherry, "version", cwd=place)
    check(wheel.name.split("-")[1] in version, f"`wherry version` prints {version!r}")
    listed = run(wherry, "plugins", "list", cwd=place)
    shown = {line["plugin"] for line in json.loads(run(wherry, "plugins", "list", "--json", cwd=place))["plugins"]}
    for name in PROJECT["project"]["entry-points"]["wherry"]:
        check(name in shown, f"`wherry plugins list` does not show {name}:\n{listed}")
    (place / "file").write_text("hello\n")
    added = json.loads(run(wherry, "--home", place / "home", "add", "file", "--json", cwd=place))
    check(added["cid"] == "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am", f"`wherry add` gives {added}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT, cwd=place)
        (wheel,) = place.glob("wherry-*.whl")
        check_contents(wheel)
        check_installed(wheel, place)
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, holds what it should, and works in a clean environment")


if __name__ == "__main__":
    main()
