"""Runs lines of the command line, each in a process of its own that is forked from one that has imported wherry.

Most of what a short line takes is the start of an interpreter and its imports: two thirds of the processor time of tests that
run ten of them. What is started to stay, to be killed or to be measured starts afresh, as a user's does.

    tests --(line, environment, 3 descriptors, reply)--> this program --fork--> one that waits --fork--> wherry
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

REQUEST_BYTES = 1 << 20


class Launcher:
    """The program below, and lines that are run by it."""

    def __init__(self, env):
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
        with theirs:
            line = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(line, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._start = of_the_start(env)

    def close(self):
        """Ends it."""
        self._door.close()
        self._process.wait(timeout=30)

    def takes(self, env):
        """Tells whether a line in this environment would run as one that starts afresh; under coverage it would not."""
        return of_the_start(env) == self._start and not any(name.startswith("COVERAGE_PROCESS") for name in env)

    def run(self, words, *, env, cwd=None, data=None, timeout=100):
        """Does what ``subprocess.run`` does of ``wherry`` with these words, and gives what it gives."""
        ends = [os.pipe() for _ in range(3)]  # of standard input, output and error
        ours, theirs = [ends[0][1], ends[1][0], ends[2][0]], [ends[0][0], ends[1][1], ends[2][1]]
        reply, replying = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps({"words": words, "env": env, "cwd": str(cwd or os.getcwd())}).encode()
        try:
            socket.send_fds(self._door, [request], [*theirs, replying.fileno()])
        finally:
            replying.close()
            for end in theirs:
                os.close(end)
        until, out = time.monotonic() + timeout, {}
        at_work = [threading.Thread(target=_write, args=(ours[0], data or b""))]
        at_work += [threading.Thread(target=_read, args=(end, out), daemon=True) for end in ours[1:]]
        for thread in at_work:
            thread.start()
        with reply:
            code = _code(reply, [str(word) for word in words], until, timeout)
        for thread in at_work:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():  # a process that was left behind keeps it open
                raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, code, out[ours[1]], out[ours[2]])


def of_the_start(env):
    """What an interpreter looks at while it starts."""
    return {name: value for name, value in env.items() if name.startswith(("PYTHON", "LC_", "LANG", "TZ"))}


def _code(reply, words, until, timeout):
    reply.settimeout(timeout)
    pid = int(reply.recv(64))
    try:
        reply.settimeout(max(0.1, until - time.monotonic()))
        return os.waitstatus_to_exitcode(int(reply.recv(64)))
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(words, timeout) from None


def _write(end, data):
    with os.fdopen(end, "wb") as file:
        try:
            file.write(data)
            file.flush()
        except BrokenPipeError:
            file.detach()
            os.close(end)


def _read(end, into):
    with os.fdopen(end, "rb") as file:
        into[end] = file.read()


def wait_for_lines(door):
    """Serves; returns in each process that is to be wherry, and at the end in this one, which gives False."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait are nobody's
    while True:
        request, ends, _, _ = socket.recv_fds(door, REQUEST_BYTES, 4)
        if not request:
            return False
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            reply = socket.socket(fileno=ends[3])
            pid = os.fork()
            if pid == 0:
                reply.close()
                door.close()
                become(json.loads(request), ends[:3])
                return True
            for end in ends[:3]:
                os.close(end)
            reply.send(str(pid).encode())
            reply.send(str(os.waitpid(pid, 0)[1]).encode())
            os._exit(0)
        for end in ends:
            os.close(end)


def become(request, ends):
    """Makes this process what a line that starts afresh would be."""
    for target, end in enumerate(ends):
        os.dup2(end, target)
    for end in ends:
        if end > 2:
            os.close(end)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["wherry", *request["words"]]


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: `python -m wherry_cli` has none of it

    for name in ("wherry.session", "wherry_cli.app"):  # what most verbs import
        importlib.import_module(name)
    from wherry_cli.main import main

    gc.freeze()
    if wait_for_lines(socket.socket(fileno=int(sys.argv[1]))):
        main()
