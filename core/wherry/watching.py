"""Watches calls of strangers' plugins that nothing else bounds: one that does not come back is named: nothing hangs silently.

Python cannot end a call, and a thread for each would cost more than most of them do. So a call is written down while it is
under way, which costs an entry in a dictionary, and one thread of the session looks at them now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.abc.chunker import Chunker, SupportsKey
from wherry.abc.cipher import Cipher
from wherry.abc.compressor import Compressor, SupportsVariant
from wherry.limits import PLUGIN_CALL_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from wherry.cid import Bytes

    Calling = Callable[[str], AbstractContextManager[object]]  # by the method that is called

_LOOKS: Final = 4  # at the calls under way, in the time that one has


class Watch:
    """The calls of one session that are under way. Safe for threads; its own begins with the first call. Close it."""

    def __init__(self, *, say: Callable[[str], None] | None = None, patience_s: float = PLUGIN_CALL_S) -> None:
        """``say`` takes what a person should know; None: the log."""
        self._say = say or logging.getLogger(__name__).warning
        self._patience_s = patience_s
        self._calls: dict[int, _Call] = {}
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def of(self, whose: str, remedy: str) -> Calling:
        """Gives what to enter around each call of a plugin. ``whose``: who it is; ``remedy``: how to do without it."""
        return lambda method: _Call(self, whose, method, remedy)

    def close(self) -> None:
        """Ends it; calls that begin later are not watched. Idempotent."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _begun(self, call: _Call) -> None:
        self._calls[id(call)] = call
        if self._thread is None:
            self._start()

    def _over(self, call: _Call) -> None:
        self._calls.pop(id(call), None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._ending.is_set():
                thread = threading.Thread(target=self._run, name="wherry-watch", daemon=True)
                with suppress(RuntimeError):  # there can be no more threads: what is watched works without
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while not self._ending.wait(self._patience_s / _LOOKS):
            late = time.monotonic() - self._patience_s
            innermost = {call.thread: call for call in list(self._calls.values())}  # of a cache in a cache, it is the inner's
            for call in innermost.values():
                if call.began <= late and (call.whose, call.method) not in self._told:
                    self._told.add((call.whose, call.method))
                    self._say(f"{call.whose} has not come back from {call.method} after {self._patience_s:g} s; {call.remedy}")


class _Call:
    """One call, while it is under way."""

    __slots__ = ("_watch", "began", "method", "remedy", "thread", "whose")

    def __init__(self, watch: Watch, whose: str, method: str, remedy: str) -> None:
        self._watch = watch
        self.whose, self.method, self.remedy = whose, method, remedy
        self.began, self.thread = 0.0, 0

    def __enter__(self) -> None:
        self.began, self.thread = time.monotonic(), threading.get_ident()
        self._watch._begun(self)

    def __exit__(self, *_: object) -> None:
        self._watch._over(self)


class _WatchedCipher(Cipher):
    def __init__(self, inner: Cipher, calling: Calling) -> None:
        self._inner, self._calling = inner, calling
        self.key_bytes = inner.key_bytes  # type: ignore[misc]  # of the class, for who writes a cipher; this one is any cipher
        self.nonce_bytes = inner.nonce_bytes  # type: ignore[misc]  # as above
        self.tag_bytes = inner.tag_bytes  # type: ignore[misc]  # as above

    def seal_into(self, plain: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        with self._calling("seal_into"):
            self._inner.seal_into(plain, out, key=key, nonce=nonce, aad=aad)

    def open_into(self, sealed: Bytes, out: memoryview, *, key: bytes, nonce: bytes, aad: bytes) -> None:
        with self._calling("open_into"):
            self._inner.open_into(sealed, out, key=key, nonce=nonce, aad=aad)


class _WatchedCompressor(Compressor):
    def __init__(self, inner: Compressor, calling: Calling) -> None:
        self._inner, self._calling = inner, calling
        self.levels = inner.levels  # type: ignore[misc]  # as above

    def compress(self, data: Bytes, *, level: int | None = None) -> bytes:
        with self._calling("compress"):
            return self._inner.compress(data, level=level)

    def decompress_into(self, coded: Bytes, view: memoryview) -> None:
        with self._calling("decompress_into"):
            self._inner.decompress_into(coded, view)


class _WatchedVariant(_WatchedCompressor):
    def __init__(self, inner: Compressor, calling: Calling, variant: str) -> None:
        super().__init__(inner, calling)
        self.variant = variant


class _WatchedChunker(Chunker):
    def __init__(self, inner: Chunker, calling: Calling) -> None:
        self._inner, self._calling = inner, calling
        self.name, self.leaf_bytes_max = inner.name, inner.leaf_bytes_max

    def cut(self, data: memoryview, *, last: bool) -> list[int]:
        with self._calling("cut"):
            return self._inner.cut(data, last=last)


class _WatchedKeyed(_WatchedChunker):
    def __init__(self, inner: Chunker, calling: Calling, make: Callable[[bytes], Chunker]) -> None:
        super().__init__(inner, calling)
        self._make = make

    def keyed(self, key: bytes) -> Chunker:
        return watched_chunker(self._make(key), self._calling)


def watched_cipher(inner: Cipher, calling: Calling) -> Cipher:
    """Gives a cipher that does as ``inner`` does, and whose calls are watched."""
    return _WatchedCipher(inner, calling)


def watched_compressor(inner: Compressor, calling: Calling) -> Compressor:
    """Gives a compressor that does as ``inner`` does, with the same optional abilities, and whose calls are watched."""
    if isinstance(inner, SupportsVariant):
        return _WatchedVariant(inner, calling, inner.variant)
    return _WatchedCompressor(inner, calling)


def watched_chunker(inner: Chunker, calling: Calling) -> Chunker:
    """Gives a chunker that does as ``inner`` does, with the same optional abilities, and whose calls are watched."""
    if isinstance(inner, SupportsKey):
        return _WatchedKeyed(inner, calling, inner.keyed)
    return _WatchedChunker(inner, calling)
