"""Opens connections: resolved, allowed, made, encrypted, and with hands shaken (specs/0004 §1, §6)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

from wherry.errors import PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable
from wherry.nodekey import peer_id_of
from wherry.wire.connection import Connection
from wherry_tcp.handshake import Mine, dial
from wherry_tcp.line import Line
from wherry_tcp.stream import Stream, TlsStream, readable, writable

if TYPE_CHECKING:
    from wherry.dial import Dial
    from wherry.wire.messages import Hello
    from wherry_tcp.engine import Engine
    from wherry_tcp.places import Place


class Dialled(NamedTuple):
    """An open connection, and who is at its other end."""

    line: Line
    hello: Hello
    id: str  # proven; "" where nothing is
    ip: str


async def dialled(engine: Engine, place: Place, policy: Dial, *, join: bytes = b"") -> Dialled:
    """Connects to ``place``; ``join`` is a session to be joined. Raises PeerError that names it."""
    peer = str(place)
    try:
        async with asyncio.timeout(engine.options.connect_timeout):
            sock, ip = await _connected(place, policy, peer)
            try:
                return await _shaken(engine, place, sock, ip, join, named=policy.reach == "named")
            except BaseException:
                sock.close()
                raise
    except PeerError:
        raise
    except TimeoutError as problem:
        raise PeerTimeout(f"{peer} is silent", peer=peer, hint="check that it runs, and the address") from problem
    except ConnectionRefusedError as problem:
        raise PeerUnreachable(f"{peer} refuses connections", peer=peer) from problem
    except socket.gaierror as problem:
        raise PeerUnreachable(f"cannot find {peer}: {problem.strerror}", peer=peer, hint="check the address") from problem
    except ssl.SSLError as problem:
        raise PeerProtocolError(f"{peer} does not speak TLS 1.3 as wherry does: {problem}", peer=peer) from problem
    except OSError as problem:
        raise PeerUnreachable(f"cannot connect to {peer}: {problem.strerror or problem}", peer=peer) from problem


async def _connected(place: Place, policy: Dial, peer: str) -> tuple[socket.socket, str]:
    """Makes the first connection that is allowed and can be made. Raises OSError, PeerDenied."""
    loop = asyncio.get_running_loop()
    if place.scheme == "unix":
        if policy.reach != "named":
            raise PeerDenied(f"{peer} was named by others and leads to this machine; it is not dialled", peer=peer)
        found = [(socket.AF_UNIX, place.path, "")]
    else:
        infos = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        found = [(family, address, str(address[0])) for family, _, _, _, address in infos]  # type: ignore[misc]  # of any family
    failure: OSError | PeerDenied = ConnectionRefusedError("its name has no address")
    for family, address, ip in found:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if ip:
                policy.check(ip, peer)
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except (OSError, PeerDenied) as problem:
            sock.close()
            failure = problem
        except BaseException:
            sock.close()
            raise
        else:
            return sock, ip
    raise failure


async def _shaken(engine: Engine, place: Place, sock: socket.socket, ip: str, join: bytes, *, named: bool) -> Dialled:
    peer, options = str(place), engine.options
    server = b""
    stream = Stream(sock)
    if place.tls:
        from wherry_tcp.tls import client_context  # plain connections need none of it

        stream = await encrypted(sock, client_context(), server=False)
    try:
        if isinstance(stream, TlsStream):
            from wherry_tcp.tls import server_key  # as above

            server = server_key(stream.tls, place.peer, peer)
        wire = Connection(peer, dialled=True, requests_max=options.max_requests)
        line = Line(stream, wire, engine)
        line.codings = engine.offer()
        exchange = engine.exchange
        hello = await dial(
            line,
            Mine(
                # The token is for those whom the user named: whoever is found by others would be given proof for asking.
                options.token if named else None, engine.key() if place.tls else None, server,
                tuple(exchange.addresses()) if exchange is not None else (), line.codings, options.max_requests, b"", join,
            ),
        )  # fmt: skip
    except BaseException:
        stream.close(late=True)
        raise
    line.requests_max, line.decodes = min(hello.requests, options.max_requests), hello.codings
    return Dialled(line, hello, peer_id_of(server) if server else "", ip)


async def encrypted(sock: socket.socket, context: ssl.SSLContext, *, server: bool) -> TlsStream:
    """Begins TLS on a connection. Raises OSError; the socket is then closed."""
    wrapped = context.wrap_socket(sock, server_side=server, do_handshake_on_connect=False)
    try:
        wrapped.setblocking(False)
        stream = TlsStream(wrapped)
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await readable(stream, 3600)  # the caller's own time-out is shorter
            except ssl.SSLWantWriteError:
                await writable(stream, 3600)
            else:
                return stream
    except BaseException:
        wrapped.close()
        raise
