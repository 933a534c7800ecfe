"""The page of a directory: plain HTML that works without scripts, styles or sight (specs/0033 §8). Pure: data in, text out.

Every name is a stranger's. It is escaped, shortened, and cannot turn the direction of the text around it; what no URL can name
is shown without a link.
"""

from __future__ import annotations

import unicodedata
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from wherry.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.gateway.files import Page, Row, Thing
    from wherry.gateway.request import Target

_SHOWN_MAX: Final = 255  # characters of a name
_LINK_BYTES_MAX: Final = 1024
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_KINDS: Final = {"file": "file", "dir": "directory", "link": "link", "": ""}
_STYLE: Final = (
    "body{font:1em/1.5 system-ui,sans-serif;max-width:70em;margin:1em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2em 1em .2em 0;overflow-wrap:anywhere}"
    "td.n,th.n{text-align:right;white-space:nowrap}code{font-size:.8em}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#9cf}a:visited{color:#c9f}}"
)


def directory(target: Target, page: Page, after: str) -> Iterator[str]:
    """Gives the page of a directory, piece by piece."""
    title = f"/{target.space}/{target.name}" + "".join([f"/{visible(part)}" for part in target.parts])
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f"<title>Index of {escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<nav aria-label="Path"><ol>\n{_way(target)}</ol></nav>\n<main>\n<h1>Index of {escape(title)}</h1>\n'
    )
    if not page.rows:
        yield "<p>Nothing is in this directory.</p>\n" if not after else "<p>Nothing more is in this directory.</p>\n"
    else:
        yield (
            "<table>\n<caption>Name, kind, size and content identifier of each entry</caption>\n<thead><tr>"
            '<th scope="col">Name</th><th scope="col">Kind</th><th scope="col" class="n">Size</th><th scope="col">CID</th>'
            "</tr></thead>\n<tbody>\n"
        )
        for row in page.rows:
            yield _line(row)
        yield "</tbody>\n</table>\n"
    yield f'<nav aria-label="Pages"><p>{_pages(page, after)}</p></nav>\n</main>\n</body>\n</html>\n'


def data_page(target: Target, thing: Thing, text: bytes) -> str:
    """Gives a page that shows a block of data: what it is, and ``text``, its beginning as DAG-JSON."""
    cid = escape(str(thing.cid))
    links = "".join(
        [f'<li><a href="/ipfs/{cid}?format={name}">{name}</a></li>\n' for name in ("dag-json", "dag-cbor", "raw", "car")]
    )
    shown = escape(visible(text.decode("utf-8", "replace"), len(text)))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f"<title>Data of {cid}</title>\n<style>{_STYLE}pre{{white-space:pre-wrap;overflow-wrap:anywhere}}</style>\n"
        "</head>\n<body>\n"
        f'<nav aria-label="Path"><ol>\n{_way(target)}</ol></nav>\n<main>\n<h1>Data of <code>{cid}</code></h1>\n'
        f"<p>{escape(thing.cid.codec_name)}, {escape(format_size(thing.size))}</p>\n"
        f'<nav aria-label="Forms"><ul>\n{links}</ul></nav>\n<pre>{shown}</pre>\n</main>\n</body>\n</html>\n'
    )


def visible(name: str, most: int = _SHOWN_MAX) -> str:
    """Gives a name as it may be shown: what has no shape, or moves what stands beside it, is written as its number."""
    shown = name if len(name) <= most else name[:most] + "\u2026"
    return "".join(
        [c if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" else f"\\u{{{ord(c):x}}}" for c in shown]
    )


def _line(row: Row) -> str:
    shown = f"<bdi>{escape(visible(row.name))}</bdi>"
    raw = row.name.encode("utf-8", "surrogateescape")
    if raw and row.name not in (".", "..") and "/" not in row.name and "\0" not in row.name and len(raw) <= _LINK_BYTES_MAX:
        shown = f'<a href="./{quote(raw, safe="")}">{shown}</a>'
    size = "" if row.size is None else escape(format_size(row.size))
    cells = f'<td>{shown}</td><td>{_KINDS[row.kind]}</td><td class="n">{size}</td><td><code>{escape(row.cid)}</code></td>'
    return f"<tr>{cells}</tr>\n"


def _way(target: Target) -> str:
    names = [target.name, *target.parts]
    lines = []
    for at, name in enumerate(names):
        up = "../" * (len(names) - 1 - at)
        here = ' aria-current="page"' if not up else ""
        lines.append(f'<li><a href="{up or "./"}"{here}>{escape(visible(name))}</a></li>\n')
    return "".join(lines)


def _pages(page: Page, after: str) -> str:
    links = []
    if after:
        links.append('<a href="./">First page</a>')
    raw = page.more.encode("utf-8", "surrogateescape")
    if raw and len(raw) <= _LINK_BYTES_MAX:
        links.append(f'<a rel="next" href="?after={quote(raw, safe="")}">Next page</a>')
    elif raw:
        links.append("There is more, behind a name that is too long for a link.")
    return " ".join(links)
