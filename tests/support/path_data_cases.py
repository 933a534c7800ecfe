"""The cases of a path gateway that are about data which is no file: codecs, conversions, pages (specs/0033 §10, §13)."""

from __future__ import annotations

import base64
import json
import re

import cbor2
from path_case import IMMUTABLE, MISSING, Case, has, is_cbor, is_json, ranged
from path_world import UTF8_TEXT

COUNT = re.compile("[0-9]")


def data_cases(world):
    """All of them."""
    yield from converted(world)
    for kind in ("json", "cbor"):
        yield from plain(world, kind)
        yield from native(world, kind)
        yield from by_name(world, kind)
    yield from between(world)
    yield from paths(world)


def converted(world):
    """TestDagPbConversion."""
    function = "TestDagPbConversion"
    for kind, how in (("json", "inline"), ("cbor", "attachment")):
        media = f"application/vnd.ipld.dag-{kind}"
        for what, cid in (("file", world.pb_file), ("directory", world.pb_dir)):
            head = {"content-type": media, "content-disposition": f'{how}; filename="{cid}.{kind}"'}
            body = (is_json if kind == "json" else is_cbor)(_node(world, cid, kind))
            yield Case(function, f"{what} as dag-{kind}", f"/ipfs/{cid}?format=dag-{kind}", headers=head, body=body)
        cid = world.pb_file
        head = {"content-type": media, "content-disposition": f'{how}; filename="{cid}.{kind}"'}
        yield Case(function, f"Accept dag-{kind}", f"/ipfs/{cid}", send={"Accept": media}, headers=head)
        sent = {"Accept": f"foo, {media},bar"}
        yield Case(function, f"Accept dag-{kind} among others", f"/ipfs/{cid}", send=sent, headers={"content-type": media})
        head = {"content-type": has("text/plain")}
        yield Case(function, f"format={kind} changes nothing", f"/ipfs/{cid}?format={kind}", headers=head, body=UTF8_TEXT)
        sent = {"Accept": f"application/{kind}"}
        yield Case(function, f"Accept {kind} changes nothing", f"/ipfs/{cid}", send=sent, headers=head, body=UTF8_TEXT)


def _node(world, cid, kind):
    """The logical form of one of the two dag-pb blocks, written down by hand."""
    if cid == world.pb_file:
        inner = b"\x08\x02\x12" + bytes([len(UTF8_TEXT)]) + UTF8_TEXT + b"\x18" + bytes([len(UTF8_TEXT)])
        links = []
    else:
        inner = b"\x08\x01"
        links = [{"Hash": {"/": str(world.pb_file)}, "Name": "file.txt", "Tsize": 40}]
    data = {"/": {"bytes": base64.b64encode(inner).decode().rstrip("=")}} if kind == "json" else inner
    return {"Data": data, "Links": links}


def plain(world, kind):
    """TestPlainCodec."""
    function, found = "TestPlainCodec", world.data[kind]
    cid, data = found["plain"], world.blocks[found["plain"]]
    how = "inline" if kind == "json" else "attachment"
    media = f"application/{kind}"
    for name, query, send in (("no format", "", {}), ("format", f"?format={kind}", {}), ("Accept", "", {"Accept": media})):
        head = {"content-type": media, "content-disposition": f'{how}; filename="{cid}.{kind}"'}
        yield Case(function, f"{kind}: {name}", f"/ipfs/{cid}{query}", send=send, headers=head, body=data)
        yield from ranged(function, f"{kind}: {name}", f"/ipfs/{cid}{query}", data, media, **send)
    cid, media = found["up"], f"application/vnd.ipld.dag-{kind}"
    head = {"content-type": media, "content-disposition": f'{how}; filename="{cid}.{kind}"'}
    value = found["up_value"]
    body = (is_json if kind == "json" else is_cbor)(value)
    yield Case(function, f"{kind} read as dag-{kind}", f"/ipfs/{cid}?format=dag-{kind}", headers=head, body=body)
    whole = b'{"a":[true,null],"b":1}' if kind == "json" else cbor2.dumps(value)
    yield from ranged(function, f"{kind} read as dag-{kind}", f"/ipfs/{cid}?format=dag-{kind}", whole, media)


def native(world, kind):
    """TestNativeDag, of one codec."""
    function, cid = "TestNativeDag", world.data[kind]["root"]
    data, at = world.blocks[cid], f"/ipfs/{cid}"
    media, short = f"application/vnd.ipld.dag-{kind}", f"application/{kind}"
    how = "inline" if kind == "json" else "attachment"
    yield Case(function, f"dag-{kind}: no format", at, body=data)
    yield Case(function, f"dag-{kind}: format", f"{at}?format=dag-{kind}", body=data)
    yield Case(function, f"dag-{kind}: Accept", at, send={"Accept": media}, body=data)
    yield Case(function, f"dag-{kind}: format={kind}", f"{at}?format={kind}", headers={"content-type": short}, body=data)
    sent = {"Accept": short}
    yield Case(function, f"dag-{kind}: Accept {short}", at, send=sent, headers={"content-type": short}, body=data)
    head = {
        "content-type": media, "content-length": str(len(data)), "x-content-type-options": "nosniff",
        "content-disposition": f'{how}; filename="{cid}.{kind}"',
    }  # fmt: skip
    yield Case(function, f"dag-{kind}: headers", at, send={"Accept": media}, headers=head)
    for name, query, shown in (("filename", "", how), ("download", "&download=true", "attachment")):
        head = {"content-disposition": f'{shown}; filename="foobar.{kind}"'}
        path = f"{at}?filename=foobar.{kind}{query}"
        yield Case(function, f"dag-{kind}: {name}", path, send={"Accept": media}, headers=head)
    head = {"etag": has(f"{cid}.dag-{kind}"), "x-ipfs-path": at, "x-ipfs-roots": str(cid), "cache-control": has(IMMUTABLE)}
    yield Case(function, f"dag-{kind}: caching", at, send={"Accept": media}, headers=head)
    head = {"content-type": media, "content-length": COUNT}
    yield Case(function, f"dag-{kind}: HEAD", at, "HEAD", headers=head)
    head = {
        "content-type": "application/vnd.ipld.dag-json",
        "etag": has(f"{cid}.dag-json"),
        "content-length": re.compile("[0-9]"),
    }
    yield Case(function, f"dag-{kind}: HEAD dag-json", f"{at}?format=dag-json", "HEAD", headers=head)
    only = {"Cache-Control": "only-if-cached"}
    yield Case(function, f"dag-{kind}: only-if-cached", f"/ipfs/{MISSING}", "HEAD", only, 412)
    yield Case(function, f"dag-{kind}: page", f"{at}/", send={"Accept": "text/html"}, headers=PAGE, body=is_page)
    for name, send, given in (
        ("no header", {}, media),
        ("Accept", {"Accept": media}, media),
        (short, {"Accept": short}, short),
    ):
        yield from ranged(function, f"dag-{kind}: {name}", f"{at}/", data, given, **send)


PAGE = {"etag": has("DagIndex-"), "content-type": has("text/html"), "content-disposition": None, "cache-control": None}


def is_page(body):
    """A check that a body is HTML to its end."""
    assert b"</html>" in body


def between(world):
    """TestNativeDag, from one codec to another."""
    function, found = "TestNativeDag", world.data["cbor"]
    at, media = f"/ipfs/{found['root']}/", "application/vnd.ipld.dag-json"
    yield Case(function, "dag-cbor as dag-json", at, send={"Accept": media}, body=is_json(found["value"]))
    whole = json.dumps(found["value"], separators=(",", ":")).encode()
    yield from ranged(function, "dag-cbor as dag-json", at, whole, media, Accept=media)
    yield Case(function, "dag-cbor as a page", at, send={"Accept": "text/html"}, body=is_page)
    begins = b"<!DOCTYPE html>"
    for what, sent in (("single range", "bytes=1-3"), ("several ranges", "bytes=1-3,0-0")):
        head = {"content-type": has("text/html"), "content-range": re.compile("^bytes 1-3/[0-9]+$")}
        send = {"Accept": "text/html", "Range": sent}
        yield Case(function, f"dag-cbor as a page, {what}", at, send=send, status=206, headers=head, body=begins[1:4])


def by_name(world, kind):
    """TestGatewayJSONCborAndIPNS."""
    function, found = "TestGatewayJSONCborAndIPNS", world.data[kind]
    cid, at, media = found["root"], f"/ipns/{found['name']}", f"application/vnd.ipld.dag-{kind}"
    data = world.blocks[cid]
    yield Case(function, f"dag-{kind}: no format", at, body=data)
    yield Case(function, f"dag-{kind}: format", f"{at}?format=dag-{kind}", body=data)
    head = {"content-type": media, "etag": f'"{cid}.dag-{kind}"', "x-ipfs-path": has("/"), "x-ipfs-roots": has("b")}
    yield Case(function, f"dag-{kind}: headers", at, send={"Accept": media}, headers=head)
    yield Case(function, f"dag-{kind}: page", f"{at}/", send={"Accept": "text/html"}, headers=PAGE, body=is_page)


def paths(world):
    """TestPathing."""
    for kind in ("json", "cbor"):
        at = f"/ipfs/{world.data[kind]['root']}/foo"
        yield Case("TestPathing", f"dag-{kind}: inside of a block", f"{at}?format=dag-{kind}", status=501)
        body = is_json({"hello": "this is not a link"})
        yield Case("TestPathing", f"dag-{kind}: over links", f"{at}/link/bar?format=dag-json", body=body)
        yield Case("TestPathing", f"dag-{kind}: absent", f"{at}/i-do-not-exist", status=404)
