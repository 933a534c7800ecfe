"""Zstandard (specs/0015 §5, RFC 8878): one frame a block, which declares its size and has no checksum.

The library's decoders can't be trusted with foreign bytes as they are: in one call they allocate what the frame declares,
whatever limit they are given, and drop what follows; in a stream they end without an error where the frame is cut short. So
the frame's header is looked at first: it must declare exactly the size that is expected, and a small window. Only then is it
decoded in one call, which is then bounded, and which is told to allow nothing behind the frame.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Final

import zstandard

from wherry.abc.compressor import Compressor
from wherry.errors import ConfigError, DecodeError
from wherry.units import MiB

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.cid import Bytes
    from wherry_compress.options import ZstdOptions

_WINDOW_BYTES_MAX: Final = 8 * MiB  # twice the largest block; RFC 8878 §3.1.1.1.2 asks decoders for as much
_DICTIONARY_BYTES_MAX: Final = 4 * MiB  # `zstd --train` makes 112,640 bytes
_KEPT_LEVEL_MAX: Final = 6  # up to here a context is at most 6 MB and kept for the thread; a larger one is made each time


class ZstdCompressor(Compressor):
    """Contexts are not to be shared between threads, so each has its own; it works without the interpreter lock."""

    levels = (1, 3, 6, 9)  # beyond, much more time and memory save very little; the option can ask for it

    def __init__(self, options: ZstdOptions) -> None:
        """Raises ConfigError for a dictionary that cannot be read, or is none."""
        self._level = options.level
        self._dictionary = b"" if options.dictionary is None else _read(options.dictionary)
        self._id = 0
        self._mine = threading.local()
        if self._dictionary:
            self._id = self._prove(options.dictionary)

    @property
    def variant(self) -> str:
        """Which dictionary it needs, by its hash: the number in a frame is too short to tell two apart."""
        return f"dict-{hashlib.sha256(self._dictionary).hexdigest()[:16]}" if self._dictionary else ""

    def compress(self, data: Bytes, *, level: int | None = None) -> bytes:
        """See `Compressor.compress`."""
        return self._encoder(self._level if level is None else level).compress(data)

    def decompress_into(self, coded: Bytes, view: memoryview) -> None:
        """See `Compressor.decompress_into`. Memory of the plain size is taken for as long as it lasts."""
        try:
            head = zstandard.get_frame_parameters(coded)
        except zstandard.ZstdError as problem:
            raise DecodeError(f"{len(coded)} bytes are no frame of Zstandard") from problem
        if head.content_size != len(view):  # also a frame that does not say
            raise DecodeError(f"a frame of Zstandard for {len(view)} bytes does not say that it has as many")
        if head.window_size > _WINDOW_BYTES_MAX:
            raise DecodeError(f"a frame of Zstandard asks for a window of {head.window_size} bytes")
        if head.dict_id not in (0, self._id):
            raise DecodeError(f"a frame of Zstandard needs the dictionary {head.dict_id}, which is not configured")
        try:
            plain = self._decoder(with_dictionary=head.dict_id != 0).decompress(coded, allow_extra_data=False)
        except zstandard.ZstdError as problem:
            raise DecodeError(f"{len(coded)} bytes are no whole frame of Zstandard, or more than one") from problem
        if len(plain) != len(view):
            raise DecodeError(f"a frame of Zstandard has {len(plain)} bytes, not {len(view)}")
        view[:] = plain

    def _encoder(self, level: int) -> zstandard.ZstdCompressor:
        kept: dict[int, zstandard.ZstdCompressor] = self._mine.__dict__.setdefault("encoders", {})
        found = kept.get(level)
        if found is None:
            dictionary = self._load()
            if dictionary is not None:
                dictionary.precompute_compress(level=level)
            found = zstandard.ZstdCompressor(level=level, dict_data=dictionary, write_checksum=False, write_content_size=True)
            if level <= _KEPT_LEVEL_MAX:
                kept[level] = found
        return found

    def _decoder(self, *, with_dictionary: bool) -> zstandard.ZstdDecompressor:
        kept: dict[bool, zstandard.ZstdDecompressor] = self._mine.__dict__.setdefault("decoders", {})
        found = kept.get(with_dictionary)
        if found is None:
            dictionary = self._load() if with_dictionary else None
            found = kept[with_dictionary] = zstandard.ZstdDecompressor(dictionary, max_window_size=_WINDOW_BYTES_MAX)
        return found

    def _load(self) -> zstandard.ZstdCompressionDict | None:
        if not self._dictionary:
            return None
        return zstandard.ZstdCompressionDict(self._dictionary, dict_type=zstandard.DICT_TYPE_FULLDICT)

    def _prove(self, path: Path | None) -> int:
        """Codes and decodes a few bytes with the dictionary; gives its number."""
        try:
            loaded = zstandard.ZstdCompressionDict(self._dictionary, dict_type=zstandard.DICT_TYPE_FULLDICT)
            self._id = loaded.dict_id()
            view = memoryview(bytearray(100))
            self.decompress_into(self.compress(bytes(100)), view)
        except (zstandard.ZstdError, MemoryError, DecodeError, ValueError) as problem:
            self._id = 0
            raise _no_dictionary(path) from problem
        if not self._id:
            raise _no_dictionary(path)
        return self._id


def _no_dictionary(path: Path | None) -> ConfigError:
    hint = "make one with `zstd --train SAMPLES -o FILE`"
    return ConfigError(f"compressor.zstd.dictionary: {path} is no trained dictionary", hint=hint)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_DICTIONARY_BYTES_MAX + 1)
    except OSError as problem:
        raise ConfigError(f"compressor.zstd.dictionary: {path}: {problem.strerror or problem}") from problem
    if not data or len(data) > _DICTIONARY_BYTES_MAX:
        raise ConfigError(f"compressor.zstd.dictionary: {path} has {len(data)} bytes, must have 1 to {_DICTIONARY_BYTES_MAX}")
    return data
