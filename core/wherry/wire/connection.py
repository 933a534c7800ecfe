"""One end of a connection: what may be sent and received now, and what was asked either way (specs/0004 §4).

No I/O: `Connection.send` and its kin give bytes to be sent, `Connection.incoming` says into which memory the next bytes that
arrive belong, so that blocks are received straight where they are to lie. What arrived stands in `received`. A transport may
run `incoming` in a thread while it sends from another: each side has a state of its own.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from wherry.errors import DecodeError, PeerProtocolError
from wherry.limits import NAME_ASKS_MAX
from wherry.wire.answer import AnswerReader, skipped
from wherry.wire.encoding import blocks_head, decode, decode_head, decode_request, encode
from wherry.wire.messages import HEAD_BYTES, REQUEST_BYTES, BlocksFlag, Cancel, Hello, Kind, Message, Record, Resolve, Want
from wherry.wire.states import FLOW, JOIN, REQUEST, Request, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Want as Wanted
    from wherry.wire.answer import Decode, Pieces

MORE: Final = BlocksFlag(0)  # other blocks of the same request follow
REQUESTS_IN_ALL: Final = 0xFFFF_FFFF  # of one connection; then it takes another


class Misuse(RuntimeError):
    """Our end was to send what may not be sent now: a fault of the program, not of the peer."""


class Asked:
    """A request of ours."""

    __slots__ = ("number", "reader", "refused", "state", "unwanted", "wants")

    def __init__(self, number: int, wants: Sequence[Wanted], reader: AnswerReader) -> None:
        self.number = number
        self.wants = wants
        self.reader = reader
        self.state = Request.ASKED
        self.unwanted = False  # set it (from any thread) to have what still comes skipped
        self.refused = False  # the peer dropped it


class Connection:
    """One end. ``peer`` is how it is called in errors."""

    def __init__(self, peer: str, *, dialled: bool, requests_max: int) -> None:
        """``dialled``: this end did, and speaks first. ``requests_max`` are taken at a time, as its Hello says."""
        self.peer = peer
        self._dialled = dialled
        self._requests_max = requests_max
        self.sent = Stage.NEW
        self.got = Stage.NEW
        self.received: deque[Message | Asked] = deque()  # in the order in which it came; an Asked is one that is done
        self.asked: dict[int, Asked] = {}  # by us, and not done
        self.theirs: dict[int, Request] = {}  # by the peer, and not done
        self.takes_names = False  # whether the peer takes `Resolve`; its Hello says it
        self.names: set[bytes] = set()  # asked for by us, and not answered
        self.their_names: set[bytes] = set()  # asked for by the peer, and not answered
        self._offers_names = False  # whether our Hello did
        self._next = 0
        self._expected = 0  # the number of the peer's next request
        self.filling: Asked | None = None  # whose bytes come next

    @property
    def open(self) -> bool:
        """Whether requests may pass both ways."""
        return self.sent in (Stage.OPEN, Stage.BULK) and self.got in (Stage.OPEN, Stage.BULK)

    # Sending

    def send(self, message: Message) -> bytes:
        """Gives the bytes of a message other than Want and Cancel, to be sent at once. Raises Misuse.

        A Resolve has room where `names` has fewer than NAME_ASKS_MAX, and not the same one.
        """
        event = JOIN if isinstance(message, Hello) and self._joins(message) else type(message).__name__.lower()
        if isinstance(message, Hello) and not self._dialled and self.got is Stage.NEW:
            raise Misuse("who was dialled speaks second")
        self._step_sent(event)
        if isinstance(message, Hello):
            self._offers_names = message.names
        elif isinstance(message, Resolve):
            if not self.takes_names or message.name in self.names or len(self.names) >= NAME_ASKS_MAX:
                raise Misuse("the peer takes no such Resolve now")
            self.names.add(message.name)
        elif isinstance(message, Record):
            if message.name not in self.their_names:
                raise Misuse("the peer did not ask for this name")
            self.their_names.discard(message.name)
        return encode(message)

    def ask(
        self, wants: Sequence[Wanted], bytes_max: int, names: Sequence[str] = (), decode: Decode | None = None
    ) -> tuple[Asked, bytes]:
        """Asks for blocks: gives the request, and the bytes to be sent. ``names`` are the codings that our Hello offered."""
        if self._next > REQUESTS_IN_ALL:
            raise Misuse("this connection has no numbers left for requests")
        self._step_sent("want")
        asked = Asked(self._next, wants, AnswerReader(wants, self.peer, names, decode))
        self.asked[asked.number] = asked
        self._next += 1
        cids, sizes = tuple(want.cid for want in wants), tuple(want.size for want in wants)
        return asked, encode(Want(asked.number, bytes_max, cids, sizes))

    def cancel(self, asked: Asked) -> bytes:
        """Takes a request back: what still comes of it is skipped. Gives the bytes to be sent, none if it is done."""
        asked.unwanted = True
        if asked.number not in self.asked or asked.state is not Request.ASKED:
            return b""
        self._step_sent("cancel")
        asked.state = REQUEST[asked.state, "cancel"]
        return encode(Cancel(asked.number))

    def blocks(self, request: int, length: int, flags: BlocksFlag = MORE) -> bytes:
        """Gives what stands before ``length`` bytes of frames that answer a request of the peer. Raises Misuse."""
        state = self.theirs.get(request)
        if state is None:
            raise Misuse(f"the peer has no request {request} under way")
        self._step_sent("blocks")
        if flags & BlocksFlag.FINAL:
            del self.theirs[request]
        return blocks_head(request, length, flags)

    def _step_sent(self, event: str) -> None:
        state = FLOW.get((self.sent, event))
        if state is None:
            raise Misuse(f"{event} may not be sent on a connection that is {self.sent.value}")
        self.sent = state

    # Receiving

    def incoming(self) -> Pieces:
        """Gives the memory that the next bytes are to be put into, piece by piece, each to be filled whole; never ends.

        None stands for a buffer to be lent, and set as the view of ``filling.reader``, before it goes on; where ``filling`` is
        unwanted by then, none need be. Raises PeerProtocolError, after which the connection is of no use.
        """
        head = memoryview(bytearray(HEAD_BYTES))
        while True:
            yield head
            try:
                found = decode_head(head)
            except DecodeError as problem:
                raise self._wrong(problem.message) from problem
            if found.kind is Kind.BLOCKS:
                self._step_got("blocks")
                yield from self._blocks(BlocksFlag(found.flags), found.length)
                continue
            # Before its body is taken: who may not say it does not get the memory for it.
            if found.kind is not Kind.HELLO and (self.got, found.kind.name.lower()) not in FLOW:
                raise self._wrong(f"{found.kind.name}, on a connection that is {self.got.value}")
            body = bytearray(found.length)
            if body:
                yield memoryview(body)
            try:
                message = decode(found, bytes(body))
            except DecodeError as problem:
                raise self._wrong(problem.message) from problem
            self._take(message)

    def _take(self, message: Message) -> None:
        joins = isinstance(message, Hello) and self._joins(message)
        self._step_got(JOIN if joins else type(message).__name__.lower())
        if isinstance(message, Want):
            if message.request != self._expected or len(self.theirs) >= self._requests_max:
                raise self._wrong(f"request {message.request} instead of {self._expected}, or beyond {self._requests_max}")
            self._expected += 1
            self.theirs[message.request] = Request.ASKED
        elif isinstance(message, Cancel):
            if message.request >= self._expected:
                raise self._wrong(f"Cancel of request {message.request}, which it never made")
            state = self.theirs.get(message.request, Request.DONE)
            if (state, "cancel") not in REQUEST:
                raise self._wrong(f"Cancel of request {message.request} twice")
            if state is Request.ASKED:
                self.theirs[message.request] = REQUEST[state, "cancel"]
        elif isinstance(message, Hello):
            self.takes_names = message.names
        elif isinstance(message, Resolve | Record):
            self._take_name(message)
        self.received.append(message)

    def _take_name(self, message: Resolve | Record) -> None:
        if isinstance(message, Record):
            if message.name not in self.names:
                raise self._wrong("the record of a name that it was not asked for")
            self.names.discard(message.name)
            return
        if not self._offers_names or message.name in self.their_names or len(self.their_names) >= NAME_ASKS_MAX:
            raise self._wrong(f"a question for a name that it may not ask: twice, or beyond {NAME_ASKS_MAX}")
        self.their_names.add(message.name)

    def _blocks(self, flags: BlocksFlag, length: int) -> Pieces:
        if length < REQUEST_BYTES:
            raise self._wrong("BLOCKS without the number of a request")
        number = memoryview(bytearray(REQUEST_BYTES))
        yield number
        length -= REQUEST_BYTES
        asked = self.asked.get(decode_request(number))
        if asked is None:
            raise self._wrong(f"blocks for request {decode_request(number)}, which is not under way")
        if flags & BlocksFlag.REFUSED and (length or not flags & BlocksFlag.FINAL):
            raise self._wrong("a refusal with blocks")
        self.filling = asked
        for piece in () if asked.unwanted else asked.reader.pieces(length):
            yield piece
            length -= len(piece) if piece is not None else 0
            if asked.unwanted:
                break
        yield from skipped(length)
        self.filling = None
        if flags & BlocksFlag.FINAL:
            del self.asked[asked.number]
            asked.state = Request.DONE
            asked.refused = bool(flags & BlocksFlag.REFUSED)
            self.received.append(asked)

    def _joins(self, hello: Hello) -> bool:
        """Tells whether a Hello makes this a connection that joins a session: the first one says it for both sides."""
        return bool(hello.join) or Stage.JOINING in (self.sent, self.got)

    def _step_got(self, event: str) -> None:
        state = FLOW.get((self.got, event))
        if state is None:
            raise self._wrong(f"{event}, on a connection that is {self.got.value}")
        self.got = state

    def _wrong(self, what: str) -> PeerProtocolError:
        return PeerProtocolError(f"{self.peer} sent {what}", peer=self.peer)
