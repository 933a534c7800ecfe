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

    from wherry.gateway.files import Thing
    from wherry.gateway.request import Target
    from wherry.gateway.rows import Page, Row

_SHOWN_MAX: Final = 255  # characters of a name
_LINK_BYTES_MAX: Final = 1024
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_KINDS: Final = {"file": "file", "dir": "directory", "link": "symlink", "block": "data", "": "unknown"}
# Only what may be long breaks anywhere. Where there is no room for four columns, an entry is a few lines below each other.
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1em/1.5 system-ui,sans-serif;max-width:70em;margin:1em auto;padding:0 1em;background:#fff;color:#222}"
    "h1{font-size:1.3em;line-height:1.3}h1,li,p,td.l,td.c,code{overflow-wrap:anywhere}"
    "code,pre{font:.8em/1.4 ui-monospace,monospace}h1 code{font-size:1em}"
    "nav ol{list-style:none;padding:0}nav ol li{display:inline}nav ol li+li::before{content:' / '}"
    "table{border-collapse:collapse;width:100%;table-layout:fixed}caption{text-align:left;padding:.3em 0}"
    "th,td{text-align:left;vertical-align:top;padding:.3em 1em .3em 0}tr{border-bottom:1px solid #8886}"
    "th.k{width:5.5em}th.n{width:6em}th.c{width:42%}td.n,th.n{text-align:right;white-space:nowrap}td.c,th.c{padding-right:0}"
    "a{color:#0645ad}a:visited{color:#6b3fa0}"
    "@media(max-width:44em){table,caption,tbody{display:block}thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;"
    "overflow:hidden}tr{display:flex;flex-wrap:wrap;padding:.4em 0}td{padding:0 1em 0 0}td.l,td.c{flex:0 0 100%;padding:0}}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#9cf}a:visited{color:#c9f}}"
)
_HEAD: Final = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
)
FRONT: Final = (
    f"{_HEAD}<title>wherry</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>This is wherry</h1>\n"
    "<p>Content is given here by its CID: ask for <code>/ipfs/CID</code> or <code>/ipns/NAME</code>.</p>\n"
    "</main>\n</body>\n</html>\n"
)


def directory(target: Target, page: Page, after: str) -> Iterator[str]:
    """Gives the page of a directory, piece by piece."""
    title = f"/{target.space}/{target.name}" + "".join([f"/{visible(part)}" for part in target.parts])
    yield (
        f"{_HEAD}<title>Index of {escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<nav aria-label="Path"><ol>\n{_way(target)}</ol></nav>\n<main>\n<h1>Index of {escape(title)}</h1>\n'
    )
    if not page.rows:
        yield "<p>Nothing is in this directory.</p>\n" if not after else "<p>Nothing more is in this directory.</p>\n"
    else:
        yield _place(page, after)
        yield (
            "<table>\n<caption>Name, kind, size and content identifier of each entry</caption>\n<thead><tr>"
            '<th scope="col">Name</th><th scope="col" class="k">Kind</th><th scope="col" class="n">Size</th>'
            '<th scope="col" class="c">CID</th>'
            "</tr></thead>\n<tbody>\n"
        )
        for row in page.rows:
            yield _line(row)
        yield "</tbody>\n</table>\n"
        if not page.whole:
            yield "<p>Unknown: the block of the entry is not here, is malformed, or was too much to read for one page.</p>\n"
    if pages := _pages(page, after):
        yield f'<nav aria-label="Pages"><p>{pages}</p></nav>\n'
    yield "</main>\n</body>\n</html>\n"


def data_page(target: Target, thing: Thing, text: bytes) -> str:
    """Gives a page that shows a block of data: what it is, and ``text``, its beginning as DAG-JSON."""
    cid = escape(str(thing.cid))
    links = "".join(
        [f'<li><a href="/ipfs/{cid}?format={name}">{name}</a></li>\n' for name in ("dag-json", "dag-cbor", "raw", "car")]
    )
    shown = escape(visible(text.decode("utf-8", "replace"), len(text)))
    return (
        f"{_HEAD}<title>Data of {cid}</title>\n<style>{_STYLE}pre{{white-space:pre-wrap;overflow-wrap:anywhere}}</style>\n"
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
        slash = "/" if row.kind == "dir" else ""
        shown = f'<a href="./{quote(raw, safe="")}{slash}">{shown}</a>'
    size = "" if row.size is None else escape(format_size(row.size))
    cells = f'<td class="l">{shown}</td><td>{_KINDS[row.kind]}</td><td class="n">{size}</td>'
    return f'<tr>{cells}<td class="c"><code>{escape(row.cid)}</code></td></tr>\n'


def _place(page: Page, after: str) -> str:
    """Says which entries of the whole these are, and in which order, where that is not plain to see."""
    if page.hashed is not None:
        far = f" About {page.hashed:.0%} of them come before this page." if after else ""
        return f"<p>This directory is sharded: its entries come in the order of the hashes of their names.{far}</p>\n"
    if not (after or page.more):
        return ""
    if page.before is None or page.total is None:
        return "<p>The entries come in the order of their names.</p>\n"
    last = page.before + len(page.rows)
    return f"<p>Entries {page.before + 1:,} to {last:,} of {page.total:,}, in the order of their names.</p>\n"


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
