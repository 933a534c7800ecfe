"""A line that is forked from what has imported wherry does what one does that starts afresh."""

from __future__ import annotations

import subprocess

import pytest
from processes import WHERRY

LINES = [
    (["--version"], b""),
    (["keys", "new", "team", "--home", "HOME", "--json"], b""),
    (["keys", "import", "team", "-", "--home", "HOME"], b"no key"),
    (["ls", "nonsense", "--home", "HOME"], b""),
    (["add", "data", "--home", "HOME"], b""),
    (["--help"], b""),
]


def afresh(words, *, env, data, cwd):
    return subprocess.run([*WHERRY, *words], env=env, input=data, cwd=cwd, capture_output=True, check=False, timeout=100)


@pytest.mark.parametrize(("words", "data"), LINES, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_it_gives_what_one_gives_that_starts_afresh(environ, launcher, tmp_path, words, data):
    (tmp_path / "data").write_bytes(b"some")
    found = []
    for number, run in enumerate((launcher.run, afresh)):
        home = str(tmp_path / f"home{number}")
        done = run([home if word == "HOME" else word for word in words], env=environ, data=data, cwd=tmp_path)
        out, err = (text.replace(home.encode(), b"HOME") for text in (done.stdout, done.stderr))
        found.append((done.returncode, out.partition(b"\n")[0], err))  # behind it are speeds
    if words[:2] == ["keys", "new"]:  # another one each time
        found = [(code, len(out), err) for code, out, err in found]
    assert found[0] == found[1]


def test_a_line_of_another_python_path_or_locale_is_not_forked(environ, launcher):
    assert launcher.takes(environ)
    assert launcher.takes({**environ, "WHERRY_HOME": "/x"})
    assert not launcher.takes({**environ, "PYTHONUTF8": "0"})
    assert not launcher.takes({**environ, "LC_ALL": "C"})
    assert not launcher.takes({**environ, "COVERAGE_PROCESS_CONFIG": "{}"})


def test_one_that_takes_too_long_is_ended(environ, launcher, tmp_path):
    home = str(tmp_path / "home")
    with pytest.raises(subprocess.TimeoutExpired):
        launcher.run(["serve", "--home", home, "--listen", "http://127.0.0.1:0"], env=environ, timeout=3)
    assert launcher.run(["ls", "--home", home], env=environ).returncode != 0  # the home is free, and others are run as before
