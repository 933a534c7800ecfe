"""The plain tools that wherry is measured beside, started as their manuals say (specs/0014 §4).

Programs for bare Python run with ``-I -c``, so that they import nothing but what they name.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry_cli.bench.child import started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

HASH_FILE: Final = """
import hashlib, sys, time
began = time.perf_counter()
digest = hashlib.sha256()
with open(sys.argv[1], "rb", buffering=0) as file:
    while piece := file.read(1 << 20):
        digest.update(piece)
print(time.perf_counter() - began)
"""

HASH_TREE: Final = """
import hashlib, os, sys, time
began = time.perf_counter()
for folder, directories, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            hashlib.sha256(file.read()).digest()
print(time.perf_counter() - began)
"""

# In the place of nginx and curl: sendfile out of one process, received and written by another.
SEND_FILE: Final = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection, open(sys.argv[1], "rb") as file:
        connection.sendfile(file)
"""
RECEIVE_FILE: Final = """
import os, socket, sys
piece = memoryview(bytearray(1 << 20))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as line, open(sys.argv[2], "wb", buffering=0) as file:
    while count := line.recv_into(piece):
        done = 0
        while done < count:
            done += file.write(piece[done:count])
"""

READY_S: Final = 10.0
_TRIES: Final = 3


def bare_python(program: str, *arguments: str) -> list[str]:
    """The command line of a bare Python that runs ``program``."""
    return [sys.executable, "-I", "-c", program, *arguments]


def installed(*programs: str) -> bool:
    """Tells whether all of ``programs`` are there."""
    return all(shutil.which(program) is not None for program in programs)


def nginx_configuration(folder: Path, root: Path, port: int) -> str:
    """What nginx needs to serve the files of ``root`` by sendfile, and to keep all it writes in ``folder``."""
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers may not read a private folder
    temporary = " ".join(
        f'{kind}_temp_path "{folder}/nginx-{kind}";' for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{user}worker_processes auto;
daemon off;
pid "{folder}/nginx.pid";
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; tcp_nopush on; {temporary}
    server {{ listen 127.0.0.1:{port}; root "{root}"; }}
}}
"""


def rsync_configuration(root: Path) -> str:
    """What rsync's daemon needs to serve ``root`` as the module ``tree``."""
    user = "uid = 0\ngid = 0\n" if os.geteuid() == 0 else ""
    return f"use chroot = no\n{user}[tree]\npath = {root}\nread only = yes\n"


@contextmanager
def nginx(folder: Path, root: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Serves the files of ``root``; gives the address."""

    def line(port: int) -> list[str]:
        configuration = folder / f"nginx-{port}.conf"
        configuration.write_text(nginx_configuration(folder, root, port))
        return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(configuration)]

    with _listening(line, environ) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def rsync_daemon(folder: Path, root: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Serves ``root``; gives the address to copy from."""
    configuration = folder / "rsyncd.conf"
    configuration.write_text(rsync_configuration(root))

    def line(port: int) -> list[str]:
        return ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}", f"--config={configuration}"]

    with _listening(line, environ) as port:
        yield f"rsync://127.0.0.1:{port}/tree/"


@contextmanager
def sendfile_server(path: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Sends ``path`` to whoever connects; gives the port."""
    with started(bare_python(SEND_FILE, str(path)), environ) as server:
        yield server.first_line().strip()


@contextmanager
def _listening(line: Callable[[int], list[str]], environ: Mapping[str, str]) -> Iterator[int]:
    """Starts a server that must be told its port, and waits until it listens. Another program may take the port first."""
    for attempt in range(_TRIES):
        port = free_port()
        with started(line(port), environ) as server:
            end = time.monotonic() + READY_S
            while not answers(port) and not server.gone() and time.monotonic() < end:
                time.sleep(0.02)
            if server.gone() or not answers(port):
                if attempt + 1 < _TRIES:
                    continue
                raise WherryError(f"a reference does not start: {server.failure()}")
            yield port
            return


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    return found


def answers(port: int) -> bool:
    """Tells whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
