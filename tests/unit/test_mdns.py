"""What the local network is told of a node, and what is made of what it tells."""

from __future__ import annotations

import socket

import pytest

from wherry import Session
from wherry.cid import CID, RAW
from wherry.errors import LocalError

pytest.importorskip("zeroconf", reason="the extra mdns is not installed")

from wherry_locate import mdns
from wherry_locate.options import MdnsOptions

ID = b"12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
WHO = ID.decode()


class Told:
    """A description as the network gave it."""

    def __init__(self, *ips, port=4290, **said):
        self.port = port
        self.properties = {b"v": b"1", b"scheme": b"http", **{key.encode(): value for key, value in said.items()}}
        self._ips = ips

    def parsed_addresses(self):
        return list(self._ips)


@pytest.mark.parametrize(
    ("told", "addresses"),
    [
        (Told("192.168.1.5"), ["http://192.168.1.5:4290"]),
        (Told("192.168.1.5", "fd00::2", scheme=b"https"), ["https://192.168.1.5:4290", "https://[fd00::2]:4290"]),
        (Told("fe80::1", "fe80::1%eth0"), []),
        (Told(), []),
        (Told("192.168.1.5", port=0), []),
        (Told("192.168.1.5", port=None), []),
        (Told("192.168.1.5", v=b"2"), []),
        (Told("192.168.1.5", v=None), []),
        (Told("192.168.1.5", scheme=b"file"), []),
        (Told("192.168.1.5", scheme=b"http://evil/?"), []),
        (Told("192.168.1.5", scheme=b"\xff"), []),
        (Told("192.168.1.5", scheme=b"tcp"), ["tcp://192.168.1.5:4290"]),
        (
            Told("192.168.1.5", "fd00::2", scheme=b"tcps", id=ID),
            [f"tcps://{WHO}@192.168.1.5:4290", f"tcps://{WHO}@[fd00::2]:4290"],
        ),
        (Told("192.168.1.5", scheme=b"tcps"), []),
        (Told("192.168.1.5", scheme=b"tcps", id=b"x@evil"), []),
        (Told("192.168.1.5", other=b"\xff" * 1000), ["http://192.168.1.5:4290"]),
    ],
)
def test_a_description_becomes_addresses(told, addresses):
    assert mdns.addresses_of(told) == addresses


async def test_what_others_cannot_dial_is_not_announced():
    made = mdns.Mdns(MdnsOptions())
    for address in (
        "http://127.0.0.1:4290", "http://localhost:4290", "http://[::1]:4290", "file:///data", "memory://x",
        "http://no.such.host.invalid:1",
    ):  # fmt: skip
        assert await made._info(address) is None
    async with made.announce(["http://127.0.0.1:4290"]):
        assert made._multicast is None  # nothing was opened for it


async def test_it_is_said_that_a_server_is_there_and_nothing_else():
    info = await mdns.Mdns(MdnsOptions())._info("https://192.0.2.7:4290")
    assert info.properties == {b"v": b"1", b"scheme": b"https"}
    assert (info.port, info.parsed_addresses()) == (4290, ["192.0.2.7"])
    assert socket.gethostname() not in info.name + info.server
    other = await mdns.Mdns(MdnsOptions())._info("https://192.0.2.7:4290")
    assert other.name != info.name


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://192.0.2.7:4290", {b"v": b"1", b"scheme": b"tcp"}),
        (f"tcps://{WHO}@192.0.2.7:4290", {b"v": b"1", b"scheme": b"tcps", b"id": ID}),
    ],
)
async def test_the_native_exchange_is_announced_with_the_key_to_be_met(address, said):
    info = await mdns.Mdns(MdnsOptions())._info(address)
    assert info.properties == said
    assert mdns.addresses_of(info) == [address]


async def test_no_multicast_is_a_fault_of_this_machine(monkeypatch):
    def refuse(**options):
        raise OSError(19, "No such device")

    monkeypatch.setattr(mdns, "AsyncZeroconf", refuse)
    made = mdns.Mdns(MdnsOptions())
    with pytest.raises(LocalError, match="multicast DNS"):
        await anext(made.locate(CID.of(RAW, b"x")))
    with pytest.raises(LocalError, match="multicast DNS"):
        async with made.announce(["http://192.0.2.7:4290"]):
            pass


def test_how_far_its_peers_may_be():
    assert mdns.Mdns(MdnsOptions()).reach == "lan"
    assert mdns.Mdns(MdnsOptions(loopback=True)).reach == "named"


async def test_a_node_that_serves_is_found_and_gives_its_data(tmp_path):
    # Answers come within a second where nothing else runs, and not within two where two whole suites do.
    config = '[locator]\nuse = ["mdns"]\n[locator.mdns]\nloopback = true\nbrowse = "8s"\n'
    for home in ("a", "b"):
        (tmp_path / home).mkdir()
        (tmp_path / home / "wherry.toml").write_text(config)
    (tmp_path / "f.bin").write_bytes(bytes(range(256)) * 1000)
    notes = []
    async with (
        Session.open(home=tmp_path / "a", environ={}) as one,
        one.serve([str(tmp_path / "f.bin")], listen=["http://127.0.0.1:0"], observe=notes.append) as serving,
        Session.open(home=tmp_path / "b", environ={}) as two,
    ):
        if notes:
            pytest.skip(f"no multicast on loopback here: {notes[0].text}")
        cid = (await one.add(str(tmp_path / "f.bin"))).cid
        assert serving.listen[0] in [hint.address for hint in (await two.find(cid)).hints]
        await two.get(cid, output=str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == (tmp_path / "f.bin").read_bytes()
