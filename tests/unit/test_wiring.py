"""The composition root: what configuration chooses is what is built, once it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wherry.errors import ConfigError, PeerError, PluginNotFound, UsageError
from wherry.plugin.installed import Found
from wherry.wiring import Wiring


def wiring(tmp_path, text="", **environ):
    config = tmp_path / "some.toml"
    config.write_text(text)
    return Wiring(tmp_path, config, environ)


def test_the_first_transport_in_use_that_speaks_a_scheme(tmp_path):
    made = wiring(tmp_path)
    assert type(made.transport("http://127.0.0.1:1")).__name__ == "HttpTransport"
    assert type(made.transport("HTTPS://127.0.0.1:1")).__name__ == "HttpTransport"
    assert type(made.transport("file:///x")).__name__ == "FileTransport"


@pytest.mark.parametrize(("address", "hint"), [("gopher://x", "http (http, https)"), ("lab", "configured peer")])
def test_an_address_that_nothing_speaks(tmp_path, address, hint):
    with pytest.raises(UsageError, match="no transport speaks") as caught:
        wiring(tmp_path).transport(address)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("127.0.0.1:4290", "http://127.0.0.1:4290"),
        ("node.lan:80", "http://node.lan:80"),
        ("[::1]:80", "http://[::1]:80"),
        ("4290", "http://127.0.0.1:4290"),
        (":4290", "http://127.0.0.1:4290"),
    ],
)
def test_of_an_address_without_a_scheme_the_whole_one_is_said(tmp_path, address, hint):
    with pytest.raises(UsageError, match="no transport speaks") as caught:
        wiring(tmp_path).transport(address)
    assert caught.value.hint.startswith(f"write {hint}, ")


@pytest.mark.parametrize("address", ["libp2p:/ip4/127.0.0.1/tcp/1", "LIBP2P:/ip4/127.0.0.1/tcp/1"])
def test_of_a_transport_that_is_installed_and_not_in_use_it_is_said_how_to_use_it(tmp_path, address):
    with pytest.raises(UsageError, match="no transport speaks") as caught:
        wiring(tmp_path, '[transport]\nuse = ["http"]\n').transport(address)
    assert caught.value.hint == ('the transport \'libp2p\' is installed; add it to [transport] use: use = ["http", "libp2p"]')


def test_what_is_not_in_use_is_not_built(tmp_path):
    made = wiring(tmp_path, '[transport]\nuse = ["file"]\n')
    with pytest.raises(UsageError, match="http"):
        made.transport("http://127.0.0.1:1")


@pytest.mark.parametrize("text", ["", ":", ":1MiB", "fixed:", "fastcdc:"])
def test_a_chunker_has_a_name_and_a_size_where_one_is_begun(tmp_path, text):
    with pytest.raises(UsageError, match="names no chunker"):
        wiring(tmp_path).chunker(text)


def test_a_plugin_that_is_not_installed(tmp_path):
    made = wiring(tmp_path, '[transport]\nuse = ["acme.quic"]\n')
    with pytest.raises((PluginNotFound, ConfigError), match="acme"):
        made.transport("http://127.0.0.1:1")


def test_the_budget_and_the_cache_are_the_configured_ones(tmp_path):
    made = wiring(tmp_path, '[memory]\nbudget = "16 MiB"\n[cache]\nuse = "memory"\n')
    assert made.pool.count == 4
    store = made.store()
    try:
        assert "MemoryCache" in repr(store.cache.cache)
    finally:
        store.close()


def test_an_address_may_name_its_transport(tmp_path):
    made = wiring(tmp_path, '[transport.mirror]\nplugin = "http"\n')
    assert type(made.transport("http+http://127.0.0.1:1")).__name__ == "HttpTransport"
    assert type(made.transport("mirror+HTTPS://127.0.0.1:1")).__name__ == "HttpTransport", "a table is enough"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file+http://h:1", ["file does not speak 'http'", "file+file:"]),
        (
            "mirrow+http://h:1",
            ["no transport 'mirrow'", "did you mean 'mirror'?", "configured: file, http, mirror", "installed: "],
        ),
        ("zzz+http://h:1", ["no transport 'zzz'", "configured: file, http, mirror"]),
    ],
)
def test_a_name_that_leads_nowhere(tmp_path, address, said):
    made = wiring(tmp_path, '[transport]\nuse = ["http", "file"]\n[transport.mirror]\nplugin = "http"\n')
    with pytest.raises(UsageError) as raised:
        made.transport(address)
    assert all(text in str(raised.value) for text in said), str(raised.value)


def test_an_installed_transport_is_not_put_to_use_by_an_address(tmp_path):
    made = wiring(tmp_path, '[transport]\nuse = ["http"]\n')
    with pytest.raises(UsageError, match="installed and not in use") as raised:
        made.transport("file+file:///x")
    assert raised.value.hint == 'write under [transport]: use = ["http", "file"]'


async def test_the_transport_is_given_the_address_without_the_name(tmp_path):
    made = wiring(tmp_path)
    given = []
    made.transport = lambda address, dial: Given(given)
    for address in ("web+https://h/a+b", "https://h/a+b"):
        with pytest.raises(PeerError):  # it opens nothing
            async with made.connect(address):
                pass
    assert given == ["https://h/a+b"] * 2


class Given:
    def __init__(self, given):
        self.connect = given.append


def test_the_environment_goes_before_the_file(tmp_path):
    made = wiring(tmp_path, "[add]\nmtime = false\n", WHERRY_ADD__MTIME="true")
    assert made.config.add.mtime is True


def test_adding_needs_no_network_library(tmp_path, unmeasured):
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom wherry.session import Session\n"
        "async def main():\n"
        "    async with Session.open(home=Path(sys.argv[1]), environ={}) as session:\n"
        "        await session.add(__import__('os').__file__)\n"
        "asyncio.run(main())\nassert 'aiohttp' not in sys.modules, 'aiohttp'\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "home")], check=True, timeout=30)


def test_a_policy_is_called_as_it_is_configured_and_whose_it_is_is_told(tmp_path, monkeypatch):
    assert wiring(tmp_path).policy()[0] == "the policy 'reputation'"
    made = wiring(tmp_path, '[policy]\nuse = "mine"\n[policy.mine]\nplugin = "round-robin"\n')
    assert made.policy()[0] == "the policy 'mine' (made by 'round-robin')"
    others = Found("round-robin", "acme.plugin", "acme-wherry", "1.2", lambda: None)
    monkeypatch.setattr(made.manager, "found", lambda kind, name: others if (kind, name) == ("policy", "round-robin") else None)
    assert made.policy()[0] == "the policy 'mine' (made by 'round-robin' of acme-wherry 1.2)"
