"""The process of its own: trio and py-libp2p, and a socket to wherry (specs/0035 §3, §4)."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from typing import Any, Final

from wherry_libp2p.door import Door
from wherry_libp2p.faults import Silent, linked, of_dial, of_request
from wherry_libp2p.frames import ANSWER_BYTES_MAX, HEAD, VERSION, Fault, Head, Kind, fields_of, head_of, pack, wants_of
from wherry_libp2p.host import make_host, self_test

try:
    import trio
except ImportError:  # not installed here: `main` says so to wherry
    trio = None

_SEEKS_MAX: Final = 16  # blocks that wherry looks up for us at a time
_NAMED_S: Final = 120  # for which py-libp2p remembers an address that it dials
_KADEMLIA: Final = ("/ipfs/kad/1.0.0", "/ipfs/lan/kad/1.0.0")


class Line:
    """The socket to wherry."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream, self._buffer, self._lock = stream, bytearray(), trio.Lock()

    async def send(self, kind: Kind, request: int = 0, index: int = 0, body: bytes = b"") -> None:
        """Sends a frame. The body of a block is not copied."""
        async with self._lock:
            if kind is Kind.BLOCK:
                await self._stream.send_all(HEAD.pack(kind, request, index, len(body)))
                await self._stream.send_all(body)
            else:
                await self._stream.send_all(pack(kind, request, index, body))

    async def fail(self, request: int, fault: Fault, text: object) -> None:
        """Says why a request failed."""
        await self.send(Kind.FAIL, request, fault, str(text).encode("utf-8", "replace")[:1000])

    async def next(self) -> tuple[Head, bytes] | None:
        """Gives the next frame; None when wherry is gone."""
        if not await self._fill(HEAD.size):
            return None
        head = head_of(self._buffer[: HEAD.size])
        if not await self._fill(HEAD.size + head.length):
            return None
        body = bytes(memoryview(self._buffer)[HEAD.size : HEAD.size + head.length])
        del self._buffer[: HEAD.size + head.length]
        return head, body

    async def _fill(self, count: int) -> bool:
        while len(self._buffer) < count:
            data = await self._stream.receive_some(1 << 20)
            if not data:
                return False
            self._buffer += data
        return True


class Bridge:
    """wherry's requests carried out, and the peers' passed on to it."""

    def __init__(self, line: Line, nursery: trio.Nursery) -> None:
        self._line, self._nursery = line, nursery
        self._seeks: dict[int, tuple[trio.Event, list[bytes | None]]] = {}
        self._slots = trio.Semaphore(_SEEKS_MAX)
        self._last = 0
        self._running: dict[int, trio.CancelScope] = {}
        self._dialled: dict[int, tuple[Any, str]] = {}  # the DIAL's request: peer and address
        self.door = Door(line, nursery)
        self.host: Any = None
        self.exchange: Any = None  # none where a DHT alone is asked
        self.connect_s = self.idle_s = 30.0

    async def seek(self, cid: bytes, *, only_whether: bool) -> bytes | None:
        """See `wherry_libp2p.bitswap.Source`."""
        async with self._slots:
            self._last = self._last % 0xFFFF_FFFF + 1
            request, event = self._last, trio.Event()
            answer: list[bytes | None] = []
            self._seeks[request] = event, answer
            try:
                await self._line.send(Kind.SEEK, request, int(only_whether), cid)
                await event.wait()
            finally:
                del self._seeks[request]
            return answer[0]

    async def run(self) -> None:
        """Takes wherry's frames until it is gone."""
        while (frame := await self._line.next()) is not None:
            head, body = frame
            if head.kind in (Kind.BLOCK, Kind.MISSING, Kind.DONE):
                if waiting := self._seeks.get(head.request):
                    waiting[1].append(None if head.kind is Kind.MISSING else body)
                    waiting[0].set()
            elif head.kind is Kind.DIAL:
                self._nursery.start_soon(self._request, head, self._dial(head, body.decode()))
            elif head.kind is Kind.WANT:
                self._nursery.start_soon(self._request, head, self._want(head, wants_of(body)))
            elif head.kind is Kind.ASK:
                self._nursery.start_soon(self._request, head, self._ask(head, body))
            elif head.kind is Kind.CANCEL:
                self._dialled.pop(head.request, None)  # a DIAL whose DONE is on the way: nobody will close it
                if scope := self._running.get(head.request):
                    scope.cancel()
            elif head.kind is Kind.CLOSE:
                self._dialled.pop(head.request, None)
            elif head.kind in (Kind.ADMIT, Kind.DENY):
                self.door.answer(head.request, wanted=head.kind is Kind.ADMIT)
            elif head.kind is Kind.PING:
                await self._line.send(Kind.PONG, body=_json(self.exchange.counts if self.exchange is not None else {}))

    def keep_to_the_named(self) -> None:
        """Has the host dial what wherry named and nothing else.

        py-libp2p also keeps the addresses that a peer says of itself, and dials them when a connection is gone: no address
        policy has seen those.
        """
        store = self.host.get_peerstore()
        known = store.addrs

        def addrs(peer: Any) -> list[Any]:
            named = {address for who, address in self._dialled.values() if who == peer}
            return [address for address in known(peer) if str(address) in named]

        store.addrs = addrs

    async def _request(self, head: Head, work: Any) -> None:
        with trio.CancelScope() as scope:
            self._running[head.request] = scope
            try:
                await work
            except trio.TooSlowError:
                words = f"it did not answer within {self.connect_s:g} s" if head.kind is Kind.DIAL else "the peer is silent"
                await self._line.fail(head.request, Fault.TIMEOUT, words)
            except trio.BrokenResourceError:
                raise  # wherry is gone
            except Exception as problem:  # noqa: BLE001  # whatever libp2p raises is that request's fault alone
                await self._line.fail(head.request, *self._fault(head, problem))
            finally:
                del self._running[head.request]

    def _fault(self, head: Head, problem: Exception) -> tuple[Fault, str]:
        """Says what a request failed of."""
        if head.kind is Kind.DIAL:
            return of_dial(problem)
        dialled = self._dialled.get(head.at)  # none: it was closed meanwhile
        return of_request(problem, alive=dialled is not None and linked(self.host, dialled[0]))

    async def _dial(self, head: Head, address: str) -> None:
        from libp2p.peer.peerinfo import info_from_p2p_addr
        from multiaddr import Multiaddr

        info = info_from_p2p_addr(Multiaddr(address))
        self._dialled[head.request] = info.peer_id, str(info.addrs[0])
        try:
            network = self.host.get_network()
            network.unblock_peer(info.peer_id)  # that it failed a while ago, or at another address, says nothing of now
            with trio.fail_after(self.connect_s):
                if linked(self.host, info.peer_id):
                    await self.host.connect(info)
                else:  # `connect` is content with a connection that is listed, and those that are closed are for a while
                    self.host.get_peerstore().add_addrs(info.peer_id, info.addrs, _NAMED_S)
                    await network.dial_peer(info.peer_id)
        except BaseException:
            self._dialled.pop(head.request, None)
            raise
        await self._line.send(Kind.DONE, head.request)

    async def _ask(self, head: Head, body: bytes) -> None:
        from wherry_libp2p.messages import delimited, reset, varint

        protocol, question = _KADEMLIA[body[0]], body[1:]
        with trio.fail_after(self.idle_s):
            stream = await self.host.new_stream(self._dialled[head.at][0], [protocol])
            try:
                await stream.write(varint(len(question)) + question)
                answer = await delimited(stream, ANSWER_BYTES_MAX)
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(1):
                    await reset(stream)
        if answer is None:
            raise ConnectionError("the peer hung up")
        await self._line.send(Kind.SAID, head.request, 0, answer)

    async def _want(self, head: Head, wants: list[tuple[bytes, int | None]]) -> None:
        from wherry_libp2p.fetch import Fetch

        async def receive(index: int, data: bytes) -> None:
            await self._line.send(Kind.BLOCK, head.request, index, data)

        peer = self.exchange.peer(self._dialled[head.at][0])
        fetch = Fetch([cid for cid, _ in wants], receive, [size for _, size in wants])
        peer.want(fetch)
        try:
            await peer.fulfilled(fetch, self.idle_s)
            if fetch.problem is not None:
                raise fetch.problem
        except trio.TooSlowError:
            if trio.current_time() - peer.heard < self.idle_s:  # it speaks, of other things
                raise
            # A link that leads nowhere any more looks like this, for a quarter of an hour, and would be used again.
            with trio.CancelScope(shield=True), trio.move_on_after(2):
                await self.host.disconnect(peer.peer_id)
            raise Silent(f"it was silent for {self.idle_s:g} s") from None
        except BaseException:
            with trio.CancelScope(shield=True), trio.move_on_after(2):
                await peer.cancel(fetch)
            raise
        finally:
            peer.drop(fetch)
        await self._line.send(Kind.DONE, head.request)


async def serve(sock: socket.socket) -> None:
    """Runs until wherry closes the socket."""
    async with trio.open_nursery() as nursery:
        line = Line(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
        frame = await line.next()
        if frame is None or frame[0].kind is not Kind.START:
            return
        start: dict[str, Any] = fields_of(frame[1])
        try:
            import libp2p
            from multiaddr import Multiaddr

            from wherry_libp2p.bitswap import Exchange
        except ImportError as problem:
            await line.fail(0, Fault.ABSENT, problem)
            return
        try:
            if start["bitswap"]:
                await self_test()
        except Exception as problem:  # noqa: BLE001  # any failure of the library as it is installed
            await line.fail(0, Fault.UNFIT, f"py-libp2p {libp2p.__version__}: {type(problem).__name__}: {problem}")
            return
        host = make_host(bytes.fromhex(start["seed"]), start["connections"])
        listen = [Multiaddr(text) for text in start["listen"]]
        bridge = Bridge(line, nursery)
        network: Any = host.get_network()
        network.door = bridge.door
        try:
            async with host.run(listen_addrs=listen):
                bridge.connect_s, bridge.idle_s = start["connect_timeout"], start["idle_timeout"]
                bridge.host = host
                bridge.keep_to_the_named()
                if start["bitswap"]:
                    limits = {"peer_wants": start["peer_wants"], "peers": 4 * start["connections"]}
                    bridge.exchange = Exchange(host, nursery, bridge, **limits)
                ready = {
                    "version": VERSION,
                    "peer": str(host.get_id()),
                    "listen": [str(address) for address in host.get_addrs()],
                    "libp2p": libp2p.__version__,
                }
                await line.send(Kind.READY, body=_json(ready))
                bridge.door.opened.set()
                await bridge.run()
                nursery.cancel_scope.cancel()
        except OSError as problem:
            await line.fail(0, Fault.LISTEN, problem)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def main() -> None:
    """Runs on the socket whose number is the last argument. Its end, however it comes, is the end of this process."""
    logging.disable(logging.WARNING)  # py-libp2p words each block several times
    sock = socket.socket(fileno=int(sys.argv[-1]))
    if trio is None:
        sock.sendall(pack(Kind.FAIL, 0, Fault.ABSENT, b"there is no module named trio"))
        return
    try:
        trio.run(serve, sock)
    except BaseException as problem:  # wherry being gone shows in many kinds, in groups
        if os.environ.get("WHERRY_LIBP2P_DEBUG"):
            raise
        print(f"{type(problem).__name__}: {problem}"[:500], file=sys.stderr)  # noqa: T201  # the last words, read by wherry
        os._exit(1)
    os._exit(0)  # threads of libraries do not keep it


if __name__ == "__main__":
    main()
