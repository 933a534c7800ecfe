"""Where the ``tcp`` transport listens in its checks: for `wherry plugins check` (specs/0006 §13)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from wherry.env import Env
from wherry.plugin import Duration
from wherry.testing.transport import TransportContract
from wherry_tcp.options import TcpOptions
from wherry_tcp.transport import TcpTransport

_SHORT = Duration(1.0)  # the checks wait for them


class TestTcp(TransportContract):
    """Plain TCP."""

    plugin_module = "wherry_tcp.plugin"
    scheme = "tcp"
    home = Path(tempfile.gettempdir())  # no key is made for plain TCP

    def make_transport(self) -> TcpTransport:
        """See `SourceContract.make_transport`."""
        return TcpTransport(TcpOptions(connect_timeout=_SHORT, idle_timeout=_SHORT, request_timeout=_SHORT), Env(self.home, {}))

    def listen_address(self) -> str:
        """See `TransportContract.listen_address`."""
        return f"{self.scheme}://127.0.0.1:0"

    def dial(self, host: str, port: int) -> str | None:
        """See `TransportContract.dial`."""
        return f"{self.scheme}://{host}:{port}"
