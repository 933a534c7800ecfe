"""A plain web server's way to answer, for `wherry.testing.hostile.HostileServer`: files, ranges, nothing of CIDs.

with HostileServer(plain_files({"/dir/a": b"..."})) as server:
    ...  # server.url + "/dir/" is a copy of a dataset
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.testing.hostile import Behaviour, Exchange


def plain_files(files: Mapping[str, bytes], *, ranges: bool = True, headers: Mapping[str, object] | None = None) -> Behaviour:
    """Serves files by path ("/a/b"), by ranges (RFC 9110 §14); without ``ranges`` each whole, as weak servers do."""

    def behave(exchange: Exchange) -> bool:
        asked = exchange.request
        data = files.get(unquote(asked.path.partition("?")[0]))
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", "")) if ranges else None
        more: dict[str, object] = {"ETag": '"1"', **(headers or {})}
        status = 200
        if data is None:
            status, data = 404, b"not here"
        elif match is not None:
            first, last = int(match[1]), min(int(match[2]), len(data) - 1)
            if first >= len(data):
                status, data, more["Content-Range"] = 416, b"", f"bytes */{len(data)}"
            else:
                status, more["Content-Range"] = 206, f"bytes {first}-{last}/{len(data)}"
                data = data[first : last + 1]
        exchange.head(status, {"Content-Length": len(data), **more})
        if asked.method != "HEAD":
            exchange.send(data)
        return True

    return behave
