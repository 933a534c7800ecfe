"""Asks for the records of names, and hands them over: every answer is verified, and the best kept before it is used.

What this stands on is in specs/0034 §5.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.naming import SupportsNames, SupportsPeers, SupportsRecords
from wherry.address import split_address
from wherry.errors import DataError, IntegrityError, NotFound, PeerError, UsageError, WherryError
from wherry.ipns.name import Name, split
from wherry.ipns.record import ForeignKey, Record, read
from wherry.limits import LOCATE_S, NAME_HOPS_MAX
from wherry.observe import Note
from wherry.offload import in_thread
from wherry.redaction import masked
from wherry.store.names import NameBook

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from wherry.observe import Observe
    from wherry.session.parts import Parts

_SILENT_S: Final = 2.0  # then it is said whose answer is waited for


class Answers(NamedTuple):
    """What was said of a name."""

    gave: list[str]  # who gave a record that is right
    warnings: list[str]  # who failed, lied or is behind
    hints: list[str]  # where no record will be taken, whoever gives it: what to do instead
    asked: int = 0  # how many were asked


async def led(parts: Parts, what: str, sources: Sequence[str], observe: Observe | None = None) -> str:
    """Follows NAME[/PATH], and names that it leads to, up to content; gives /ipfs/CID[/PATH].

    ``observe`` is told who failed, lied or is behind, and for whom is waited.
    Raises NotFound, DataError for a name that is over or leads round in circles, IntegrityError for one that leads two ways.
    """
    seen: set[Name] = set()
    tail = ""
    while (found := split(what)) is not None:
        name, path = found
        if name in seen or len(seen) == NAME_HOPS_MAX:
            raise DataError(f"{name} leads to names and never to content", hint="its owner has to publish a CID")
        seen.add(name)
        tail = f"{path}/{tail}".strip("/")
        record, answers = await resolved(parts, name, sources, observe)
        if observe is not None:
            for text in answers.warnings:
                observe(Note("warning", text))
        what = record.value
    return f"{what}/{tail}" if tail else what


async def resolved(parts: Parts, name: Name, sources: Sequence[str], observe: Observe | None = None) -> tuple[Record, Answers]:
    """Asks for a name, and gives the best record, which is on disk by then. Raises as `led`."""
    answers = await ask(parts, name, sources, observe)
    book = NameBook(parts._store.state)
    now = parts._clock()
    known = await in_thread(lambda: book.known(name))
    if known is None:
        why = "; ".join(answers.warnings) or ("who was asked has none" if answers.asked else "nobody who could know was asked")
        hint = "name a gateway, a tracker or a peer: --from http://HOST:PORT, or [locator.tracker] urls"
        if answers.asked:
            hint = "ask others (--from http://HOST:PORT), or its owner to publish it again"
        if answers.hints:
            hint = answers.hints[0]
        raise NotFound(f"no record of {name} was found: {why}", hint=hint)
    record = known.record
    if stale := await in_thread(lambda: book.freshness(name, now)):
        if record.expired(now):
            raise DataError(stale, hint="ask others (--from), or its owner to publish it again")
        answers.warnings.append(stale)
    if await in_thread(lambda: book.equivocated(name, record.sequence)):
        raise disputed(record)
    return record, answers


def disputed(record: Record) -> IntegrityError:
    """Makes the error of a name that says two things under one number."""
    return IntegrityError(
        f"two different records of {record.name} are signed with number {record.sequence}: its key says two things",
        hint="`wherry name log NAME` shows both; it is over when a record with a higher number is published",
    )


async def ask(parts: Parts, name: Name, sources: Sequence[str], observe: Observe | None = None) -> Answers:
    """Asks the sources, or else the locators, all at once; takes in what is right. Raises UsageError for a bad address.

    ``observe`` is told if that takes a while.
    """
    if sources:
        asked = [(address, _source(parts, address, name)) for address in parts._addresses(sources, None)]
    else:
        asked = _locators(parts, name)
    answers = Answers([], [], [], len(asked))
    waited = [label for label, _ in asked]  # for, by what they are called

    async def one(label: str, records: AsyncGenerator[tuple[str, bytes], None]) -> None:
        try:
            async with asyncio.timeout(LOCATE_S), aclosing(records):
                async for who, binary in records:
                    await _take(parts, name, who, binary, answers)
        except PeerError as problem:
            answers.warnings.append(problem.message)
        except TimeoutError:
            answers.warnings.append(f"{label} took more than {LOCATE_S:g} s")
        finally:
            waited.remove(label)

    async def tell() -> None:
        await asyncio.sleep(_SILENT_S)
        if observe is None or not waited:
            return
        late = f"{len(waited)} sources have" if len(waited) > 1 else f"{waited[0]} has"
        words = f"{late} not said yet where {name} leads; waiting for up to {LOCATE_S:g} s"
        observe(Note("info", words))

    telling = asyncio.create_task(tell())
    try:
        for problem in await asyncio.gather(*(one(*each) for each in asked), return_exceptions=True):  # nobody is left asking
            if problem is not None:
                raise problem
    finally:
        telling.cancel()
    return answers


async def _take(parts: Parts, name: Name, who: str, binary: bytes, answers: Answers) -> None:
    book, now = NameBook(parts._store.state), parts._clock()
    try:
        record = read(binary, name, now)
    except DataError as problem:
        answers.warnings.append(f"{who}: {problem.message}")
        if isinstance(problem, ForeignKey) and problem.hint:
            answers.hints.append(problem.hint)
        return
    verdict = await in_thread(lambda: book.take(record, now))
    if verdict == "rollback":
        answers.warnings.append(f"{who} gave an older record of {name}, with number {record.sequence}: it was not used")
    elif verdict == "equivocation":
        answers.warnings.append(f"{who} gave another record of {name} with number {record.sequence}: {record.value}")
    else:
        answers.gave.append(who)


async def _source(parts: Parts, address: str, name: Name) -> AsyncGenerator[tuple[str, bytes], None]:
    transport = parts._wiring.transport(address)
    if not isinstance(transport, SupportsRecords):
        raise PeerError(f"{masked(address)} is of a transport that carries no records of names", peer=address)
    record = await transport.name_record(split_address(address)[1], str(name))
    if record is None:
        raise PeerError(f"{masked(address)} has no record of {name}", peer=address)
    yield address, record


def _locators(parts: Parts, name: Name) -> list[tuple[str, AsyncGenerator[tuple[str, bytes], None]]]:
    """Asks locators that carry names, and peers that the user wrote down whose transports do; each with what it is called."""
    asked, peers = [], dict[str, None]()
    for label, its in parts._wiring.locators():
        if isinstance(its, SupportsNames):
            asked.append((f"the locator {label}", its.name_records(str(name))))
        if isinstance(its, SupportsPeers):
            peers.update(dict.fromkeys(its.peers()))
    asked += [(address, _source(parts, address, name)) for address in peers if _carries(parts, address)]
    return asked


def _carries(parts: Parts, address: str) -> bool:
    try:
        return isinstance(parts._wiring.transport(address), SupportsRecords)
    except UsageError:  # no transport in use speaks it
        return False


async def hand_over(parts: Parts, record: Record) -> Answers:
    """Gives a record to all that carry them; says who took it."""
    told = Answers([], [], [])
    for label, locator in parts._wiring.locators():
        if not isinstance(locator, SupportsNames):
            continue
        try:
            told.gave.extend(await locator.put_record(str(record.name), record.binary))
        except WherryError as problem:
            told.warnings.append(f"{label}: {problem.message}")
    return told
