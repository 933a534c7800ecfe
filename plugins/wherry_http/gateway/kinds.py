"""Says of what type a file is, for browsers that are told not to guess (specs/0033 §7). Pure."""

from __future__ import annotations

import json
import mimetypes
from typing import Final

SNIFF_BYTES: Final = 1024
_TYPES: Final = mimetypes.MimeTypes(filenames=())
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"), (b"PK\x03\x04", "application/zip"), (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"), (b"OggS", "application/ogg"), (b"fLaC", "audio/flac"), (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"), (b"\0asm", "application/wasm"),
)  # fmt: skip
_BINARY: Final = frozenset(range(32)) - {9, 10, 12, 13, 27}
_MORE: Final = {".md": "text/markdown", ".webp": "image/webp", ".zst": "application/zstd", ".car": "application/vnd.ipld.car"}


def media_type(name: str, head: bytes) -> str:
    """Gives the Content-Type of a file called ``name`` ("" for none) that begins with ``head``."""
    dot = name.rfind(".")
    ending = name[dot:].lower() if dot >= 0 else ""
    found, coded = _TYPES.guess_type(f"x{ending}", strict=True) if ending else (None, None)
    found = _MORE.get(ending) or found
    if coded:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            coded, "application/octet-stream"
        )
    if found is None:
        found = _sniffed(head)
    if found.startswith("text/") or found in ("application/javascript", "image/svg+xml"):
        return f"{found}; charset=utf-8" if _is_utf8(head) else found
    return found


def _sniffed(head: bytes) -> str:
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return "video/mp4"
    if len(head) < SNIFF_BYTES and head.lstrip()[:1] in (b"{", b"[") and _is_json(head):
        return "application/json"
    # HTML without a name stays plain text: what is shown as a page says so by its name.
    return "application/octet-stream" if _BINARY.intersection(head) else "text/plain"


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as problem:
        return problem.start >= len(head) - 3 and problem.reason == "unexpected end of data"
    return True
