"""A fence around channels: whatever a transport does, what comes out of it keeps the contract, or is a PeerError (D4).

A transport may be anybody's. Blocks are hashed in any case; but a place outside of the buffer, a buffer that is given back
twice or a library's exception would hurt core itself. Here they become PeerProtocolErrors that name the peer and whose code it
is, so that the source rests, as any that fails, and others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from wherry.abc.transport import Arrival, Channel, Laid, Lender
from wherry.buffers import Buffer
from wherry.errors import PeerError, PeerProtocolError, PeerTimeout, PluginContractError, WherryError
from wherry.limits import FETCH_S, PARALLEL_MAX
from wherry.redaction import masked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.transport import BlockSource, SupportsListen, Transport, Want


class Lent(Buffer):
    """One loan of a buffer: it is given back once, however often it is released, and its view is of no use then."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Buffer) -> None:
        self._inner: Buffer | None = inner
        self.view = memoryview(inner.view)

    @property
    def out(self) -> bool:
        """Whether it is still lent."""
        return self._inner is not None

    def release(self) -> None:
        """See `Buffer.release`."""
        inner, self._inner = self._inner, None
        if inner is not None:
            with suppress(BufferError):  # somebody reads it right now; a release at that moment is a fault that hurts him alone
                self.view.release()
            inner.release()


class GuardedLender(Lender):
    """Stands between a transport and core's lender."""

    def __init__(self, inner: Lender, wants: Sequence[Want], blame: Blame) -> None:
        self._inner = inner
        self._wants = wants
        self._blame = blame
        self._settled: list[Arrival] = []

    async def lend(self) -> Buffer:
        """See `Lender.lend`."""
        return Lent(await self._inner.lend())

    @property
    def awaited(self) -> bool:
        """See `Lender.awaited`."""
        return self._inner.awaited

    def settle(self, arrival: Arrival) -> None:
        """See `Lender.settle`. What is not as it must be is not touched: `checked` complains of it."""
        if not fault_of(arrival, self._wants):
            self._settled.append(arrival)
            self._inner.settle(arrival)

    def checked(self, arrival: Arrival) -> Arrival:
        """Gives what a transport yielded. Raises PeerProtocolError, its buffer given back, if it breaks the contract."""
        fault = fault_of(arrival, self._wants)
        if fault:
            buffer = getattr(arrival, "buffer", None)
            if isinstance(buffer, Lent):
                buffer.release()
            raise self._blame.broken(fault)
        if not any(one is arrival for one in self._settled):  # what it says of itself counts for nothing
            arrival.settled, arrival.rejected, arrival.failure = False, [], None
        return arrival


class GuardedChannel(Channel):
    """A channel of anybody's transport."""

    __slots__ = ("_blame", "_inner", "manifests", "parallel")

    def __init__(self, inner: object, blame: Blame) -> None:
        """Raises PeerProtocolError if it is no channel, or does not say how many fetches it bears."""
        parallel: object = getattr(inner, "parallel", None)
        if not isinstance(inner, Channel) or type(parallel) is not int or parallel < 1:
            raise blame.broken("it is no channel, or its `parallel` is no number of fetches")
        self._inner = inner
        self._blame = blame
        self.parallel = min(parallel, PARALLEL_MAX)  # type: ignore[misc]  # an instance's own number
        self.manifests = inner.manifests is not False  # type: ignore[misc]  # an instance's own answer

    def __repr__(self) -> str:
        return repr(self._inner)

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        guarded = GuardedLender(lender, wants, self._blame)
        arrivals = self._begun(wants, guarded)
        try:
            while True:
                try:
                    async with asyncio.timeout(FETCH_S):
                        arrival = await anext(arrivals)
                except StopAsyncIteration:
                    return
                except WherryError:
                    raise
                except Exception as problem:
                    raise self._blame.of(problem) from problem
                yield guarded.checked(arrival)
        finally:
            try:
                await arrivals.aclose()
            except WherryError:
                raise
            except Exception as problem:
                raise self._blame.of(problem) from problem

    def _begun(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        try:
            arrivals: object = self._inner.fetch(wants, lender)
        except WherryError:
            raise
        except Exception as problem:
            raise self._blame.of(problem) from problem
        if isinstance(arrivals, AsyncGenerator):
            return arrivals
        getattr(arrivals, "close", bool)()  # of a coroutine, which would complain that nobody awaited it
        raise self._blame.broken(f"its fetch gives {type(arrivals).__name__}, must give an asynchronous generator")

    @property
    def code(self) -> str:
        """Whose code it is: the transport's class, with its module."""
        return self._blame.code

    @property
    def inner(self) -> Channel:
        """The transport's own."""
        return self._inner


def adopted(channel: Channel, address: str) -> GuardedChannel:
    """Puts the fence around a channel to a peer that dialled this node. Raises PeerProtocolError if it is no channel."""
    return GuardedChannel(channel, Blame(address, f"{type(channel).__module__}.{type(channel).__qualname__}"))


@dataclass(frozen=True, slots=True)
class Blame:
    """Words an error so that it says which peer it was, and whose code."""

    address: str
    code: str  # the transport's class, with its module

    def broken(self, fault: str) -> PeerProtocolError:
        """Gives the error for a transport that breaks its contract."""
        return PeerProtocolError(
            f"{masked(self.address)}: its transport ({self.code}) breaks its contract: {fault}",
            peer=self.address,
            hint="`wherry plugins check NAME` shows what is wrong with it; another source, or transport, may do",
        )

    def of(self, problem: Exception) -> PeerError:
        """Gives the error for what a transport raised that is none of wherry's."""
        if isinstance(problem, TimeoutError):
            fault = f"gave nothing for {FETCH_S:g} s, or let a time-out of its own pass"
            return PeerTimeout(f"{masked(self.address)}: its transport ({self.code}) {fault}", peer=self.address)
        return self.broken(f"it raised {type(problem).__name__}: {problem}")


def guarded(transport: Transport, address: str) -> AbstractAsyncContextManager[Channel]:
    """Opens a channel to ``address``. Raises PeerError, and other errors of wherry that ``connect`` raises, nothing else."""
    return _Guarded(transport, address)


class _Guarded:
    """One who has a channel. A generator for it took half a KiB more, in each of a thousand transfers."""

    __slots__ = ("_address", "_blame", "_entering", "_transport")

    def __init__(self, transport: Transport, address: str) -> None:
        self._transport, self._address = transport, address
        self._blame = Blame(address, f"{type(transport).__module__}.{type(transport).__qualname__}")

    async def __aenter__(self) -> Channel:
        try:
            self._entering = self._transport.connect(self._address)
            async with asyncio.timeout(FETCH_S):
                inner = await self._entering.__aenter__()
        except WherryError:
            raise
        except Exception as problem:
            raise self._blame.of(problem) from problem
        try:
            return GuardedChannel(inner, self._blame)
        except BaseException as problem:
            await self._leave(problem)
            raise

    async def __aexit__(self, _kind: object, problem: BaseException | None, _trace: object) -> None:
        if problem is not None:
            await self._leave(problem)
            return
        try:
            await self._entering.__aexit__(None, None, None)
        except WherryError:
            raise
        except Exception as late:
            raise self._blame.of(late) from late

    async def _leave(self, problem: BaseException) -> None:
        with suppress(Exception):  # what led to leaving is told, not what came of it
            await self._entering.__aexit__(type(problem), problem, problem.__traceback__)


@asynccontextmanager
async def listening(transport: Transport, address: str, source: BlockSource) -> AsyncIterator[str]:
    """Listens, and gives the address that others can dial. Raises errors of wherry alone, for faults of a transport too."""
    code = f"{type(transport).__module__}.{type(transport).__qualname__}"
    hint = "`wherry plugins check NAME` shows what is wrong with it"
    async with AsyncExitStack() as stack:
        try:
            found: object = await stack.enter_async_context(cast("SupportsListen", transport).listen(address, source))
        except WherryError:
            raise
        except Exception as problem:
            words = f"listening on {masked(address)!r}, the transport {code} raised {type(problem).__name__}: {problem}"
            raise PluginContractError(words, hint=hint) from problem
        if not isinstance(found, str):
            words = f"listening on {masked(address)!r}, the transport {code} gave {type(found).__name__}, must give an address"
            raise PluginContractError(words, hint=hint)
        yield found


def fault_of(arrival: object, wants: Sequence[Want]) -> str:
    """Says in what an arrival is not as the contract wants it; "" for one that is."""
    if not isinstance(arrival, Arrival):
        return f"it gives {type(arrival).__name__}, must give Arrival"
    buffer = arrival.buffer
    if buffer is not None and not (isinstance(buffer, Lent) and buffer.out):
        return "its buffer was not lent to it, or was given back"
    length, count = len(buffer.view) if buffer is not None else 0, len(wants)
    try:
        for laid in arrival.blocks:
            want, start, stop = laid
            if not (type(want) is int and type(start) is int and type(stop) is int and isinstance(laid, Laid)):
                return f"a block lies at {str(laid)[:60]}, which are no numbers"
            if not (0 <= want < count and 0 <= start <= stop <= length):
                return f"block {want} lies from {start} to {stop}, of {count} wants and {length} bytes of buffer"
        for want in arrival.missing:
            if type(want) is not int or not 0 <= want < count:
                return f"want {str(want)[:60]} is missing, of {count}"
    except (TypeError, ValueError) as problem:
        return f"its arrival is nonsense: {problem}"
    return ""
