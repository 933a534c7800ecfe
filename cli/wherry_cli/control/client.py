"""The asking end of the control protocol (specs/0027 §6): what the daemon raises is raised here again."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import aiohttp

from wherry.daemon import places
from wherry.daemon.requests import parse_number
from wherry.errors import LimitExceeded, PeerTimeout, PeerUnreachable, in_words
from wherry.limits import CONTROL_ANSWER_BYTES_MAX
from wherry_cli.control.paths import ALIVE_S, EVENTS, HOST, LIMITS, PEERS, STATUS, STOP, TRANSFERS, error_in
from wherry_cli.render import to_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

_ANSWER_S: Final = 60.0  # a pause waits for threads, a busy disk for its turn
_READY_S: Final = 10.0  # a daemon that has just begun holds its lock a moment before it answers
_LINE_BYTES_MAX: Final = 512 * 1024  # an event: a transfer with 20 long addresses; aiohttp takes twice its buffer
_GONE: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)


class Control:
    """A daemon that can be asked. Make it with `connected`; every answer is the JSON object of the protocol."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def status(self) -> dict[str, Any]:
        """What the daemon is and does."""
        return await self._ask("GET", STATUS)

    async def stop(self) -> dict[str, Any]:
        """Tells it to end; gives what it was."""
        return await self._ask("POST", STOP)

    async def transfers(self) -> dict[str, Any]:
        """All transfers."""
        return await self._ask("GET", TRANSFERS)

    async def add(self, **asked: Any) -> dict[str, Any]:
        """Adds a transfer. Raises what the daemon raises: UsageError, TargetBusy, StoreError, ..."""
        return await self._ask("POST", TRANSFERS, asked)

    async def show(self, name: str) -> dict[str, Any]:
        """One transfer. Raises NotFound."""
        return await self._ask("GET", _transfer(name))

    async def set(self, name: str, **settings: Any) -> dict[str, Any]:
        """Gives a transfer other settings."""
        return await self._ask("PATCH", _transfer(name), settings)

    async def act(self, name: str, action: str) -> dict[str, Any]:
        """Pauses, resumes or cancels a transfer."""
        return await self._ask("POST", f"{_transfer(name)}/{action}")

    async def why(self, name: str) -> dict[str, Any]:
        """Where the time of a transfer went."""
        return await self._ask("GET", f"{_transfer(name)}/why")

    async def limits(self) -> dict[str, Any]:
        """The limits in force."""
        return await self._ask("GET", LIMITS)

    async def limit(self, **change: Any) -> dict[str, Any]:
        """Changes a limit; gives those in force."""
        return await self._ask("PATCH", LIMITS, change)

    async def unlimit(self) -> dict[str, Any]:
        """Takes all limits away."""
        return await self._ask("DELETE", LIMITS)

    async def peers(self) -> dict[str, Any]:
        """All peers that are known, and those that are connected."""
        return await self._ask("GET", PEERS)

    async def peer(self, name: str) -> dict[str, Any]:
        """What the score of one peer is made of. Raises NotFound."""
        return await self._ask("GET", f"{PEERS}?{urlencode({'explain': name})}")

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yields the daemon's events, the signs of life left out, until it ends; PeerUnreachable if it died."""
        # Two signs of life that are missing are no accident.
        times = aiohttp.ClientTimeout(total=None, sock_read=3 * ALIVE_S)
        try:
            async with self._http.get(_url(EVENTS), timeout=times) as answer:
                if answer.status >= 400:
                    raise error_in(await _text(answer))
                while line := await answer.content.readline():
                    event = json.loads(line)
                    if event.get("event") != "alive":
                        yield event
        except TimeoutError as problem:
            raise PeerTimeout("the daemon says nothing any more") from problem
        except _GONE as problem:
            raise PeerUnreachable(f"the daemon is gone: {in_words(problem)}", hint="`wherry status` looks for it") from problem
        except ValueError as problem:
            raise PeerUnreachable("the daemon says something else than JSON") from problem

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else to_json(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self._http.request(method, _url(path), data=data, headers=headers) as answer:
                text = await _text(answer)
                if answer.status >= 400:
                    raise error_in(text)
        except TimeoutError as problem:
            raise PeerTimeout(f"the daemon did not answer within {_ANSWER_S:.0f} s", hint="its log says more") from problem
        except _GONE as problem:
            raise PeerUnreachable(f"the daemon is gone: {in_words(problem)}", hint="`wherry status` looks for it") from problem
        try:
            found = json.loads(text)
        except ValueError:
            raise error_in(text) from None
        if not isinstance(found, dict):
            raise error_in(text)
        return found


def _transfer(name: str) -> str:
    """Gives the path of a transfer, whose name comes from a command line and must lead to nothing else. Raises UsageError."""
    return f"{TRANSFERS}/t{parse_number(name)}"


def _url(path: str) -> str:
    return f"http://{HOST}{path}"


async def _text(answer: aiohttp.ClientResponse) -> str:
    data = bytearray()
    async for piece in answer.content.iter_any():
        data += piece
        if len(data) > CONTROL_ANSWER_BYTES_MAX:
            raise LimitExceeded("the daemon's answer has no end")
    return data.decode("utf-8", "replace")


@asynccontextmanager
async def connected(home: Path, *, patience_s: float = _READY_S) -> AsyncIterator[Control]:
    """Reaches the daemon of ``home``. Raises NotFound if none runs, PeerUnreachable if it does not answer in time."""
    with places.dialable(home) as path:
        connector = aiohttp.UnixConnector(path=path, force_close=True)
        times = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(connector=connector, timeout=times, read_bufsize=_LINE_BYTES_MAX // 2) as http:
            await _reach(http, home, patience_s)
            yield Control(http)


async def _reach(http: aiohttp.ClientSession, home: Path, patience_s: float) -> None:
    """Waits until the daemon takes a connection."""
    end = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            async with http.head(_url(STATUS), timeout=aiohttp.ClientTimeout(total=min(_ANSWER_S, max(patience_s, 1.0)))):
                return
        except _GONE as problem:
            who = places.running(home)
            if who is None or asyncio.get_running_loop().time() > end:
                said = "it has ended just now" if who is None else f"its process is {who.pid}"
                raise PeerUnreachable(
                    f"the daemon of home {home} does not answer; {said}", hint="its log says more"
                ) from problem
        except TimeoutError as problem:
            who = places.running(home)
            said = "" if who is None else f"; its process is {who.pid}"
            hint = (
                "its log says more" if who is None else f"its log says more; `kill -9 {who.pid}` ends it, and loses no transfer"
            )
            raise PeerTimeout(f"the daemon of home {home} does not answer{said}", hint=hint) from problem
        await asyncio.sleep(0.05)
