"""Small torrents of every version, with the content of their files."""

from __future__ import annotations

import hashlib

from wherry.torrent.bencode import encode
from wherry.torrent.metainfo import LEAF_BYTES, Metainfo


def hybrid(files, *, name="n", hybrid=True):
    run = Metainfo(name, piece_bytes=LEAF_BYTES, hybrid=hybrid)
    for parts, data in files:
        run.begin(parts)
        run.update(data)
        run.end()
    return run.finish()


def version_1(files, piece=16384):
    """Gives a torrent of version 1 alone; a file of no path is padding."""
    data = b"".join(content for _, content in files)
    pieces = b"".join(hashlib.sha1(data[at : at + piece]).digest() for at in range(0, len(data), piece))
    listed = [{"length": len(content), "path": path or ["p"], **({} if path else {"attr": "p"})} for path, content in files]
    return encode({"info": {"name": "n", "piece length": piece, "pieces": pieces, "files": listed}})


BIG = bytes(range(256)) * 200
CONTENTS = {
    "hybrid": (hybrid([(("a",), BIG), (("b", "c"), b"x"), (("empty",), b"")]), [BIG, b"x", b""]),
    "version 2": (hybrid([(("a",), BIG), (("b",), b"x")], hybrid=False), [BIG, b"x"]),
    "version 1": (version_1([(["a"], BIG), (["b"], b"x"), (["empty"], b""), (["c"], BIG)]), [BIG, b"x", b"", BIG]),
    "version 1 with padding": (version_1([(["a"], b"x"), (None, bytes(16383)), (["b"], BIG)]), [b"x", BIG]),
}
