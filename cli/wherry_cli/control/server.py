"""The daemon's end of the control protocol (specs/0027 §6). It listens on a Unix socket and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from wherry.daemon import requests
from wherry.errors import PeerBusy, UsageError, WherryError
from wherry.limits import CONTROL_BODY_BYTES_MAX, CONTROL_BODY_S, CONTROL_REQUESTS_MAX
from wherry_cli.control.http import Answer, Refused, Request, Server
from wherry_cli.control.paths import ALIVE_S, EVENTS, LIMITS, LINES_TYPE, PEERS, STATUS, STOP, TRANSFERS, status_of
from wherry_cli.render import error_json, to_json

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from wherry.daemon.daemon import Daemon
    from wherry.daemon.news import Listener
    from wherry.daemon.states import Action
    from wherry.results import Result

    Handler = Callable[[Request], Awaitable[Answer | None]]

_EVENTS_EVERY_S: Final = 0.25  # a line a transfer at most: for eyes, and few enough to cost nothing
_WRITE_S: Final = 30.0  # a listener that takes nothing for so long is left
_log = logging.getLogger("wherry.daemon")


class ControlServer:
    """Answers for one daemon. For one event loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._active = 0
        self._ending = asyncio.Event()  # streams have no end of their own

    def _handlers(self, path: tuple[str, ...]) -> dict[str, Handler]:
        """Gives who answers which method of a path; nobody, where the protocol has none."""
        text = "/" + "/".join(path)
        fixed: dict[str, dict[str, Handler]] = {
            STATUS: {"GET": self._status},
            STOP: {"POST": self._stop},
            TRANSFERS: {"GET": self._list, "POST": self._add},
            LIMITS: {"GET": self._limits, "PATCH": self._limit, "DELETE": self._unlimit},
            PEERS: {"GET": self._peers},
            EVENTS: {"GET": self._events},
        }
        if text in fixed:
            return fixed[text]
        match path:
            case (version, kind, _) if f"/{version}/{kind}" == TRANSFERS:
                return {"GET": self._show, "PATCH": self._set}
            case (version, kind, _, "why") if f"/{version}/{kind}" == TRANSFERS:
                return {"GET": self._why}
            case (version, kind, _, "pause" | "resume" | "cancel") if f"/{version}/{kind}" == TRANSFERS:
                return {"POST": self._act}
        return {}

    def end(self) -> None:
        """Ends all streams."""
        self._ending.set()

    async def answer(self, request: Request) -> Answer | None:
        """Lets in what may come in, and makes every error an answer."""
        try:
            if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
                raise UsageError("this is no place for web pages")  # of a proxy that somebody put before the socket
            if self._active >= CONTROL_REQUESTS_MAX:
                raise PeerBusy("the daemon answers many requests already", hint="ask again in a moment")
            handlers = self._handlers(request.path)
            handler = handlers.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                raise Refused(405 if handlers else 404, f"the daemon does not know {request.method} {request.text[:80]}")
            self._active += 1
            try:
                requests.check_keys(request.query, {"explain"} if handler == self._peers else set())
                if request.left and handler not in {self._add, self._set, self._limit}:
                    requests.decode_nothing(await _body(request))
                return await handler(request)
            finally:
                self._active -= 1
        except WherryError as problem:
            return _error(problem)
        except (Refused, ConnectionError):
            raise
        except Exception as problem:  # noqa: BLE001 - a fault in one answer must not end the daemon
            _log.exception("control request %s", request.text[:80])
            return _error(WherryError(f"unexpected {type(problem).__name__} in the daemon", hint="its log says more"))

    async def _status(self, request: Request) -> Answer:
        del request
        return _result(self._daemon.status())

    async def _stop(self, request: Request) -> Answer:
        del request
        self._daemon.stop()
        return _result(self._daemon.status())

    async def _list(self, request: Request) -> Answer:
        del request
        return _json(_listing(self._daemon))

    async def _add(self, request: Request) -> Answer:
        asked = requests.decode_add(await _body(request), seed=self._daemon.seeds)
        return _result(await self._daemon.add(asked), 201)

    async def _show(self, request: Request) -> Answer:
        return _result(self._daemon.runner.show(request.path[2]))

    async def _set(self, request: Request) -> Answer:
        change = requests.decode_change(await _body(request))
        return _result(await self._daemon.change(request.path[2], change))

    async def _act(self, request: Request) -> Answer:
        action = cast("Action", request.path[3])  # one of those that the path allows
        return _result(await self._daemon.runner.act(request.path[2], action))

    async def _why(self, request: Request) -> Answer:
        return _result(self._daemon.runner.why(request.path[2]))

    async def _limits(self, request: Request) -> Answer:
        del request
        return _limits(self._daemon.limits())

    async def _limit(self, request: Request) -> Answer:
        return _limits(await self._daemon.limit(requests.decode_limit(await _body(request))))

    async def _unlimit(self, request: Request) -> Answer:
        del request
        return _limits(await self._daemon.unlimit())

    async def _peers(self, request: Request) -> Answer:
        if "explain" in request.query:
            return _result(await self._daemon.peer(request.query["explain"]))
        known, now = await self._daemon.peers()
        return _json({"schema": "wherry/peers/1", "peers": _plain_all(known), "connected": _plain_all(now)})

    # Events

    async def _events(self, request: Request) -> Answer | None:
        """Sends a line for each transfer, then one for each that changes, until the client goes or the daemon ends."""
        if request.method == "HEAD":
            return Answer(b"", last=True)
        with self._daemon.runner.news.listening() as listener:
            self._active -= 1  # a stream is counted among the listeners, and takes no request's place
            try:
                request.begin(LINES_TYPE)
                with contextlib.suppress(ConnectionError, TimeoutError):  # the client is gone, or takes nothing
                    await self._tell(request, listener)
                if self._ending.is_set():
                    request.end()
                else:
                    request.abort()  # closing would wait for a client that takes nothing
                return None
            finally:
                self._active += 1

    async def _tell(self, request: Request, listener: Listener) -> None:
        for one in self._daemon.runner.listing():
            await _write(request, {"schema": "wherry/event/1", "event": "transfer", **_plain(one)})
        await _write(request, {"schema": "wherry/event/1", "event": "listed"})
        while not self._ending.is_set():
            changed = await self._heard(listener)
            if not changed and not self._ending.is_set():
                await _write(request, {"schema": "wherry/event/1", "event": "alive"})
            for number in changed:
                found = self._daemon.runner.shown(number)
                line = {"event": "forgotten", "id": f"t{number}"}
                if found is not None:
                    line = {"event": "transfer", **_plain(found)}
                await _write(request, {"schema": "wherry/event/1", **line})
            await asyncio.sleep(_EVENTS_EVERY_S)

    async def _heard(self, listener: Listener) -> list[int]:
        """Waits for changes, for the next sign of life, or for the end."""
        hearing = asyncio.ensure_future(listener.heard(ALIVE_S))
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait([hearing, ending], return_when=asyncio.FIRST_COMPLETED)
            return hearing.result() if hearing.done() else []
        finally:
            hearing.cancel()
            ending.cancel()
            await asyncio.wait([hearing, ending])


def _plain(found: Result) -> dict[str, Any]:
    return {key: value for key, value in found.to_json().items() if key != "schema"}


def _plain_all(found: Sequence[Result]) -> list[dict[str, Any]]:
    return [_plain(one) for one in found]


def _listing(daemon: Daemon) -> dict[str, Any]:
    return {"schema": "wherry/transfers/1", "transfers": _plain_all(daemon.runner.listing())}


def _limits(found: Sequence[Result]) -> Answer:
    return _json({"schema": "wherry/limits/1", "limits": _plain_all(found)})


async def _write(request: Request, line: dict[str, Any]) -> None:
    async with asyncio.timeout(_WRITE_S):
        await request.write(to_json(line).encode() + b"\n")


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UsageError("a request is application/json")
    try:
        async with asyncio.timeout(CONTROL_BODY_S):
            return await request.read()
    except TimeoutError:
        raise UsageError(f"the request's body took more than {CONTROL_BODY_S:.0f} s") from None


def _json(found: dict[str, Any], status: int = 200) -> Answer:
    return Answer(to_json(found).encode() + b"\n", status)


def _result(found: Result, status: int = 200) -> Answer:
    return _json(found.to_json(), status)


def _error(problem: WherryError, status: int | None = None) -> Answer:
    answer = _json(error_json(problem), status or status_of(problem))
    answer.last = True  # what is left of a request that was refused is read by nobody
    return answer


@asynccontextmanager
async def controlled(daemon: Daemon, listener: socket.socket) -> AsyncIterator[None]:
    """Answers on ``listener``, which it closes, while the context lasts."""
    control = ControlServer(daemon)
    server = Server(
        control.answer, lambda status, why: _error(UsageError(why), status), body_bytes_max=CONTROL_BODY_BYTES_MAX,
        patience_s=CONTROL_BODY_S,
    )  # fmt: skip
    try:
        await server.start(listener)
        yield
    finally:
        control.end()
        await server.stop()
        listener.close()
