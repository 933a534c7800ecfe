"""Names of files and targets of links that come from strangers (specs/0003 §6).

Two rules. The hard rule holds for every manifest: a name is one path component that POSIX can write. The portable rule is
the default of `get`: the name also means the same file on Windows and on file systems that fold case or Unicode forms.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from typing import Final

from wherry.errors import UnsafeName
from wherry.limits import NAME_BYTES_MAX, PATH_BYTES_MAX, SYMLINK_BYTES_MAX

# Plain names need no second look: they pass both rules unless they are a device's name.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@+=,~-](?:[A-Za-z0-9_@+=,~. -]{0,253}[A-Za-z0-9_@+=,~-])?", re.ASCII)
_DEVICES: Final = re.compile(r"(?i)(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:[.:].*)?", re.DOTALL)
_WINDOWS_STRAY: Final = re.compile(r'[\x00-\x1f<>:"|?*\\\x7f]')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Default_Ignorable_Code_Point: ext4 (casefold), F2FS and HFS+ look names up as if these were not there.
_IGNORED: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BYTE: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])")  # as `repr` and `ascii` write the surrogate of a byte
_SHOWN_CHARS: Final = 80
_PORTABLE_HINT: Final = "if this machine can take such names, allow them with --names posix"


def shown(value: object) -> str:
    """Writes a stranger's value for an error message: escaped, and short however long it is."""
    text = ascii(value[:_SHOWN_CHARS] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def on_disk(path: str) -> str:
    """Quotes a path of this machine for an error message; bytes that are not UTF-8 are written as listings write them."""
    return _in_bytes(repr(path))


def _in_bytes(quoted: str) -> str:
    return _BYTE.sub(r"\1\\x\2", quoted)


def check_name(name: str) -> None:
    """Applies the hard rule. Raises UnsafeName."""
    if _PLAIN.fullmatch(name):
        return
    if name in ("", ".", ".."):
        raise UnsafeName(f"name {name!r} is not a file name")
    if "/" in name or "\0" in name:
        raise UnsafeName(f"name {shown(name)} has a separator or NUL in it")
    if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise UnsafeName(f"name {shown(name)} is longer than {NAME_BYTES_MAX} bytes")
    if _SURROGATE.search(name):
        raise UnsafeName(f"name {_in_bytes(shown(name))} is not valid Unicode", hint="rename it: names in a manifest are UTF-8")


def portability(name: str) -> str | None:
    """Tells why ``name`` does not mean the same everywhere; None if it does."""
    if _DEVICES.fullmatch(name):
        return "is a device's name on Windows"
    if _PLAIN.fullmatch(name):
        return None
    stray = _WINDOWS_STRAY.search(name)
    if stray is not None:
        return f"has {stray[0]!r} in it, which Windows cannot write"
    if name.endswith((".", " ")):
        return "ends with a dot or a space, which Windows drops"
    return None


def check_portable(name: str, path: str) -> None:
    """Applies the portable rule to the name at ``path``. Raises UnsafeName."""
    problem = portability(name)
    if problem is not None:
        raise UnsafeName(f"{path!r}: the name {problem}", hint=_PORTABLE_HINT)


def folded(name: str) -> str:
    """The form under which file systems that fold case or Unicode forms look a name up."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", _IGNORED.sub("", unicodedata.normalize("NFD", name)).casefold())


class Collisions:
    """Finds names of one directory that fold to the same; eight bytes a name, so a million names take 8 MB."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._small: dict[str, str] | None = {}  # the names by what they fold to
        self._large: list[array[int]] = []

    def add(self, name: str) -> None:
        """Takes one more name. Raises UnsafeName on a collision (in large directories `finish` does)."""
        key = folded(name)
        if self._small is not None:
            if key in self._small:
                raise self._error(f"{shown(self._small[key])} and {shown(name)}")
            self._small[key] = name
            if len(self._small) > 4096:
                self._large = [array("Q") for _ in range(256)]
                for small in self._small:
                    self._file(small)
                self._small = None
        else:
            self._file(key)

    def finish(self) -> None:
        """Says that all names were given. Raises UnsafeName on a collision."""
        for bucket in self._large:
            if len(set(bucket)) != len(bucket):
                raise self._error("two names")

    def _file(self, key: str) -> None:
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=9).digest()
        self._large[digest[0]].append(int.from_bytes(digest[1:], "big"))

    def _error(self, which: str) -> UnsafeName:
        return UnsafeName(f"directory {self._path or '/'!r}: {which} differ only by case or Unicode form", hint=_PORTABLE_HINT)


def check_path(path: str) -> None:
    """Bounds a whole path inside a dataset. Raises UnsafeName."""
    if len(path) > PATH_BYTES_MAX // 4 and len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES_MAX:
        raise UnsafeName(f"path {shown(path)} is longer than {PATH_BYTES_MAX} bytes")


def check_target(target: str) -> None:
    """Applies the hard rule to the target of a symbolic link. Raises UnsafeName."""
    if not target or "\0" in target or len(target.encode("utf-8", "surrogatepass")) > SYMLINK_BYTES_MAX:
        raise UnsafeName(f"link target {shown(target)} is empty, too long, or has NUL in it")
    if _SURROGATE.search(target):
        raise UnsafeName(f"link target {shown(target)} is not valid Unicode", hint="link targets in a manifest are UTF-8")


def escapes(path: str, target: str) -> bool:
    """Tells whether the link at ``path`` (inside the dataset) may lead outside of it, read as POSIX or as Windows would.

    ".." counts as an escape anywhere but at the target's beginning: behind a name it leaves the directory that the name
    leads to, and that name may be another link (with ``here -> .``, the target ``here/here/../..`` is two levels up).
    """
    if target.startswith(("/", "\\")) or (len(target) > 1 and target[1] == ":"):
        return True
    above = path.count("/")  # real directories: a dataset's paths never go through links
    named = False
    for part in re.split(r"[/\\]", target):
        if part == "..":
            above -= 1
            if named or above < 0:
                return True
        elif part not in ("", "."):
            named = True
    return False
