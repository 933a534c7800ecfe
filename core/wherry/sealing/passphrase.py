"""Passphrases: where they come from, and what they lock (specs/0021 §4).

One never comes from an argument or the value of a variable, which other processes can see: only from a terminal, a file, or
a descriptor. What it locks costs as much to try as Argon2id is told to spend, so that a stolen file is not soon guessed.
"""

from __future__ import annotations

import os
import secrets
import stat
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import DecodeError, KeyProblem, LimitExceeded, local_error
from wherry.limits import ARGON2_BYTES_MAX, ARGON2_OPS_MAX, PASSPHRASE_BYTES_MAX
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.dagcbor import Value

Ask = Callable[[str], bytes | None]  # takes what is to be unlocked, such as "key alice"; gives a passphrase, or None

VARIABLE: Final = "WHERRY_PASSPHRASE_FILE"
_ALGORITHM: Final = "argon2id"  # version 1.3, one lane (RFC 9106; libsodium's crypto_pwhash)
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 24
_TAG_BYTES: Final = 16
_KEY_BYTES: Final = 32
_MEMORY_MIN: Final = 8192  # libsodium's
_FIELDS: Final = {"alg", "ops", "memory", "salt", "box"}


class Cost(NamedTuple):
    """What one try of a passphrase takes: passes over ``memory`` bytes."""

    ops: int
    memory: int


# What OWASP asks of Argon2id is 46 MiB and one pass (Password Storage Cheat Sheet, 2023); four passes are half of what
# libsodium calls moderate, and the process stays within its 100 MB, which libsodium's 256 MiB would not.
MODERATE: Final = Cost(4, 48 * MiB)


class Locked(NamedTuple):
    """Secret bytes under a passphrase."""

    cost: Cost
    salt: bytes
    box: bytes

    def value(self) -> dict[str, object]:
        """Its form in DAG-CBOR."""
        return {"alg": _ALGORITHM, "ops": self.cost.ops, "memory": self.cost.memory, "salt": self.salt, "box": self.box}

    @classmethod
    def read(cls, value: Value) -> Locked:
        """Reads `value`, from anywhere. Raises DecodeError; LimitExceeded if a try would cost more than is ever spent."""
        if not isinstance(value, dict) or value.keys() != _FIELDS or value["alg"] != _ALGORITHM:
            raise DecodeError("key file: locked in a way that is not known", hint="a newer wherry may read it")
        ops, memory, salt, box = value["ops"], value["memory"], value["salt"], value["box"]
        if type(ops) is not int or type(memory) is not int or ops < 1 or memory < _MEMORY_MIN:
            raise DecodeError("key file: the cost of its lock is malformed")
        if ops > ARGON2_OPS_MAX or memory > ARGON2_BYTES_MAX:
            raise LimitExceeded(f"key file: its lock asks for {ops} passes over {memory} bytes, more than wherry spends")
        if type(salt) is not bytes or type(box) is not bytes or len(salt) != _SALT_BYTES:
            raise DecodeError("key file: its lock is malformed")
        if len(box) < _NONCE_BYTES + _TAG_BYTES:
            raise DecodeError("key file: its lock is malformed")
        return cls(Cost(ops, memory), salt, box)


def lock(data: bytes, passphrase: bytes, cost: Cost = MODERATE) -> Locked:
    """Locks ``data``: Argon2id gives the key of a secret box (XSalsa20-Poly1305). Lets go of the interpreter lock."""
    from nacl.bindings import crypto_secretbox

    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    return Locked(cost, salt, nonce + crypto_secretbox(data, nonce, _stretched(passphrase, salt, cost)))


def unlock(locked: Locked, passphrase: bytes) -> bytes:
    """Gives what was locked. Raises KeyProblem, always in the same words."""
    from nacl.bindings import crypto_secretbox_open
    from nacl.exceptions import CryptoError

    key = _stretched(passphrase, locked.salt, locked.cost)
    try:
        return crypto_secretbox_open(locked.box[_NONCE_BYTES:], locked.box[:_NONCE_BYTES], key)
    except CryptoError:
        raise wrong() from None


def wrong() -> KeyProblem:
    """The one error for a passphrase that is wrong and for a lock that was changed: neither can be told from the other."""
    return KeyProblem("the passphrase does not unlock this key", hint="try again, or import the key from its export")


def _stretched(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    from nacl import bindings
    from nacl.exceptions import RuntimeError as LibraryError

    try:
        return bindings.crypto_pwhash_alg(
            _KEY_BYTES, passphrase, salt, cost.ops, cost.memory, bindings.crypto_pwhash_ALG_ARGON2ID13
        )
    except (LibraryError, MemoryError):
        raise KeyProblem(f"unlocking a key takes {cost.memory >> 20} MiB of memory, which this machine does not give") from None


# Where passphrases come from


def asker(
    environ: Mapping[str, str], *, file: str | None = None, fd: int | None = None, terminal: bool = False, again: bool = False
) -> Ask:
    """Gives a way to ask: ``file``, else ``fd``, else the file that the environment names, else ``terminal``, if there is one.

    What comes from a file or a descriptor is read when it is first asked for, once. A terminal is asked on the thread that
    calls, so that Ctrl-C ends it on the main one; twice with ``again``, for a passphrase that is new.
    """
    path = file or (environ.get(VARIABLE) if fd is None else None)
    kept: list[bytes] = []

    def ask(what: str) -> bytes | None:
        if path is None and fd is None:
            return from_terminal(f"Passphrase of {what}: ", again="The same again: " if again else "") if terminal else None
        if not kept:
            kept.append(from_file(path) if path is not None else from_fd(fd if fd is not None else -1))
        return kept[0]

    return ask


def from_file(path: str) -> bytes:
    """Reads a file's only line. Raises KeyProblem if others may read or write a file of ours, or for no passphrase."""
    try:
        opened = os.open(os.path.expanduser(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise local_error(problem, "read the passphrase in", path) from problem
    try:
        found = os.fstat(opened)
        # One that is not ours was put there by who runs this machine, such as a secret of a container; and is no pipe.
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
            raise KeyProblem(f"passphrase file {path!r} is open to other users", hint=f"chmod 600 {path}")
        return _line(opened, repr(path))
    finally:
        os.close(opened)


def from_fd(fd: int) -> bytes:
    """Reads the only line that comes from a descriptor, to its end; leaves it open. Raises KeyProblem, LocalError."""
    return _line(fd, f"descriptor {fd}")


def from_terminal(prompt: str, *, again: str = "") -> bytes | None:
    """Asks whoever sits at the terminal, unseen; with ``again`` twice. None without a terminal.

    Raises KeyProblem for an empty passphrase, or two that differ.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return None
    import getpass

    first = _passphrase(getpass.getpass(prompt).encode("utf-8", "surrogateescape"), "the terminal")
    if again and _passphrase(getpass.getpass(again).encode("utf-8", "surrogateescape"), "the terminal") != first:
        raise KeyProblem("the two passphrases are not the same", hint="try again")
    return first


def _line(fd: int, where: str) -> bytes:
    data = b""
    try:
        while len(data) <= PASSPHRASE_BYTES_MAX + 2:
            piece = os.read(fd, PASSPHRASE_BYTES_MAX + 3 - len(data))
            if not piece:
                break
            data += piece
    except OSError as problem:
        raise local_error(problem, "read the passphrase in", where) from problem
    return _passphrase(data.removesuffix(b"\n").removesuffix(b"\r"), where)


def _passphrase(data: bytes, where: str) -> bytes:
    """Gives a passphrase in its one form, so that the same letters unlock however a keyboard or an editor composes them."""
    if not data:
        raise KeyProblem(f"there is no passphrase in {where}", hint="a passphrase is one line of text")
    if len(data) > PASSPHRASE_BYTES_MAX:
        raise KeyProblem(f"the passphrase in {where} has more than {PASSPHRASE_BYTES_MAX} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise KeyProblem(f"the passphrase in {where} is not UTF-8") from None
    if any(character in text for character in "\r\n\0"):
        raise KeyProblem(f"the passphrase in {where} has more than one line")
    return unicodedata.normalize("NFC", text).encode()
