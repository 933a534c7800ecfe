"""The transport keeps its contract, over a stand-in for ssh that runs the shell on this machine."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from acme_ssh.plugin import SshOptions
from acme_ssh.transport import SshTransport

from wherry.errors import PeerDenied, PeerError, PeerTimeout, UsageError
from wherry.testing.source import SourceContract

HERE = ("sh", "-c", 'exec "$1"')  # `sh -c SCRIPT HOST sh` runs sh


def options(*command):
    return SshOptions(command=command or HERE, idle_timeout=1.0)


class TestSsh(SourceContract):
    plugin_module = "acme_ssh.plugin"

    def make_transport(self):
        return SshTransport(options())

    @asynccontextmanager
    async def offering(self, folder, files):
        for path, leaves in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(b"".join(leaf.data for leaf in leaves))
        yield f"ssh://host{folder}"


@pytest.mark.parametrize("address", ["ssh://-oProxyCommand=x/data", "ssh://host", "ssh://a b/data", "ssh://user:pw@host/data"])
async def test_no_address_is_taken_for_an_option_of_ssh(address):
    with pytest.raises(UsageError):
        async with SshTransport(options()).connect(address):
            pass


async def test_strangers_do_not_choose_hosts(tmp_path):
    with pytest.raises(PeerDenied):
        async with SshTransport(options(), named=False).connect(f"ssh://host{tmp_path}"):
            pass


@pytest.mark.parametrize(
    ("command", "kind", "says"),
    [
        (("sh", "-c", "echo no route to host >&2; exit 255"), PeerError, "no route to host"),
        (("sh", "-c", "sleep 60"), PeerTimeout, "silent"),
        (("no-such-program",), PeerError, "no-such-program"),
    ],
)
async def test_a_host_that_fails_is_named(tmp_path, command, kind, says):
    with pytest.raises(kind, match=says) as caught:
        async with SshTransport(options(*command)).connect(f"ssh://host{tmp_path}"):
            pass
    assert caught.value.peer == f"ssh://host{tmp_path}"


async def test_names_are_quoted(tmp_path):
    name = 'it\'s $(touch pwned) `x` \\ "q"'
    (tmp_path / name).mkdir()
    async with SshTransport(options()).connect(f"ssh://host{tmp_path}/{name}"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
