"""What the connections of one transport share: threads, buffers to send from, options (specs/0004 §7)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from wherry.buffers import BufferPool
from wherry.coder import Coder
from wherry.limits import BUFFER_BYTES
from wherry.links import Links
from wherry.wire.frames import CODING_NAME, CODINGS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.exchange import Exchange
    from wherry.coding import Codings
    from wherry.flow import Flow
    from wherry.nodekey import NodeKey
    from wherry.observe import Emit
    from wherry_tcp.options import TcpOptions
    from wherry_tcp.session import Session

WORKERS: Final = 6  # threads that receive, and as many that send; those who are slow hold none
PATIENCE_MS: Final = 50  # a thread waits so long for a connection while no other one waits for a thread
_SERVE_BUFFERS: Final = 4  # for what cannot go by sendfile


class Engine:
    """Made and used on one event loop; `close` it when the last connection has ended."""

    def __init__(
        self,
        options: TcpOptions,
        *,
        key: Callable[[], NodeKey],
        codings: Callable[[], Codings],
        emit: Emit,
        flow: Flow,
        exchange: Exchange | None,
    ) -> None:
        """``key`` gives the key of this node, made when it is first needed."""
        self.options = options
        self.key = key
        self.codings = codings
        self.emit = emit
        self.flow = flow
        self.exchange = exchange
        self.sessions: dict[bytes, Session] = {}  # that more connections may join, by the secret that we gave them
        self.receiving = ThreadPoolExecutor(WORKERS, "wherry-tcp-in")
        self.sending = ThreadPoolExecutor(WORKERS, "wherry-tcp-out")
        self.pool = BufferPool(_SERVE_BUFFERS * BUFFER_BYTES)
        self.coder = Coder(codings, options.coding)
        self.links = Links()
        self.spans = 0  # of the have-maps of all peers
        self.pumping_in = 0  # connections that want a thread
        self.pumping_out = 0

    def offer(self) -> tuple[str, ...]:
        """Gives the codings that this node decodes, as a Hello says them. Raises ConfigError, PluginError."""
        return tuple([name for name in self.codings().names if CODING_NAME.fullmatch(name)][:CODINGS_MAX])

    def close(self) -> None:
        """Ends the threads, which are idle by then."""
        self.receiving.shutdown(wait=True, cancel_futures=True)
        self.sending.shutdown(wait=True, cancel_futures=True)
        self.coder.close()


def patience(pumping: int) -> int:
    """Gives how long a thread may wait for one connection, in milliseconds, while so many want a thread."""
    return PATIENCE_MS if pumping <= WORKERS else 0
