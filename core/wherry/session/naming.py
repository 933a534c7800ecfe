"""The verbs of names: what leads to content that changes (specs/0034)."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from wherry.errors import (
    BlockNotFound,
    CIDError,
    IntegrityError,
    NotFound,
    TargetChanged,
    TargetExists,
    UsageError,
    WherryError,
)
from wherry.offload import in_thread
from wherry.results import FollowResult, NameEventReport, NameReport
from wherry.session import versions
from wherry.session.parts import Parts, absolute
from wherry.session.telling import told, told_pieces

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from wherry.cid import CID
    from wherry.ipns.name import Name
    from wherry.ipns.record import Record
    from wherry.observe import Observe
    from wherry.publiccid import PublicCID
    from wherry.store.namekeys import NameKeys
    from wherry.store.names import Known, NameBook
    from wherry.transfer.select import Links, Names

LIFETIME_S = 48 * 3600.0  # what the public network keeps a record for
TTL_S = 300.0
WRONG_CLOCK = "published while the clock was wrong: publish it again when it is right"


class Naming(Parts):
    """Publish, resolve, follow and the rest."""

    @told
    async def publish_name(
        self,
        what: str | CID,
        *,
        key: str = "self",
        lifetime_s: float = LIFETIME_S,
        ttl_s: float | None = None,
        force: bool = False,
        renew: bool = True,
    ) -> NameReport:
        """Lets the name of ``key`` (made when first used) lead to CID[/PATH] or to another name; hands the record over.

        ``ttl_s``: how long others may keep the record unasked, in seconds; None: 300, or as long as it is valid.
        Its sequence number is on disk first. While a node of this home serves it renews the record, unless ``renew`` is false.
        Raises NotFound if the dataset is here and has no such PATH, and IntegrityError if the newest record of this key that is
        known was not published by this home, unless ``force``: then the new one goes above it.
        """
        self._home.must_be_writable()
        from wherry.ipns.name import Name
        from wherry.session.names import hand_over

        value = _value(str(what))
        if ttl_s is None:
            ttl_s = min(TTL_S, lifetime_s)
        if lifetime_s == 0:
            raise UsageError("--lifetime and --ttl: a record is valid for some time", hint="such as --lifetime 48h --ttl 5m")
        if ttl_s > lifetime_s:
            raise UsageError("--ttl: others may not keep a record for longer than it is valid", hint="no more than --lifetime")
        warnings = await self._check_leads(value)
        if lifetime_s > LIFETIME_S:
            unless = ", unless `wherry serve` or `wherry up` hands its record over again" if renew else ""
            warnings.append(
                f"the public network keeps no record for longer than {LIFETIME_S / 3600:g} h: "
                f"after that the name leads nowhere there{unless}"
            )
        signer = await in_thread(lambda: self._name_keys.get_or_make(key))
        name = Name.of(signer.public)
        if value.removeprefix("/ipns/").partition("/")[0] == str(name):
            raise UsageError(f"{name} would lead to itself", hint="publish a CID, or with another --key")
        warnings += await self._check_own(name, force=force)
        record = await in_thread(
            lambda: self._names.publish(signer, key, value, self._clock(), lifetime_s=lifetime_s, ttl_s=ttl_s, renew=renew)
        )
        given = await hand_over(self, record)
        known = await in_thread(lambda: self._names.known(name))
        return report(known, record, given.gave, warnings + given.warnings)

    async def _check_leads(self, value: str) -> list[str]:
        """Looks whether a dataset has the path that a name is to lead to, where that can be told from what is here.

        Gives a warning where the CID itself is not here. Raises NotFound if the dataset has no such path.
        """
        from wherry.publiccid import parse_path
        from wherry.transfer.tree import Nodes

        public, path = parse_path(value.removeprefix("/ipfs/")) if value.startswith("/ipfs/") else (None, "")
        if public is None:
            return []
        if not await in_thread(lambda: self._is_here(public)):
            return [f"{public} is not in this home: whoever follows the name has to get it from others"]
        if not path:
            return []
        nodes = Nodes(self._store, None)
        try:
            await nodes.find((await nodes.root(public.block())).entry, path)
        except NotFound as problem:
            if not isinstance(problem, BlockNotFound):
                raise
        except WherryError:
            pass  # no dataset, or none that is open here: nothing is known of it
        return []

    def _is_here(self, cid: PublicCID) -> bool:
        """Tells whether the block that a CID names is in the CID itself or in this home. Raises StoreError."""
        if cid.inline is not None:
            return True
        try:
            block = cid.block()
        except CIDError:  # of a hash that is not kept here
            return False
        return self._store.find([block])[0] is not None

    async def _check_own(self, name: Name, *, force: bool) -> list[str]:
        """Looks whether the newest record of this key is from here. Raises IntegrityError if it is not, unless ``force``.

        That it was met before, be it by an attempt that was refused, makes it no record of this home's.
        """
        from wherry.session.names import ask

        answers = await ask(self, name, ())
        newest = await in_thread(lambda: self._names.known(name))
        if newest is None or force:
            return [text for text in answers.warnings if "number" in text]
        ours = await in_thread(lambda: self._names.published_here(newest.record))
        if not ours or await in_thread(lambda: self._names.equivocated(name, newest.record.sequence)):
            raise IntegrityError(
                f"{name} was published elsewhere, with number {newest.record.sequence}: {newest.record.value}",
                hint="does another machine have this key, or is this home an old copy? --force publishes above it",
            )
        return [text for text in answers.warnings if "number" in text]

    @told
    async def resolve_name(self, name: str, *, sources: Sequence[str] = (), observe: Observe | None = None) -> NameReport:
        """Asks where a name leads, one step. Raises NotFound, DataError for one that is over, IntegrityError for one that leads
        two ways.
        """
        from wherry.session.names import resolved

        found = _parsed(name)
        record, answers = await resolved(self, found, sources, observe)
        known = await in_thread(lambda: self._names.known(found))
        return report(known, record, answers.gave, answers.warnings)

    @told
    async def import_record(self, name: str, record: bytes) -> NameReport:
        """Takes in a record from elsewhere, if it is right and no older than what is known.

        Raises DataError, and IntegrityError for one that is older, or of a name that says two things under its number.
        """
        self._home.must_be_writable()
        from wherry.ipns.record import read
        from wherry.session.names import disputed

        found = read(record, _parsed(name), self._clock())
        verdict = await in_thread(lambda: self._names.take(found, self._clock()))
        if verdict == "rollback":
            raise IntegrityError(
                f"this record of {found.name} has number {found.sequence}, and a higher one is known: it was not taken",
                hint="see `wherry name log NAME`",
            )
        if verdict == "equivocation" or await in_thread(lambda: self._names.equivocated(found.name, found.sequence)):
            raise disputed(found)
        known = await in_thread(lambda: self._names.known(found.name))
        return report(known, found, [], [])

    async def names(self) -> list[NameReport]:
        """Lists the names that this home publishes or has met; ``warnings`` has "over" and "disputed" of those that are.

        And WRONG_CLOCK, of those whose record is valid until long after it should be.
        """
        now = self._clock()

        def listed() -> list[NameReport]:
            book = self._names
            return [report(one, one.record, [], _flaws(book, one, now)) for one in book.all()]

        return await in_thread(listed)

    async def name_log(self, name: str) -> list[NameEventReport]:
        """Lists what happened to a name, the oldest first."""
        found = _parsed(name)
        events = await in_thread(lambda: self._names.events(found))
        return [NameEventReport(at=one.at, kind=one.kind, sequence=one.sequence, said=one.said) for one in events]

    @told_pieces
    async def follow_name(
        self,
        name: str,
        *,
        link: str | None = None,
        sources: Sequence[str] = (),
        once: bool = False,
        every_s: float = 60.0,
        names: Names | None = None,
        links: Links | None = None,
        keep: int | None = None,
        force: bool = False,
        observe: Observe | None = None,
    ) -> AsyncGenerator[FollowResult, None]:
        """Looks where a name leads, again and again, and gives each change; with ``once`` the first look alone.

        With ``link``, a new version is got whole and verified into ``LINK.versions/CID``, and only then does the symbolic
        link lead to it, by one rename; a link that leads to no version of its own is replaced with ``force`` alone. Then older
        versions that this home got go, but for ``keep``, the newest one counted; None: all stay. ``names`` and ``links``: as
        `get` has them. What fails, and a look at which nobody gave the record, is tried again, ever later up to ten times
        ``every_s``; with ``once`` it is raised. What is wrong is a Note when it begins, and a warning of a change.
        """
        self._home.must_be_writable()
        if keep is not None and keep < 1:
            raise UsageError("--keep: the version that the link leads to stays", hint="give 1 or more")
        if every_s == 0:
            raise UsageError("--every: there is some time between two looks", hint="such as --every 60s")
        get = partial(self._session_get, names=names, links=links, observe=observe)
        last: tuple[str, int] | None = None
        failures = 0
        noted: list[str] = []
        while True:
            wrong: list[str] = []
            try:
                result, gave = await self._follow_step(name, link, sources, get, keep=keep, force=force)
                failures = 0 if gave or not result.warnings else failures + 1
                if last != (result.value, result.sequence) or once or result.removed:
                    last = (result.value, result.sequence)
                    noted = result.warnings
                    yield result
                wrong = result.warnings
            except (TargetExists, UsageError):
                raise
            except WherryError as problem:
                if once:
                    raise
                failures += 1
                wrong = [f"{problem.message}{f' ({problem.hint})' if problem.hint else ''}; it is tried again"]
            if once:
                return
            for text in wrong:
                if text not in noted:
                    self._note(observe, text)
            noted = wrong
            await self._sleep(every_s * min(10, 2 ** min(failures, 4)))

    async def _follow_step(
        self, name: str, link: str | None, sources: Sequence[str], get: Callable[[str, Sequence[str], str], Awaitable[None]],
        *, keep: int | None, force: bool,
    ) -> tuple[FollowResult, list[str]]:  # fmt: skip
        """Looks once; gives what it did, and who gave the record."""
        from wherry.session.names import led, resolved

        record, answers = await resolved(self, _parsed(name), sources)
        path, changed, target = None, False, absolute(link) if link is not None else None
        removed: list[str] = []
        problems: list[str] = []
        if target is not None:
            await in_thread(lambda: versions.check_link(target, force=force))
            where = await led(self, record.value, sources)
            asked = self._parse(where)
            path = os.path.join(versions.folder_of(target), versions.version_name(str(asked.cid), asked.path))
            try:
                await get(where, sources, path)
            except (TargetExists, TargetChanged) as problem:  # the folder is wherry's own: --force is about the link
                hint = f"remove {path!r}, and follow again: this version is got anew"
                raise type(problem)(problem.message, hint=hint) from problem
            changed = await in_thread(lambda: versions.swap(target, path or "", force=force))
            removed, problems = await in_thread(lambda: versions.prune(target, keep, self._store.state))
        result = FollowResult(
            name=str(record.name), value=record.value, sequence=record.sequence, path=path, link=target, changed=changed,
            warnings=answers.warnings + problems, removed=removed,
        )  # fmt: skip
        return result, answers.gave

    async def _session_get(
        self, what: str, sources: Sequence[str], path: str, *,
        names: Names | None, links: Links | None, observe: Observe | None,
    ) -> None:  # fmt: skip
        from wherry.session.getting import Getting

        if not isinstance(self, Getting):
            raise UsageError("this session cannot get")
        await self.get(what, sources=sources, output=path, names=names, links=links, observe=observe)

    def _note(self, observe: Observe | None, text: str) -> None:
        from wherry.observe import Note

        if observe is not None:
            observe(Note("warning", text))

    @property
    def _names(self) -> NameBook:
        from wherry.store.names import NameBook

        return NameBook(self._store.state)

    @property
    def _name_keys(self) -> NameKeys:
        from wherry.store.namekeys import NameKeys

        return NameKeys(self.home)


def _parsed(text: str) -> Name:
    from wherry.ipns.name import split

    found = split(text)
    if found is None or found[1]:
        raise UsageError(f"{text[:80]!a} is no name", hint="a name looks like k51... or 12D3Koo..., and has no path here")
    return found[0]


def _value(what: str) -> str:
    from wherry.ipns.name import split
    from wherry.publiccid import parse_path

    found = split(what)
    if found is not None:
        _check_parts(found[1])
        return f"/ipns/{found[0]}" + (f"/{found[1]}" if found[1] else "")
    cid, path = parse_path(what)
    _check_parts(path)
    return f"/ipfs/{cid}" + (f"/{path}" if path else "")


def _check_parts(path: str) -> None:
    if any(part in (".", "..") or "\0" in part for part in path.split("/")):
        raise UsageError(f"{path[:80]!a} is no path in a dataset, so a name cannot lead there")


def _flaws(book: NameBook, known: Known, now: float) -> list[str]:
    """Says in a word each why a name leads nowhere now, and what else is wrong with its record."""
    record = known.record
    over, twice = record.expired(now), book.equivocated(record.name, record.sequence)
    return ["over"] * over + ["disputed"] * twice + [WRONG_CLOCK] * known.too_long(now)


def report(known: Known | None, record: Record, gave: list[str], warnings: list[str]) -> NameReport:
    """Puts a record and what this home knows of its name together."""
    from wherry.ipns.record import written

    renew_at = known.renew_at if known is not None else None
    return NameReport(
        name=str(record.name), value=record.value, sequence=record.sequence, until=written(record.until_ns),
        ttl=record.ttl_ns / 1e9, key=known.key if known is not None else "",
        renews=written(int(renew_at * 1e9)) if renew_at is not None else None, told=gave, warnings=warnings,
    )  # fmt: skip
