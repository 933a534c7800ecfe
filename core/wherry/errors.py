"""Every error that wherry raises on purpose.

    WherryError                      exit code
     ├ UsageError                        2   the call makes no sense as it stands
     ├ ConfigError                       3   configuration: file, key, problem, near miss
     ├ PluginError                       4
     │  ├ PluginNotFound                     no plugin of that kind and name
     │  ├ PluginBroken                       it is installed and does not load
     │  └ PluginContractError                it loads and breaks its contract
     ├ DataError                         5   bytes or text that are not what they claim to be
     │  ├ CIDError                           malformed or unsupported CID
     │  ├ DecodeError                        malformed or non-canonical block
     │  ├ IntegrityError                     bytes that do not match their CID, sizes that lie
     │  │  └ Misjudged                       a block of another size or form than its surroundings hint at
     │  ├ LimitExceeded                      more than a documented bound
     │  └ UnsafeName                         a name or link that must not be written
     ├ NotFound                          6   a path, CID or block that nobody here has
     │  └ BlockNotFound
     ├ PeerError                         7   another machine failed us
     │  ├ PeerUnreachable
     │  ├ PeerTimeout
     │  ├ PeerProtocolError
     │  │  ├ WrongLength                     a block of another length than was asked for
     │  │  └ UnaskedBlocks                   other blocks than were asked for
     │  ├ PeerDenied                         it asks for a token, or refuses ours
     │  │  └ DialDenied                      this node's own rules forbid to connect to where it leads
     │  ├ PeerBusy                           it has too much to do; later, perhaps
     │  └ NoSource                           no source gave the data; lists each one's reason
     ├ LocalError                        8   this machine's files
     │  ├ SourceChanged                      a file changed while it was read or served
     │  ├ NoSpace
     │  └ Unwritable
     ├ TargetError                       9   the destination of a get
     │  ├ TargetExists
     │  ├ TargetBusy                         another get writes the same target
     │  └ TargetChanged
     ├ StoreError                       10   wherry's home
     │  ├ HomeBusy                           another process holds it; says who
     │  └ HomeTooNew
     ├ VerifyFailed                     11   `verify` found differences
     └ KeyProblem                       12   encryption keys
        └ NoKey                              a dataset is encrypted, and no key here opens it

Each message says what failed, on what, and what to do next (``hint``). An error of the operating system or of a library
is re-raised as one of these, ``from`` the original, at the border where it is met. ``retry`` says where the same want may
be tried again: ``"same"`` source, ``"other"`` source, or ``"never"``.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Literal

Retry = Literal["same", "other", "never"]


class WherryError(Exception):
    """Any error that wherry raises on purpose."""

    exit_code: ClassVar[int] = 1
    retry: ClassVar[Retry] = "never"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(WherryError):
    """The call makes no sense as it stands."""

    exit_code = 2


class ConfigError(WherryError):
    """One or more things are wrong in the configuration; the message lists them all."""

    exit_code = 3


class PluginError(WherryError):
    """A plugin is absent, does not load, or breaks its contract."""

    exit_code = 4


class PluginNotFound(PluginError):
    """No plugin of that kind and name is installed."""


class PluginBroken(PluginError):
    """The plugin is installed and does not load."""


class PluginContractError(PluginError):
    """The plugin loads and breaks its contract."""


class DataError(WherryError):
    """Bytes or text are not what they claim to be."""

    exit_code = 5
    retry: ClassVar[Retry] = "other"


class CIDError(DataError):
    """A CID is malformed, or of a form that wherry does not take."""


class DecodeError(DataError):
    """A block is malformed or not canonical."""


class IntegrityError(DataError):
    """Bytes do not match their CID, or a manifest lies about a size."""


class Misjudged(IntegrityError):
    """A block is right, and not of the size or form that its surroundings let expect; read again without expectations."""


class LimitExceeded(DataError):
    """Something is larger, deeper or longer than a bound in ``wherry.limits``."""


class UnsafeName(DataError):
    """A name or a link that must not be written to a file system."""


class NotFound(WherryError):
    """A path, CID or name that is not here."""

    exit_code = 6


class BlockNotFound(NotFound):
    """A source does not have the block."""

    retry: ClassVar[Retry] = "other"


class PeerError(WherryError):
    """Another machine failed us; ``peer`` names it."""

    exit_code = 7
    retry: ClassVar[Retry] = "same"

    def __init__(self, message: str, *, peer: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.peer = peer


class PeerUnreachable(PeerError):
    """No connection could be made."""


class PeerTimeout(PeerError):
    """The peer was silent, or slower than the least rate."""


class PeerProtocolError(PeerError):
    """The peer broke the protocol: wrong status, framing, length, or a cut stream."""


class WrongLength(PeerProtocolError):
    """The peer offers ``block``, a CID, in another length than was asked for: it is wrong, or what lists the block is."""

    def __init__(self, message: str, *, peer: str = "", hint: str | None = None, block: object = None) -> None:
        super().__init__(message, peer=peer, hint=hint)
        self.block = block


class UnaskedBlocks(PeerProtocolError):
    """The peer sends blocks that were not asked for instead of those that were: its answers do not verify."""

    retry: ClassVar[Retry] = "other"


class PeerDenied(PeerError):
    """The peer asks for a token, or refuses ours."""

    retry: ClassVar[Retry] = "never"


class DialDenied(PeerDenied):
    """It leads where this node does not connect: inwards by a redirect, to a private address that others named, or a ban."""


class PeerBusy(PeerError):
    """The peer has too much to do; it may be asked again later."""


class NoSource(PeerError):
    """No source gave the data; the message lists each one's reason."""


class LocalError(WherryError):
    """A file of this machine cannot be read or written."""

    exit_code = 8


class SourceChanged(LocalError):
    """A file changed while it was read or served."""


class NoSpace(LocalError):
    """The disk is full, or would be."""


class Unwritable(LocalError):
    """A place cannot be written: permission, read-only file system, I/O error."""


class TargetError(WherryError):
    """The destination of a get is not usable."""

    exit_code = 9


class TargetExists(TargetError):
    """The destination exists and is not this transfer's own."""


class TargetBusy(TargetError):
    """Another get writes the same destination."""


class TargetChanged(TargetError):
    """A finished destination was changed since."""


class StoreError(WherryError):
    """wherry's home is damaged or unusable."""

    exit_code = 10


class HomeBusy(StoreError):
    """Another process holds the home."""


class HomeTooNew(StoreError):
    """The home was written by a newer wherry."""


class VerifyFailed(WherryError):
    """``verify`` or ``repair`` found differences."""

    exit_code = 11


class KeyProblem(WherryError):
    """A key cannot be read, made or used."""

    exit_code = 12


class NoKey(KeyProblem):
    """A dataset is encrypted, and no key of this home opens it."""


_HINTS = {
    errno.EISDIR: "that is a directory: name a file",
    errno.EADDRINUSE: "another process listens there: stop it, or choose another port (0 takes a free one)",
    errno.EADDRNOTAVAIL: "this machine has no such address: listen on one of its own, on 0.0.0.0 or [::]",
    errno.EMFILE: "too many files are open: raise the limit (`ulimit -n`), or do less at a time",
}
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FREE = "free some space (or raise the quota) and run the same command again"
_WRITE_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG})


def local_error(problem: OSError, doing: str, path: str, *, kept: bool = True) -> WherryError:
    """Gives the typed error for an operating-system error met while ``doing`` something to ``path``; raise it ``from`` it.

    ``kept``: what was done before stays, so that the same call goes on from there.
    """
    what = f"{doing} {path!r}: {problem.strerror or problem}"
    if problem.errno in _FULL_ERRNOS:
        return NoSpace(what, hint=_FREE + ("; what is done is kept" if kept else ""))
    if problem.errno == errno.ENOENT:
        return NotFound(what, hint="check the path")
    if problem.errno in _WRITE_ERRNOS:
        return Unwritable(what, hint="check the permissions and the mount of that place")
    return LocalError(what, hint=_HINTS.get(problem.errno or 0))


def output_error(problem: OSError) -> WherryError:
    """Gives the typed error for standard output that cannot be written; raise it ``from`` ``problem``."""
    what = f"writing to standard output: {problem.strerror or problem}"
    if problem.errno in _FULL_ERRNOS:
        return NoSpace(what, hint=f"{_FREE}, which writes all of it anew")
    return LocalError(what, hint="check where it leads: a file, a pipe or a terminal that can be written")


def of_block(problem: DataError, cid: object) -> DataError:
    """Gives an error of decoding again, with the block that it is about in front; raise it ``from`` that one."""
    said = problem.message if problem.message.startswith(f"block {cid}") else f"block {cid}: {problem.message}"
    return type(problem)(said, hint=problem.hint)


def in_words(problem: BaseException) -> str:
    """Gives what an error of a library says: its own text on one line, at most 200 characters of it, or else its kind."""
    text = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
    line = " ".join("".join([char if char.isprintable() else " " for char in text]).split())
    return line[:200] or type(problem).__name__
