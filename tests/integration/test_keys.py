"""Keys with real processes: kill -9 in the middle of rotations, two at once, and what the system shows of a passphrase."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from wherry.sealing.ring import KeyRing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

KILLS = 40
ROTATE = """
import sys
from pathlib import Path
from wherry.sealing.ring import KeyRing
ring = KeyRing(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    ring.rotate("project")
"""


def test_a_rotation_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path):
    KeyRing(tmp_path).new("project")
    began = time.perf_counter()
    first = KeyRing(tmp_path).rotate("project")
    took = time.perf_counter() - began
    chance = random.Random(5)
    kept, rotated, cut_off = first, 0, 0
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", ROTATE, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 4 * took))  # any moment of a few rotations is as good as another
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = KeyRing(tmp_path).get("project")
        assert found.content == first.content
        assert found.wraps[-len(kept.wraps) :] == kept.wraps  # none is lost
        rotated += len(found.wraps) - len(kept.wraps)
        cut_off += (tmp_path / "keys/fresh").exists()
        kept = found
        if len(kept.wraps) > 150:
            KeyRing(tmp_path).delete("project")
            KeyRing(tmp_path).new("project")
            first = kept = KeyRing(tmp_path).get("project")
    assert rotated >= KILLS // 4  # or it was only ever killed before it began
    assert cut_off > 0  # in the middle of writing, at least once in so many
    assert len(KeyRing(tmp_path).rotate("project").wraps) == len(kept.wraps) + 1
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["lock", "project.key"]


def test_a_key_goes_to_another_machine_through_pipes(wherry, home, tmp_path):
    """No passphrase is in an argument, a variable or a file: a descriptor brings it."""

    def with_passphrase(*words, data=None):
        ours, theirs = os.pipe()
        os.write(theirs, b"pass phrase\n")
        os.close(theirs)
        try:
            return wherry("keys", *words, "--passphrase-fd", ours, pass_fds=[ours], input=data)
        finally:
            os.close(ours)

    wherry("keys", "new", "project")
    text = with_passphrase("export", "project").stdout
    other = ("--home", tmp_path / "other")
    taken = json.loads(with_passphrase("import", "project", "-", "--json", *other, data=text).stdout)
    assert taken["locked"]
    assert taken["generations"] == json.loads(wherry("keys", "show", "project", "--json").stdout)["generations"]


def test_loose_modes_are_refused_by_the_whole_program(wherry, home):
    wherry("keys", "new", "project")
    path = home / "keys/project.key"
    path.chmod(0o644)
    told = wherry("keys", "rotate", "project", code=12).stderr.decode()
    assert f"hint: chmod 600 {path}" in told
    subprocess.run(told.partition("hint: ")[2].split(), check=True)  # what it says to do is what helps
    wherry("keys", "rotate", "project")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_umask_changes_nothing(wherry, home, umask):
    wherry("keys", "new", "project", umask=umask)
    assert [oct((home / name).stat().st_mode & 0o777) for name in ("keys", "keys/project.key")] == ["0o700", "0o600"]
