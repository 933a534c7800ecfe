"""Who is at the other end: pins, proofs, tokens, and what counts for nothing (specs/0004 §6)."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl

import pytest

from wherry.dial import PUBLIC
from wherry.env import Env
from wherry.errors import PeerDenied, PeerError, PeerProtocolError, UsageError
from wherry.nodekey import NodeKey
from wherry.observe import Refused
from wherry.testing.blocks import CountedPool, harvest
from wherry.testing.leaves import file_of, right, source_of
from wherry.wire.encoding import encode
from wherry.wire.messages import Error, Fault, Hello, Proof
from wherry_tcp import handshake, tls
from wherry_tcp.options import TcpOptions
from wherry_tcp.places import parse_place
from wherry_tcp.transport import TcpTransport

FILE = file_of("file", *[1000] * 5)
WANTS = [leaf.want for leaf in FILE]


def transport(home, *, emit=None, dial=None, **options):
    home.mkdir(exist_ok=True)
    found = Env(home, {}, **{name: value for name, value in (("emit", emit), ("dial", dial)) if value is not None})
    return TcpTransport(TcpOptions(connect_timeout=5.0, idle_timeout=2.0, request_timeout=2.0, **options), found)


async def get(client, address):
    async with client.connect(address) as channel:
        right(await harvest(channel, WANTS, CountedPool()), FILE)


async def test_the_pin_is_checked(tmp_path):
    server, client = transport(tmp_path / "s"), transport(tmp_path / "c")
    other = NodeKey(bytes(32)).peer_id
    async with server.listen("tcps://127.0.0.1:0", source_of(FILE)) as address:
        assert NodeKey.load(tmp_path / "s").peer_id in address
        await get(client, address)
        bare = "tcps://" + address.partition("@")[2]
        await get(client, bare)
        with pytest.raises(PeerDenied, match="is not 12D3Koo"):
            await get(client, bare.replace("tcps://", f"tcps://{other}@"))


@pytest.mark.parametrize("scheme", ["tcp", "tcps", "unix"])
async def test_the_token_is_proven(tmp_path, scheme):
    events = []
    server = transport(tmp_path / "s", token="right", emit=events.append)
    address = f"unix://{tmp_path}/u" if scheme == "unix" else f"{scheme}://127.0.0.1:0"
    async with server.listen(address, source_of(FILE)) as found:
        await get(transport(tmp_path / "c", token="right"), found)
        for token in (None, "wrong"):
            with pytest.raises(PeerDenied) as caught:
                await get(transport(tmp_path / "c", token=token), found)
            assert caught.value.hint
    assert Refused(scheme, "denied") in events


async def test_the_token_is_not_shown_and_not_proven_to_strangers(tmp_path):
    """To whom others named it is not even proven."""
    heard = bytearray()

    async def serve(reader, writer):
        heard.extend(await reader.read(4096))
        writer.write(encode(Hello(bytes(32), token=True)))
        heard.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(PeerError):
            await get(transport(tmp_path / "c", token="a-long-token"), address)
        assert b"a-long-token" not in heard
        with pytest.raises(PeerDenied, match="not dialled"):
            await get(transport(tmp_path / "c", token="a-long-token", dial=PUBLIC), address)
        with pytest.raises(PeerDenied, match="not dialled"):
            await get(transport(tmp_path / "c", dial=PUBLIC), f"unix://{tmp_path}/u")


async def test_a_forged_proof_is_refused(tmp_path, monkeypatch):
    server, client = transport(tmp_path / "s"), transport(tmp_path / "c")
    async with server.listen("tcps://127.0.0.1:0", source_of(FILE)) as address:
        # What was signed for another server, by a nonce of another connection, and by another key.
        for signed in (lambda *_: b"something else", lambda one, two, key: handshake._SIGNED + two.nonce + one.nonce + key):
            with monkeypatch.context() as patch:
                patch.setattr(client._node().__class__, "sign", lambda self, data, signed=signed: bytes(64))
                with pytest.raises(PeerDenied, match="not yours"):
                    await get(client, address)
        await get(client, address)


async def test_another_certificate_is_refused(tmp_path, monkeypatch):
    """A key that is none of a node's: of another kind."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "pem").write_bytes(pem + built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def context(key):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(tmp_path / "pem")
        return made

    monkeypatch.setattr(tls, "server_context", context)
    async with transport(tmp_path / "s").listen("tcps://127.0.0.1:0", source_of(FILE)) as address:
        with pytest.raises(PeerProtocolError, match="none of a node's"):
            await get(transport(tmp_path / "c"), address)


async def test_older_tls_is_refused(tmp_path):
    async with transport(tmp_path / "s").listen("tcps://127.0.0.1:0", source_of(FILE)) as address:
        place = parse_place(address)
        context = tls.client_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(place.host, place.port, ssl=context)


async def test_plain_and_tls_do_not_mix(tmp_path):
    server, client = transport(tmp_path / "s"), transport(tmp_path / "c")
    async with server.listen("tcps://127.0.0.1:0", source_of(FILE)) as address:
        with pytest.raises(PeerError):
            await get(client, "tcp://" + address.partition("@")[2])
    async with server.listen("tcp://127.0.0.1:0", source_of(FILE)) as address:
        with pytest.raises(PeerError):
            await get(client, address.replace("tcp:", "tcps:"))


async def test_what_a_server_says_at_the_door_is_told(tmp_path):
    for fault, kind in ((Fault.DENIED, PeerDenied), (Fault.FAILED, PeerProtocolError)):

        async def serve(reader, writer, fault=fault):
            await reader.read(4096)
            writer.write(encode(Error(fault, "because\x1b[2J")))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            with pytest.raises(kind, match=r"because\?\[2J"):
                await get(transport(tmp_path / "c"), f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def test_a_claimed_id_counts_for_nothing_in_plain_tcp(tmp_path):
    """The claim is heard, and no proof of it either: `PeerInfo.id` is empty (tests/unit/test_tcp_exchange.py)."""
    async with transport(tmp_path / "s").listen("tcp://127.0.0.1:0", source_of(FILE)) as address:
        place = parse_place(address)
        reader, writer = await asyncio.open_connection(place.host, place.port)
        writer.write(encode(Hello(bytes(32), id=NodeKey(bytes(32)).peer_id)))
        assert await reader.readexactly(8)
        writer.write(encode(Proof(signature=bytes(64))))  # which is not looked at
        writer.close()


@pytest.mark.parametrize(
    "address",
    [
        "tcp:", "tcp://", "tcp://host", "tcp://host:", "tcp://host:x", "tcp://host:70000", "tcp://user@host:1", "tcp://[::1:1",
        "tcp://::1:1", "tcps://user@host:1", "tcps://12D3Koo@host:1", "unix://relative", "unix:///" + "x" * 200, "http://h:1",
        "tcp://host:1/path", "tcp://" + "h" * 3000 + ":1", "tcp://host:0",
        "tcp://a..b:1", "tcp://" + "h" * 64 + ":1", "tcp://\udcff:1", "tcp://a\0b:1", "tcp://a\nb:1",
        "unix:///" + "\udcff" * 108,
    ],
)  # fmt: skip
async def test_malformed_addresses(tmp_path, address):
    with pytest.raises(UsageError):
        await get(transport(tmp_path / "c"), address)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://[::1]:7",
        "tcps://h:1",
        "tcp://h.:1",
        "tcp://\u00fc.de:1",
        "unix:///a/b",
        f"tcps://{NodeKey(bytes(32)).peer_id}@h:1",
    ],
)
def test_addresses_survive(address):
    assert str(parse_place(address)) == address


async def test_who_may_listen_where(tmp_path):
    async def listens(address, **options):
        async with transport(tmp_path / "s", **options).listen(address, source_of(FILE)) as found:
            return found

    with pytest.raises(UsageError, match="open to other machines"):
        await listens("tcp://0.0.0.0:0")
    assert await listens("tcp://0.0.0.0:0", token="t")
    assert (await listens("tcps://0.0.0.0:0")).startswith("tcps://12D3Koo")
    with pytest.raises(UsageError, match="another node"):
        await listens(f"tcps://{NodeKey(bytes(32)).peer_id}@127.0.0.1:0")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="no socket"):
        await listens(f"unix://{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "mine"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/left")
    assert await listens(f"unix://{tmp_path}/left")
    with pytest.raises(ValueError, match="token"):
        TcpOptions(token="with space")
