"""Registers the transport ``acme.ssh``."""

# No `from __future__ import annotations`: the types of options are read when a configuration is.
from dataclasses import dataclass

from wherry.plugin import Duration, hookimpl, option, provider


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """What stands in ``wherry.toml`` under ``[transport."acme.ssh"]``."""

    command: tuple[str, ...] = option(("ssh", "-T", "-oBatchMode=yes"), help="what is run; the host and `sh` come behind it")
    idle_timeout: Duration = option(Duration(30.0), help="a host that sends nothing for so long is given up", minimum=0.1)


def build(options, env):
    """Makes the transport; wherry calls it when somebody names an address of ours."""
    from acme_ssh.transport import SshTransport

    return SshTransport(options, named=env.dial.reach == "named")


@hookimpl
def wherry_register_transports():
    """Offers ``acme.ssh``."""
    return [provider("acme.ssh", options=SshOptions, build=build, summary="a plain copy on a host that has sshd")]
