"""What tests with real processes share: the command line, with a home of its own, and whatever else is started."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys

import pytest
from launcher import Launcher

WHERRY = [sys.executable, "-m", "wherry_cli"]
READY_S = 30


@pytest.fixture
def environ(home):
    """A user's environment, with a home of its own as the default; ``home`` has cleaned the rest."""
    return {**os.environ, "PYTHONPATH": python_path()}


def python_path():
    """Where this interpreter finds modules, for others."""
    return ":".join(path for path in sys.path if path)


@pytest.fixture(scope="session")
def launcher():
    """What forks short lines."""
    made = Launcher({**os.environ, "PYTHONPATH": python_path()})
    yield made
    made.close()


@pytest.fixture
def wherry(environ, launcher):
    """Runs a line to its end; gives what ``subprocess.run`` does. It must end with ``code``."""

    def run(*words, code=0, env=environ, input=None, **options):
        line = [str(word) for word in words]
        if options or not launcher.takes(env):
            done = subprocess.run(
                [*WHERRY, *line], env=env, input=input, capture_output=True, check=False, timeout=100, **options
            )
        else:
            done = launcher.run(line, env=env, data=input)
        assert done.returncode == code, done.stderr.decode()
        return done

    return run


class Started(subprocess.Popen):
    """A process that stays for a while."""

    def line(self):
        """The next line of its standard output; fails if none comes in time."""
        ready, _, _ = select.select([self.stdout], [], [], READY_S)
        assert ready, "nothing was printed in time"
        return self.stdout.readline().decode().rstrip("\n")

    def said(self):
        """The next line of its standard output, as JSON."""
        return json.loads(self.line())

    def stop(self, signum):
        """Signals it; gives its code and its standard error when it has ended."""
        self.send_signal(signum)
        code = self.wait(timeout=30)
        return code, self.stderr.read().decode()


@pytest.fixture
def start(environ):
    """Starts a line that stays, and gives the process; it is ended with the test."""
    started = []

    def starter(*words, env=environ):
        line = [*WHERRY, *map(str, words)]
        # Unbuffered: what this process has taken of the pipe, `select` does not see.
        started.append(Started(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, bufsize=0))
        return started[-1]

    yield starter
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
