"""The cases that the public suite has for a path gateway, by its test functions, over data of this repository (specs/0033 §10).

What is asked and what must come back follow the public specification; the data are of `path_world`, and public fixtures where
`WHERRY_FIXTURES` names them. Cases that cannot be are in `LEFT_OUT`, each with its reason.
"""

from __future__ import annotations

import io
import re
import tarfile
from urllib.parse import quote

from gateways import RAW_TYPE, Fixture
from path_case import IMMUTABLE, MISSING, Case, has
from path_data_cases import data_cases
from path_world import HELLO, PERCENT, UTF8_TEXT

from wherry.cid import RAW
from wherry.gateway.record import value_of
from wherry.publiccid import PublicCID

LISTED = re.compile(r"public, max-age=604800, stale-while-revalidate=2678400")

CANONICAL = (
    (
        "12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK",
        "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
    ),
    (
        "QmcJM7PRfkSbcM5cf1QugM5R37TLRKyJGgBEhXjLTB8uA2",
        "k2k4r8ol4m8kkcqz509c1rcjwunebj02gcnm5excpx842u736nja8ger",
    ),
)
# (function of the public suite, cases, reason)
LEFT_OUT = (
    ("TestUnixFSDirectoryListing", 1, "checks the HTML of one other implementation, link by link"),
    ("TestGatewayIpfsUri", 2, "%2F and dot segments are refused with 400 (§2), not resolved"),
    ("TestGatewayIPNSPath", 3, "a record that does not verify is never kept, so it is 404 here, and not 5xx"),
    ("TestTar", 2, "names with / in them: such an archive is ended abnormally (§12), whether they stay inside or not"),
    ("TestPathing", 0, "501 is checked, its wording is not"),
    ("TestGatewayUnixFSFileRanges", 0, "text/plain is not asked for of the file that lacks a block: its bytes are random"),
    ("TestDNSLinkGateway*", 0, "needs DNS and names of its own: subdomain-gateway, dnslink-gateway"),
    ("TestRedirectsFile*", 0, "_redirects belongs to origins of subdomains and DNSLink, which are not offered"),
)  # fmt: skip


def all_cases(world, fixtures=None):
    """All of them. ``fixtures``: the folder of the public fixtures, if it is at hand."""
    yield from cors()
    yield from listings(world)
    yield from cached(world)
    yield from cached_names(world)
    yield from small(world)
    yield from uris(world)
    yield from names(world)
    yield from tar(world)
    yield from data_cases(world)
    if fixtures is not None:
        yield from raw_blocks(Fixture(fixtures / "gateway-raw-block.car"))
        yield from missing_blocks(Fixture(fixtures / "file-3k-and-3-blocks-missing-block.car"))
        yield from records(fixtures)


def cors():
    """TestCors."""
    allowed = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": re.compile("GET.*HEAD.*OPTIONS"),
        "access-control-allow-headers": re.compile("Content-Type.*Range.*User-Agent.*X-Requested-With"),
    }
    for name in ("Content-Range", "Content-Length", "X-Ipfs-Roots", "X-Chunked-Output", "X-Stream-Output", "Ipfs-Uri"):
        allowed["access-control-expose-headers"] = has(name)
        if name == "Ipfs-Uri":
            yield Case("TestCors", "GET", "/ipfs/bafkqabtimvwgy3yk", headers=dict(allowed), body=HELLO)
            yield Case("TestCors", "OPTIONS", "/ipfs/bafkqabtimvwgy3yk/", "OPTIONS", status=204, headers=dict(allowed))


def listings(world):
    """TestUnixFSDirectoryListing, TestGatewaySymlink."""
    function, root = "TestUnixFSDirectoryListing", world.root

    def top(body):
        assert b"Index of" in body
        assert b">..<" not in body

    yield Case(function, "root without a way back", f"/ipfs/{root}/", body=top)
    to = {"location": f"/ipfs/{root}/%C4%85/%C4%99/"}
    yield Case(function, "redirect to the slash", f"/ipfs/{root}/%C4%85/%C4%99", status=301, headers=to)
    yield Case(function, "absent file", f"/ipfs/{root}/i-do-not-exist", status=404)

    def both(body):
        assert b"foo" in body
        assert b"bar" in body

    yield Case("TestGatewaySymlink", "listing", f"/ipfs/{world.links}/", body=both)
    yield Case("TestGatewaySymlink", "raw directory", f"/ipfs/{world.links}?format=raw", body=world.blocks[world.links])
    yield Case("TestGatewaySymlink", "symlink", f"/ipfs/{world.links}/bar", body=b"foo")


def cached(world):
    """TestGatewayCache."""
    function, (one, two, three, four, page) = "TestGatewayCache", world.cached
    three_at, four_at = f"/ipfs/{one}/root2/root3/", f"/ipfs/{one}/root2/root3/root4/"
    file_at = f"{four_at}index.html"
    tag = re.compile(f'"DirIndex-.*_CID-{three}"')
    head = {"x-ipfs-path": three_at, "x-ipfs-roots": f"{one},{two},{three}", "etag": tag, "cache-control": LISTED}
    yield Case(function, "listing", three_at, headers=head)
    head = {
        "x-ipfs-path": four_at, "x-ipfs-roots": f"{one},{two},{three},{four}", "etag": f'"{four}"', "cache-control": IMMUTABLE,
    }  # fmt: skip
    yield Case(function, "directory with index.html", four_at, headers=head, body=HELLO)
    roots = f"{one},{two},{three},{four},{page}"
    head = {"x-ipfs-path": file_at, "x-ipfs-roots": roots, "etag": f'"{page}"', "cache-control": IMMUTABLE}
    yield Case(function, "file", file_at, headers=head, body=HELLO)
    for name in ("dag-json", "json"):
        yield Case(function, f"directory as {name}", f"{four_at}?format={name}", headers={"cache-control": IMMUTABLE})
    only = {"Cache-Control": "only-if-cached"}
    for method in ("HEAD", "GET"):
        yield Case(function, f"{method} only-if-cached, here", f"{four_at}?format=json", method, only)
        yield Case(function, f"{method} only-if-cached, not here", f"/ipfs/{MISSING}", method, only, 412)
    for name, path, sent in (
        ("file", file_at, f'"{page}"'), ("index.html", four_at, f'"{four}"'), ("of three", file_at, f'"a", "b", "{page}"'),
        ("weak", file_at, f'W/"{page}"'), ("any", file_at, "*"), ("listing, weak", three_at, f'W/"{three}"'),
        ("listing, its own", three_at, f'"DirIndex-wherry2-e3b0c442_CID-{three}"'),
        ("listing, its own, weak", three_at, f'W/"DirIndex-wherry2-e3b0c442_CID-{three}"'),
    ):  # fmt: skip
        yield Case(function, f"If-None-Match: {name}", path, send={"If-None-Match": sent}, status=304)
    yield Case(function, "listing has an Etag", three_at, headers={"etag": f'"DirIndex-wherry2-e3b0c442_CID-{three}"'})


def cached_names(world):
    """TestGatewayCacheWithIPNS."""
    function, name, (one, two, three, four, page) = "TestGatewayCacheWithIPNS", world.cached_name, world.cached
    age = re.compile("^public, max-age=[0-9]+$")
    at = f"/ipns/{name}/root2/root3/"
    head = {"x-ipfs-path": at, "x-ipfs-roots": f"{one},{two},{three}", "etag": has(f"_CID-{three}"), "cache-control": age}
    yield Case(function, "listing", at, headers=head)
    head = {"x-ipfs-path": f"{at}root4/", "x-ipfs-roots": f"{one},{two},{three},{four}", "etag": f'"{four}"'}
    yield Case(function, "index.html", f"{at}root4/", headers=head | {"cache-control": age})
    head = {"x-ipfs-roots": f"{one},{two},{three},{four},{page}", "etag": f'"{page}"', "cache-control": age}
    yield Case(function, "file", f"{at}root4/index.html", headers=head)
    for kind in ("dag-json", "json"):
        yield Case(function, f"directory as {kind}", f"{at}root4/?format={kind}", headers={"cache-control": age})
    yield Case(function, "If-None-Match", f"{at}root4/index.html", send={"If-None-Match": f'"{page}"'}, status=304)


def small(world):
    """TestGatewayJsonCbor, TestPathGatewayMiscellaneous, TestUnixFSPBNodeFieldOrder, TestGatewayUnixFSFileRanges."""
    for send in ({}, {"Accept": "application/json"}):
        name = f"JSON in a file{', by Accept' if send else ''}"
        body = world.blocks[world.json_file]
        head = {"content-type": "application/json"}
        yield Case("TestGatewayJsonCbor", name, f"/ipfs/{world.json_file}", send=send, headers=head, body=body)
    path = f"/ipfs/{world.percent}/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt"
    yield Case("TestPathGatewayMiscellaneous", "name that looks escaped", path, body=b"percent")
    for name, cid in world.orders.items():
        yield Case("TestUnixFSPBNodeFieldOrder", f"file of {name}", f"/ipfs/{cid}/hello.txt", body=HELLO)
        body = world.blocks[cid]
        yield Case("TestTrustlessRawPBNodeFieldOrder", name, f"/ipfs/{cid}", send={"Accept": RAW_TYPE}, body=body)
    leaf = world.cached[-1]
    yield Case("TestTrustlessRawPBNodeFieldOrder", "leaf", f"/ipfs/{leaf}", send={"Accept": RAW_TYPE}, body=HELLO)
    function, path, data = "TestGatewayUnixFSFileRanges", f"/ipfs/{world.files}/ascii.txt", world.ascii
    for name, sent, given, body in (
        ("range", "bytes=6-16", "bytes 6-16/31", data[6:17]), ("from the end", "bytes=-3", "bytes 28-30/31", data[28:]),
        ("several", "bytes=6-16,0-4", re.compile("bytes"), None), ("the first", "bytes=6-16,0-4", "bytes 6-16/31", data[6:17]),
    ):  # fmt: skip
        head = {"content-type": has("text/plain"), "content-range": given}
        yield Case(function, name, path, send={"Range": sent}, status=206, headers=head, body=body)


def uris(world):
    """TestGatewayIpfsUri, and those of its kind."""
    function, plain, inner = "TestGatewayIpfsUri", str(PublicCID.of(RAW, b"plain")), f"{world.nested}/sub%20dir"
    for name, path, uri, status, body in (
        ("bare CID", plain, plain, 200, b"plain"),
        ("nested directory", f"{inner}/", f"{inner}/", 200, None),
        ("sub-delims", f"{inner}/file!'()*~.txt", f"{inner}/file%21%27%28%29%2A~.txt", 200, b"delims"),
        ("beside a name with a slash", f"{world.slashed}/a/b.txt", f"{world.slashed}/a/b.txt", 200, b"inside"),
        ("query", f"{world.tricky}/plain.txt?filename=download.txt&format=json", f"{world.tricky}/plain.txt", 200, b"plain"),
        ("redirect", f"{world.tricky}", f"{world.tricky}", 301, None),
    ):  # fmt: skip
        yield Case(function, name, f"/ipfs/{path}", status=status, headers={"ipfs-uri": f"ipfs://{uri}"}, body=body)
    head = {"ipfs-uri": f"ipfs://{world.tricky}/a%23b%3Fc.txt", "x-ipfs-path": f"/ipfs/{world.tricky}/a#b?c.txt"}
    yield Case(function, "delimiters", f"/ipfs/{world.tricky}/a%23b%3Fc.txt", headers=head, body=b"delimiters")
    path = f"{world.tricky}/emoji%F0%9F%9A%80.txt"
    yield Case(function, "emoji", f"/ipfs/{path}", headers={"ipfs-uri": f"ipfs://{path}", "x-ipfs-path": None}, body=b"emoji")
    head = {"ipfs-uri": f"ipfs://{world.percent}/{quote(PERCENT, safe='')}", "x-ipfs-path": None}
    for name, path in (
        ("canonical", quote(PERCENT, safe="")),
        ("raw sub-delims", "Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt"),
        ("lower case", "Portugal%252C%2bEspa%c3%b1a%3dPeninsula%20Ib%c3%a9rica%2etxt"),
    ):
        at = f"/ipfs/{world.percent}/{path}"
        yield Case("TestGatewayIpfsUriPercentEncodedFilename", name, at, headers=head, body=b"percent")
    head = {"ipfs-uri": f"ipfs://{world.tricky}/plain.txt"}
    yield Case("TestGatewayIpfsUriCidNormalization", "CIDv0", f"/ipfs/{world.tricky.to_version(0)}/plain.txt", headers=head)
    function, name = "TestGatewayIpfsUriWithIPNS", world.cached_name
    at = f"{name}/root2/root3/"
    yield Case(function, "directory", f"/ipns/{at}", headers={"ipfs-uri": f"ipns://{at}"})
    at = f"{name}/root2/root3/root4/index.html"
    head = {"ipfs-uri": f"ipns://{at}", "location": f"/ipns/{at}"}
    path = f"/ipns/{world.cached_peer}/root2/root3/root4/index.html"
    yield Case(function, "peer id", path, status=302, headers=head)


def names(world):
    """TestRedirectCanonicalIPNS, TestGatewayIPNSRecordWithSubpath."""
    for given, to in CANONICAL:
        head = {"location": f"/ipns/{to}/root2/"}
        yield Case("TestRedirectCanonicalIPNS", given[:4], f"/ipns/{given}/root2/", status=302, headers=head)

    def listed(body):
        assert b"Index of" in body
        assert b"root3" in body

    function, name = "TestGatewayIPNSRecordWithSubpath", world.inner_name
    yield Case(function, "listing", f"/ipns/{name}/", body=listed)
    yield Case(function, "file", f"/ipns/{name}/root3/root4/index.html", body=HELLO)


def tar(world):
    """TestTar."""

    def holding(member):
        def check(body):
            with tarfile.open(fileobj=io.BytesIO(body)) as opened:
                assert opened.extractfile(member).read() == UTF8_TEXT

        return check

    head = {
        "content-type": "application/x-tar", "content-disposition": has("attachment;"), "etag": has(f'W/"{world.text}.x-tar'),
    }  # fmt: skip
    body = holding(str(world.text))
    yield Case("TestTar", "file", f"/ipfs/{world.text}?format=tar", headers=head, body=body)
    sent = {"Accept": "application/x-tar"}
    yield Case("TestTar", "by Accept", f"/ipfs/{world.text}", send=sent, headers=head, body=body)
    body = holding(f"{world.root}/ą/ę/file-źł.txt")
    yield Case("TestTar", "directory", f"/ipfs/{world.root}?format=tar", body=body)
    named = "attachment; filename=\"test____.tar\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.tar"
    path = f"/ipfs/{world.root}?format=tar&filename=test%D1%82%D0%B5%D1%81%D1%82.tar"
    yield Case("TestTar", "filename", path, headers={"content-disposition": named})


# Over the public fixtures


def raw_blocks(car):
    """TestGatewayBlock, TestGatewayBlockMultiRangeRequest."""
    function, root = "TestGatewayBlock", car.root
    folder, file = car.all[car.way("dir")[-1]], car.all[car.way("dir", "ascii.txt")[-1]]
    raw = {"Accept": RAW_TYPE}
    yield Case(function, "format=raw", f"/ipfs/{root}/dir?format=raw", body=folder)
    yield Case(function, "Accept", f"/ipfs/{root}/dir", send=raw, body=folder)
    head = {"content-type": RAW_TYPE, "content-range": f"bytes 6-16/{len(folder)}"}
    sent = raw | {"Range": "bytes=6-16"}
    yield Case(function, "range", f"/ipfs/{root}/dir", send=sent, status=206, headers=head, body=folder[6:17])
    at = f"/ipfs/{root}/dir/ascii.txt"
    head = {
        "content-type": RAW_TYPE, "content-length": str(len(file)), "content-disposition": has("attachment;"),
        "x-content-type-options": "nosniff",
    }  # fmt: skip
    yield Case(function, "headers", at, send=raw, headers=head, body=file)
    head = {"content-disposition": 'attachment; filename="foobar.bin"'}
    yield Case(function, "filename", f"{at}?filename=foobar.bin", send=raw, headers=head)
    head = {"etag": re.compile("."), "x-ipfs-path": at, "x-ipfs-roots": has(root), "cache-control": IMMUTABLE}
    yield Case(function, "caching", at, send=raw, headers=head)
    function, sent = "TestGatewayBlockMultiRangeRequest", raw | {"Range": "bytes=6-16,0-4"}
    yield Case(function, "several ranges", at, send=sent, status=206, headers={"content-type": RAW_TYPE})
    head = {"content-type": RAW_TYPE, "content-range": f"bytes 6-16/{len(file)}"}
    yield Case(function, "the first of several", at, send=sent, status=206, headers=head, body=file[6:17])


def missing_blocks(car):
    """TestGatewayUnixFSFileRanges, over a file that lacks a block."""
    for name, span in (("after", "997-1000"), ("before", "2200-2201")):
        head = {"content-range": f"bytes {span}/3072"}
        sent = {"Range": f"bytes={span}"}
        function = "TestGatewayUnixFSFileRanges"
        yield Case(function, f"a block is missing {name}", f"/ipfs/{car.root}", send=sent, status=206, headers=head)


def records(fixtures):
    """TestGatewayIPNSPath, of those records that verify: each leads to a CID that holds its bytes."""
    for name, ending in (("V1 is wrong, V2 right", "v1-v2-broken-signature-v1"), ("V1 and V2", "v1-v2"), ("V2", "v2")):
        path = next(fixtures.glob(f"*_{ending}.ipns-record"))
        value = value_of(path.read_bytes()).removeprefix("/ipfs/")
        key = path.name.partition("_")[0]
        yield Case("TestGatewayIPNSPath", name, f"/ipns/{key}", body=PublicCID.parse(value).inline)
