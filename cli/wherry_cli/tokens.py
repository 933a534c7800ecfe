"""The token that ``--token-file`` names: read before the configuration is, so that what is wrong is said by that name."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Final

from wherry.config.sources import SECRET_BYTES_MAX, read_bounded
from wherry.errors import UsageError
from wherry_http.options import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

_PIPE_S: Final = 60.0  # whoever writes the token may ask a person for a passphrase first


def token_in(path: Path) -> tuple[str, bool]:
    """Reads the token in a file, and tells whether it can be read there again: not in a pipe, as the shell's ``<(...)`` is one.

    The configuration checks it too, but knows of no option to name. Raises UsageError.
    """
    said, hint = f"--token-file {str(path)!r}", "name a file of text, with the token alone"
    try:
        lasts = not path.expanduser().is_fifo()
        data = read_bounded(path.expanduser(), SECRET_BYTES_MAX) if lasts else _piped(path.expanduser(), SECRET_BYTES_MAX)
        token = data.decode().rstrip("\r\n")
    except UnicodeDecodeError as problem:
        raise UsageError(f"{said} is not UTF-8", hint=hint) from problem
    except OSError as problem:
        raise UsageError(f"{said} cannot be read: {problem.strerror or problem}", hint=hint) from problem
    if not token:
        hint = "write the token into it, or leave the option out where none is asked for"
        raise UsageError(f"{said} is empty", hint=hint)
    if not TOKEN.fullmatch(token):
        odd = next((at for at, char in enumerate(token) if not "!" <= char <= "~"), None)
        why = f"it has {len(token):,} characters" if odd is None else f"its character {odd + 1} is {token[odd]!a}"
        hint = "a token is 1 to 1,000 visible ASCII characters, without spaces; the file has it alone, on one line"
        raise UsageError(f"{said} holds no token: {why}", hint=hint)
    return token, lasts


def _piped(path: Path, bytes_max: int) -> bytes:
    """Reads a pipe to its end. Raises OSError, also for one that is not ended in `_PIPE_S`, or has more than ``bytes_max``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    end, data = time.monotonic() + _PIPE_S, b""
    try:
        while len(data) <= bytes_max:
            if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
                raise OSError(f"nobody wrote all of it in {_PIPE_S:g} s")
            piece = os.read(descriptor, 65_536)
            if not piece:
                return data
            data += piece
    finally:
        os.close(descriptor)
    raise OSError(f"larger than {bytes_max} bytes")
