"""The daemon's end of the control protocol (specs/0027 §6). It listens on a Unix socket and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from wherry.daemon import requests
from wherry.errors import PeerBusy, UsageError, WherryError
from wherry.limits import CONTROL_BODY_BYTES_MAX, CONTROL_BODY_S, CONTROL_REQUESTS_MAX
from wherry_cli.control.paths import ALIVE_S, EVENTS, LIMITS, LINES_TYPE, PEERS, STATUS, STOP, TRANSFERS, status_of
from wherry_cli.render import error_json, to_json

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from wherry.daemon.daemon import Daemon
    from wherry.daemon.news import Listener
    from wherry.results import Result

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_EVENTS_EVERY_S: Final = 0.25  # a line a transfer at most: for eyes, and few enough to cost nothing
_WRITE_S: Final = 30.0  # a listener that takes nothing for so long is left
_log = logging.getLogger("wherry.daemon")


class ControlServer:
    """Answers for one daemon. For one event loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._active = 0
        self._ending = asyncio.Event()  # streams have no end of their own

    def app(self) -> web.Application:
        """Makes the application: every path of the protocol."""
        app = web.Application(client_max_size=CONTROL_BODY_BYTES_MAX, middlewares=[self._typed])
        app.router.add_get(STATUS, self._status)
        app.router.add_post(STOP, self._stop)
        app.router.add_get(TRANSFERS, self._list)
        app.router.add_post(TRANSFERS, self._add)
        app.router.add_get(f"{TRANSFERS}/{{id}}", self._show)
        app.router.add_patch(f"{TRANSFERS}/{{id}}", self._set)
        app.router.add_get(f"{TRANSFERS}/{{id}}/why", self._why)
        app.router.add_post(f"{TRANSFERS}/{{id}}/{{action:pause|resume|cancel}}", self._act)
        app.router.add_get(LIMITS, self._limits)
        app.router.add_get(PEERS, self._peers)
        app.router.add_patch(LIMITS, self._limit)
        app.router.add_delete(LIMITS, self._unlimit)
        app.router.add_get(EVENTS, self._events)
        return app

    def end(self) -> None:
        """Ends all streams."""
        self._ending.set()

    @web.middleware
    async def _typed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets in what may come in, and makes every error an answer."""
        try:
            if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
                raise UsageError("this is no place for web pages")  # of a proxy that somebody put before the socket
            if self._active >= CONTROL_REQUESTS_MAX:
                raise PeerBusy("the daemon answers many requests already", hint="ask again in a moment")
            self._active += 1
            try:
                return await handler(request)
            finally:
                self._active -= 1
        except WherryError as problem:
            return _error(problem)
        except web.HTTPRequestEntityTooLarge:
            return _error(UsageError(f"a request has at most {CONTROL_BODY_BYTES_MAX} bytes"), 413)
        except web.HTTPException as problem:
            return _error(UsageError(f"the daemon does not know {request.method} {request.path[:80]}"), problem.status)
        except Exception as problem:  # noqa: BLE001 - a fault in one answer must not end the daemon
            _log.exception("control request %s", request.path[:80])
            return _error(WherryError(f"unexpected {type(problem).__name__} in the daemon", hint="its log says more"))

    async def _status(self, request: web.Request) -> web.StreamResponse:
        del request
        return _result(self._daemon.status())

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        del request
        self._daemon.stop()
        return _result(self._daemon.status())

    async def _list(self, request: web.Request) -> web.StreamResponse:
        del request
        return _json(_listing(self._daemon))

    async def _add(self, request: web.Request) -> web.StreamResponse:
        asked = requests.decode_add(await _body(request), seed=self._daemon.seeds)
        return _result(await self._daemon.add(asked), 201)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return _result(self._daemon.runner.show(request.match_info["id"]))

    async def _set(self, request: web.Request) -> web.StreamResponse:
        change = requests.decode_change(await _body(request))
        return _result(await self._daemon.change(request.match_info["id"], change))

    async def _act(self, request: web.Request) -> web.StreamResponse:
        action: Any = request.match_info["action"]  # one of those that the path allows
        return _result(await self._daemon.runner.act(request.match_info["id"], action))

    async def _why(self, request: web.Request) -> web.StreamResponse:
        return _result(self._daemon.runner.why(request.match_info["id"]))

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        del request
        return _limits(self._daemon.limits())

    async def _limit(self, request: web.Request) -> web.StreamResponse:
        return _limits(await self._daemon.limit(requests.decode_limit(await _body(request))))

    async def _unlimit(self, request: web.Request) -> web.StreamResponse:
        del request
        return _limits(await self._daemon.unlimit())

    async def _peers(self, request: web.Request) -> web.StreamResponse:
        if "explain" in request.query:
            return _result(await self._daemon.peer(request.query["explain"]))
        known, now = await self._daemon.peers()
        return _json({"schema": "wherry/peers/1", "peers": _plain_all(known), "connected": _plain_all(now)})

    # Events

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Sends a line for each transfer, then one for each that changes, until the client goes or the daemon ends."""
        with self._daemon.runner.news.listening() as listener:
            self._active -= 1  # a stream is counted among the listeners, and takes no request's place
            try:
                response = web.StreamResponse(headers={"Content-Type": LINES_TYPE, "Cache-Control": "no-store"})
                await response.prepare(request)
                with contextlib.suppress(ConnectionError, TimeoutError):  # the client is gone, or takes nothing
                    await self._tell(response, listener)
                if request.transport is not None and not self._ending.is_set():
                    request.transport.abort()  # closing would wait for a client that takes nothing
                return response
            finally:
                self._active += 1

    async def _tell(self, response: web.StreamResponse, listener: Listener) -> None:
        for one in self._daemon.runner.listing():
            await _write(response, {"schema": "wherry/event/1", "event": "transfer", **_plain(one)})
        await _write(response, {"schema": "wherry/event/1", "event": "listed"})
        while not self._ending.is_set():
            changed = await self._heard(listener)
            if not changed and not self._ending.is_set():
                await _write(response, {"schema": "wherry/event/1", "event": "alive"})
            for number in changed:
                found = self._daemon.runner.shown(number)
                line = {"event": "forgotten", "id": f"t{number}"}
                if found is not None:
                    line = {"event": "transfer", **_plain(found)}
                await _write(response, {"schema": "wherry/event/1", **line})
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


def _limits(found: Sequence[Result]) -> web.Response:
    return _json({"schema": "wherry/limits/1", "limits": _plain_all(found)})


async def _write(response: web.StreamResponse, line: dict[str, Any]) -> None:
    async with asyncio.timeout(_WRITE_S):
        await response.write(to_json(line).encode() + b"\n")


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise UsageError("a request is application/json")
    try:
        async with asyncio.timeout(CONTROL_BODY_S):
            return await request.read()
    except TimeoutError:
        raise UsageError(f"the request's body took more than {CONTROL_BODY_S:.0f} s") from None


def _json(found: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        text=to_json(found) + "\n", status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _result(found: Result, status: int = 200) -> web.Response:
    return _json(found.to_json(), status)


def _error(problem: WherryError, status: int | None = None) -> web.Response:
    answer = _json(error_json(problem), status or status_of(problem))
    answer.force_close()  # what is left of a request that was refused is read by nobody
    return answer


@asynccontextmanager
async def controlled(daemon: Daemon, listener: socket.socket) -> AsyncIterator[None]:
    """Answers on ``listener``, which it closes, while the context lasts."""
    server = ControlServer(daemon)
    runner = web.AppRunner(
        server.app(), keepalive_timeout=CONTROL_BODY_S, access_log=None, handle_signals=False, shutdown_timeout=2.0,
        lingering_time=0, logger=logging.getLogger("wherry.daemon.http"),
    )  # fmt: skip
    try:
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield
    finally:
        server.end()
        await runner.cleanup()
        listener.close()
