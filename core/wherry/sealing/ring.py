"""The key ring of a home: makes, finds, rotates, exports and imports keys by name (specs/0021 §5-6)."""

from __future__ import annotations

import hashlib
import logging
import time
from typing import TYPE_CHECKING, Final, Literal

from wherry.errors import DecodeError, KeyProblem, UsageError, WherryError
from wherry.results import KeyReport
from wherry.sealing.folder import KeyFolder
from wherry.sealing.identity import PREFIX, Identity, Recipient
from wherry.sealing.keyfile import DomainKey, Key, KeyFile, unwrapped
from wherry.sealing.passphrase import MODERATE, Cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wherry.sealing.passphrase import Ask

_log: Final = logging.getLogger(__name__)


class KeyRing:
    """The keys of a home. Every method reads the files anew, but asks for a passphrase once. Blocks: for a thread."""

    def __init__(
        self, home: Path, ask: Ask | None = None, note: Callable[[str], None] | None = None, *, cost: Cost = MODERATE
    ) -> None:
        """``ask`` is asked for the passphrases of locked keys; ``note`` is told which keys were not tried, and why.

        ``cost`` is what a try of a passphrase is to take, in what this ring locks.
        """
        self._folder = KeyFolder(home / "keys")
        self._ask = ask
        self._note = note or _log.warning
        self._cost = cost
        self._unlocked: dict[bytes, KeyFile] = {}  # by the hash of the file that was unlocked

    # Finding

    def list(self) -> list[KeyReport]:
        """Describes every key, without its passphrase; also those whose files are damaged or open to others."""
        found = []
        for name in self._folder.names():
            try:
                found.append(_report(name, KeyFile.decode(self._folder.read(name))))
            except WherryError as problem:
                found.append(KeyReport(name=name, kind="unknown", made=None, locked=False, problem=problem.message))
        return found

    def describe(self, name: str) -> KeyReport:
        """Describes one key, without its passphrase. Raises NotFound, KeyProblem, DataError."""
        return _report(name, self._read(name)[1])

    def get(self, name: str) -> Key:
        """Gives a key; asks for its passphrase if it is locked. Raises NotFound, KeyProblem, DataError."""
        data, file = self._read(name)
        return self._open(name, data, file).key(name)

    def unlock(self, name: str, passphrase: bytes) -> None:
        """Unlocks a key for as long as this ring lives; a key that is not locked stays as it is. Raises as `get`."""
        data, file = self._read(name)
        if file.locked is not None:
            self._unlocked[_hash(data)] = file.unlock(passphrase)

    def domain(self, name: str) -> DomainKey:
        """Gives the key of a domain. Raises as `get`, and KeyProblem for a key of another kind."""
        key = self.get(name)
        if not isinstance(key, DomainKey):
            raise KeyProblem(f"key {name!r} is no key of a domain", hint="`wherry keys list` tells which are")
        return key

    def identity(self, name: str) -> Identity:
        """Gives an identity. Raises as `get`, and KeyProblem for a key of another kind."""
        key = self.get(name)
        if not isinstance(key, Identity):
            raise KeyProblem(f"key {name!r} is no identity", hint="`wherry keys list` tells which are")
        return key

    def recipient(self, text: str) -> Recipient:
        """Gives whom ``text`` means: a recipient's text, or the name of a recipient or an identity here; no passphrase."""
        if text.startswith(PREFIX):
            return Recipient.parse(text)
        _, file = self._read(text)
        if file.recipient is None:
            raise KeyProblem(f"key {text!r} is of a domain, and nobody's", hint="name a recipient or an identity")
        return file.recipient

    def domains(self, *, locked: bool = True) -> Iterator[DomainKey]:
        """Gives the keys of all domains, one after the other: first those that need no passphrase, and only these if told."""
        for key in self._each("domain", locked=locked):
            if isinstance(key, DomainKey):
                yield key

    def identities(self, *, locked: bool = True) -> Iterator[Identity]:
        """Gives all identities, one after the other: first those that need no passphrase, and only these if told."""
        for key in self._each("identity", locked=locked):
            if isinstance(key, Identity):
                yield key

    def _each(self, kind: Literal["domain", "identity"], *, locked: bool) -> Iterator[Key]:
        later = []
        for name in self._folder.names():
            try:
                data, file = self._read(name)
                if file.kind != kind:
                    continue
                if file.locked is not None and _hash(data) not in self._unlocked:
                    later.append((name, data, file))
                    continue
                key = self._open(name, data, file).key(name)
            except WherryError as problem:
                self._note(f"key {name!r} was not tried: {problem.message}")
                continue
            yield key
        for name, data, file in later if locked else ():
            try:
                key = self._open(name, data, file).key(name)
            except WherryError as problem:
                self._note(f"key {name!r} was not tried: {problem.message}")
                continue
            yield key

    def _read(self, name: str) -> tuple[bytes, KeyFile]:
        data = self._folder.read(name)
        try:
            return data, KeyFile.decode(data)
        except DecodeError as problem:
            raise DecodeError(f"key {name!r}: {problem.message}", hint="import it again from its export") from problem

    def _open(self, name: str, data: bytes, file: KeyFile) -> KeyFile:
        if file.locked is None:
            return file
        known = self._unlocked.get(_hash(data))
        if known is None:
            known = self._unlocked[_hash(data)] = file.unlock(self._asked(f"key {name!r}"))
        return known

    def _asked(self, what: str) -> bytes:
        passphrase = self._ask(what) if self._ask is not None else None
        if passphrase is None:
            raise KeyProblem(
                f"{what} is locked, and nobody is here to give its passphrase",
                hint="put it into a file of mode 600, and WHERRY_PASSPHRASE_FILE=FILE into the environment",
            )
        return passphrase

    # Changing

    def new(
        self, name: str, kind: Literal["domain", "identity"] = "domain", passphrase: bytes | None = None
    ) -> DomainKey | Identity:
        """Makes a key; locked, if there is a passphrase. Raises KeyProblem if the name is taken, UsageError, LocalError."""
        now = int(time.time())
        key = DomainKey.make(name, now) if kind == "domain" else Identity.make()
        self._folder.swap(name, None, self._lock(KeyFile.of(key, now), passphrase).encode())
        return key

    def rotate(self, name: str, passphrase: bytes | None = None) -> DomainKey:
        """Gives a domain a new wrapping key before its others, all of which stay; under the passphrase that it had.

        A locked one is unlocked by ``passphrase`` or by asking. A crash leaves the old file or the new one. Raises KeyProblem
        if another process changed it meanwhile.
        """
        data, file = self._read(name)
        if file.kind != "domain":
            raise UsageError(f"key {name!r} is a person's, and not rotated", hint="make another with `wherry keys new`")
        if file.locked is None:
            passphrase = None
        elif passphrase is None:
            passphrase = self._asked(f"key {name!r}")
        key = (file if passphrase is None else file.unlock(passphrase)).key(name)
        if not isinstance(key, DomainKey):  # for the type: the kind was looked at above
            raise KeyProblem(f"key {name!r} is no key of a domain")
        key = key.rotated(int(time.time()))
        fresh = KeyFile.of(key, file.made)
        text = self._lock(fresh, passphrase).encode()
        self._folder.swap(name, data, text)
        self._unlocked[_hash(text)] = fresh  # whoever rotates goes on to use it
        return key

    def export(self, name: str, passphrase: bytes | None = None, *, plain: bool = False) -> bytes:
        """Gives a key as armored text, locked by ``passphrase``; ``plain``: not locked.

        Without a passphrase a locked key is given as it is. Raises UsageError if what is secret would be given unlocked.
        """
        data, file = self._read(name)
        if file.kind == "recipient" or (file.locked is not None and passphrase is None and not plain):
            return data
        if passphrase is None and not plain:
            raise UsageError(f"key {name!r} has no passphrase, so its export needs one", hint="give one, or say --plain")
        file = self._open(name, data, file)
        return (file if passphrase is None else file.lock(passphrase, self._cost)).encode()

    def import_(self, data: bytes, name: str, passphrase: bytes | None = None) -> KeyReport:
        """Takes in an export, under the passphrase that it has, or the text of a recipient.

        A locked one is unlocked once, by ``passphrase`` or by asking, to see that it can be. Raises KeyProblem, DataError.
        """
        text = unwrapped(data)
        if text.startswith(PREFIX.encode()):
            file = KeyFile.of(Recipient.parse(text.decode("ascii", "replace").rstrip("\n")), int(time.time()))
        else:
            file = KeyFile.decode(text)
            if file.locked is not None:
                file.unlock(passphrase if passphrase is not None else self._asked("the key to import")).key(name)
        self._folder.swap(name, None, file.encode())
        return _report(name, file)

    def delete(self, name: str) -> None:
        """Deletes a key, also one whose file is damaged. What only it opens stays closed for ever. Raises NotFound."""
        self._folder.swap(name, self._folder.read(name), None)

    def _lock(self, file: KeyFile, passphrase: bytes | None) -> KeyFile:
        return file if passphrase is None else file.lock(passphrase, self._cost)


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _report(name: str, file: KeyFile) -> KeyReport:
    person = file.recipient
    return KeyReport(
        name=name, kind=file.kind, made=file.made, locked=file.locked is not None,
        recipient=str(person) if person is not None else None,
        fingerprint=person.fingerprint if person is not None else None,
        generations=[ident.hex() for ident, _ in file.generations],
    )  # fmt: skip
