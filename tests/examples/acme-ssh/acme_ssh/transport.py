"""``ssh://[USER@]HOST[:PORT]/PATH``: the files under PATH of a host, read by its own shell. wherry verifies what they hold."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import asynccontextmanager, suppress
from shlex import quote

from wherry.abc.transport import Arrival, Channel, Laid, Transport
from wherry.buffers import ROOM
from wherry.errors import PeerDenied, PeerProtocolError, PeerTimeout, PeerUnreachable, UsageError

ADDRESS = re.compile(r"ssh://((?:\w[\w.-]*@)?[a-z0-9][a-z0-9.-]*)(?::(\d{1,5}))?(/[^\0\n]*)", re.ASCII | re.IGNORECASE)
PIPES = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
RATE_MIN = 8192  # bytes a second; a host that is slower is given up
# r OFFSET LENGTH PATH: prints a line "1" and the bytes; or "0", if there is no such file or it is too short.
READER = """r() { if [ -f "$3" ] && [ "$(wc -c <"$3")" -ge $(($1 + $2)) ]
then echo 1; tail -c +$(($1 + 1)) "$3" | head -c "$2"; else echo 0; fi; }
"""


class SshTransport(Transport):
    """Makes channels to hosts."""

    schemes = frozenset({"ssh"})

    def __init__(self, options, *, named=True):
        self._options, self._named = options, named

    @asynccontextmanager
    async def connect(self, address):
        """Runs a first shell on the host, which shows that PATH is there."""
        match = ADDRESS.fullmatch(address)
        if match is None:
            # What was given is not shown: it may hold a password.
            raise UsageError("an address of acme.ssh has the form ssh://[USER@]HOST[:PORT]/PATH")
        if not self._named:  # ssh resolves names by its own configuration, so nobody could say where this one leads
            raise PeerDenied(f"{address} was named by others; ssh goes where you say only", peer=address)
        channel = SshChannel(address, match, self._options)
        try:
            channel.idle.append(await channel.shell())
            yield channel
        finally:
            while channel.idle:
                await end(channel.idle.pop())


class SshChannel(Channel):
    """Shells on one host. Each answers one batch of wants at a time, and waits for the next."""

    parallel = 4

    def __init__(self, address, match, options):
        host, port, self._path = match.groups()
        self._address, self._idle_s, self.idle = address, options.idle_timeout, []
        self._line = [*options.command, *(["-p", port] if port else []), host, "sh"]

    async def fetch(self, wants, lender):
        """Reads what has a place in a file; of a manifest's nodes a plain copy knows nothing."""
        buffer, shell = await lender.lend(), None
        try:
            shell = self.idle.pop() if self.idle else await self.shell()
            sized = [(number, want) for number, want in enumerate(wants) if want.size is not None]
            names = [self._path + "/" * bool(want.path) + want.path for _, want in sized]  # a dataset may be one file
            lines = [f"r {want.offset} {want.size} {quote(name)}\n" for (_, want), name in zip(sized, names, strict=True)]
            shell.stdin.write("".join(lines).encode())
            at, blocks = ROOM, []
            for number, want in sized:
                if await self._take(shell, 2) == b"1\n":
                    stop = at + want.size
                    buffer.view[at:stop] = await self._take(shell, want.size)
                    blocks.append(Laid(number, at, stop))
                    at = stop
            self.idle.append(shell)
        except BaseException:
            buffer.release()
            if shell is not None:
                await end(shell)
            raise
        yield Arrival(buffer, blocks, sorted(set(range(len(wants))) - {laid.want for laid in blocks}))

    async def shell(self):
        """Starts a shell on the host. Raises PeerUnreachable."""
        try:
            shell = await asyncio.create_subprocess_exec(*self._line, **PIPES, start_new_session=True)
        except OSError as problem:
            raise PeerUnreachable(f"{self._address}: {self._line[0]}: {problem.strerror}", peer=self._address) from problem
        try:
            shell.stdin.write(f"{READER}[ -e {quote(self._path)} ] && echo 1 || echo 0\n".encode())
            if await self._take(shell, 2) != b"1\n":
                raise PeerUnreachable(f"{self._address}: there is no {self._path!r} there", peer=self._address)
        except BaseException:
            await end(shell)
            raise
        return shell

    async def _take(self, shell, count):
        try:
            async with asyncio.timeout(self._idle_s + count / RATE_MIN):
                with suppress(asyncio.IncompleteReadError):
                    return await shell.stdout.readexactly(count)
                said = (await shell.stderr.read(500)).decode(errors="replace").strip() or "without a word"
            raise PeerProtocolError(f"{self._address} ended its answer: {said}", peer=self._address)
        except TimeoutError as problem:
            raise PeerTimeout(f"{self._address} is silent", peer=self._address) from problem


async def end(shell):
    """Ends a shell and what it started, and waits until they are gone."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    await shell.communicate()
