"""The cases of the public suite for trustless gateways, over its fixtures, asked of a real `wherry serve` (specs/0033 §10).

What must come back is worked out here by plain code that looks for names, and knows nothing of the gateway's own walk.
"""

from __future__ import annotations

import asyncio
import re

import pytest
from gateways import CAR_TYPE, RAW_TYPE, RECORD_TYPE, Fixture, ask, car_cids, fixtures

from wherry.block import Block
from wherry.publiccid import PublicCID
from wherry.store.store import Store

pytestmark = pytest.mark.integration

CHUNKS = [
    "bafkreie5noke3mb7hqxukzcy73nl23k6lxszxi5w3dtmuwz62wnvkpsscm",
    "bafkreih4ephajybraj6wnxsbwjwa77fukurtpl7oj7t7pfq545duhot7cq",
    "bafkreigu7buvm3cfunb35766dn7tmqyh2um62zcio63en2btvxuybgcpue",
    "bafkreicll3huefkc3qnrzeony7zcfo7cr3nbx64hnxrqzsixpceg332fhe",
    "bafkreifst3pqztuvj57lycamoi7z34b4emf7gawxs74nwrc2c7jncmpaqm",
]
INLINE = "bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa"


@pytest.fixture(scope="module")
def cars():
    found = {path.stem: Fixture(path) for path in sorted(fixtures().glob("*.car"))}
    assert len(found) == 7
    return found


@pytest.fixture
def address(cars, home, wherry, start, tmp_path):
    (tmp_path / "hello").write_bytes(b"hello")
    wherry("add", tmp_path / "hello")
    path = record_file()
    wherry("name", "import", path.name.partition("_")[0], path)
    store = Store(home, None)
    try:
        for car in cars.values():
            store.nodes.put_many([Block(cid, data) for cid, data in car.blocks.items()])
    finally:
        store.close()
    process = start("serve", tmp_path / "hello", "--listen", "http://127.0.0.1:0", "--json")
    return process.said()["listen"][0]


def record_file():
    return next(fixtures().glob("*_v1-v2.ipns-record"))


def cases(cars):
    """All cases that ask for a CAR in both ways: name, path, parameters, expected CIDs, whether their order counts."""
    single, hamt = cars["subdir-with-two-single-block-files"], cars["single-layer-hamt-with-multi-block-files"]
    mixed, cbor = cars["subdir-with-mixed-block-files"], cars["dir-with-dag-cbor-with-links"]
    missing = cars["file-3k-and-3-blocks-missing-block"]
    document = cbor.way("document")[-1]
    multi = mixed.way("subdir", "multiblock.txt")
    entity = "dag-scope=entity"
    yield "path: directory", f"{single.root}/subdir/ascii.txt", "", single.way("subdir", "ascii.txt"), True
    far = hamt.way("685.txt")
    yield "path: HAMT", f"{hamt.root}/685.txt", "", [*far, *hamt.below(far[-1])], True
    yield "path: DAG-CBOR", f"{document}/files/single", "", [document, cbor_single(cbor, document)], True
    yield "block: directory", f"{single.root}/subdir", "dag-scope=block", single.way("subdir"), True
    yield "block: file", f"{single.root}/subdir/ascii.txt", "dag-scope=block", single.way("subdir", "ascii.txt"), True
    yield "block: file in HAMT", f"{hamt.root}/1.txt", "dag-scope=block", hamt.way("1.txt"), True
    yield "entity: directory", single.root, entity, [single.root], True
    yield "entity: HAMT", hamt.root, entity, [hamt.root, *hamt.shards(hamt.root)], True
    yield "entity: file", f"{mixed.root}/subdir/ascii.txt", entity, mixed.way("subdir", "ascii.txt"), True
    yield "entity: chunked file", f"{mixed.root}/subdir/multiblock.txt", entity, [*multi, *mixed.below(multi[-1])], True
    yield "entity: DAG-CBOR", f"{cbor.root}/document", entity, [cbor.root, document], True
    sub = mixed.way("subdir")
    yield "all: directory", f"{mixed.root}/subdir", "dag-scope=all", [*sub, *mixed.below(sub[-1])], True
    yield "all: chunked file", f"{mixed.root}/subdir/multiblock.txt", "dag-scope=all", [*multi, *mixed.below(multi[-1])], True
    for name, span, expected in (
        ("block missing after", "0:1000", "QmPKt7ptM2ZYSGPUc8PmPT2VBkLDK3iqpG9TBJY7PCE9rF"),
        ("block missing before", "2200:*", "QmWXY482zQdwecnfBsj78poUUuPXvyw2JAFAEMw4tzTavV"),
    ):
        yield f"bytes: {name}", missing.root, f"{entity}&entity-bytes={span}", [missing.root, expected], False
    full = f"{mixed.root}/subdir/multiblock.txt"
    yield "bytes: whole file", full, f"{entity}&entity-bytes=0:*", [*multi, *mixed.below(multi[-1])], True
    yield "bytes: directory", hamt.root, f"{entity}&entity-bytes=0:*", [hamt.root, *hamt.shards(hamt.root)], True
    for span, first, last in (
        ("512:*", 2, 5), ("512:1023", 2, 4), ("512:-256", 2, 4), ("-5:*", 3, 5), ("-9999:*", 0, 5), ("-9999:-3", 0, 4),
        ("0:0", 0, 1),
    ):  # fmt: skip
        yield f"bytes: {span}", multi[-1], f"{entity}&entity-bytes={span}", [multi[-1], *CHUNKS[first:last]], True


def cbor_single(cbor, document):
    """The link at files/single of the document, found by its bytes."""
    data = cbor.all[document]
    at = data.index(b"\x66single")
    return str(PublicCID.read(data, data.index(b"\xd8\x2a", at) + 5)[0])


def in_car(answer, expected, *, ordered):
    assert answer.status == 200
    assert answer.whole
    found = car_cids(answer.body)
    assert (found == expected) if ordered else (sorted(found) == sorted(expected))


def headers_of_car(headers, tags):
    assert headers["content-type"].split(";")[0] == CAR_TYPE
    assert {part.strip() for part in headers["content-type"].split(";")[1:]} == {"version=1", "order=dfs", "dups=n"}
    assert re.fullmatch(r'attachment; filename="[^"]+\.car"', headers["content-disposition"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["accept-ranges"] == "none"
    assert headers["etag"]
    tags.append(headers["etag"])


async def test_every_case_of_a_car_is_answered(cars, address):
    count, tags = 0, []
    for name, path, query, expected, ordered in cases(cars):
        for format_query, accept in (("format=car", {}), ("", {"Accept": CAR_TYPE})):
            asked = f"/ipfs/{path}?{format_query}&{query}".replace("?&", "?").rstrip("?&")
            answer = await ask(address, asked, **accept)
            try:
                in_car(answer, expected, ordered=ordered)
                headers_of_car(answer.headers, tags)
            except AssertionError as problem:
                raise AssertionError(f"{name} ({asked})") from problem
            count += 1
    assert count == 2 * 24
    assert len(set(tags)) == 24  # each way of asking has an entity tag of its own, whether asked by query or by Accept

    single = cars["subdir-with-two-single-block-files"].root
    for query, accept in (("?format=car", {}), ("", {"Accept": CAR_TYPE})):
        assert (await ask(address, f"/ipfs/{single}/subdir/i-do-not-exist{query}", **accept)).status == 404


async def test_every_case_of_order_and_duplicates_is_answered(cars, address):
    car = cars["dir-with-duplicate-files"]
    path = f"/ipfs/{car.root}"
    ascii_, copy, hello, multi = [car.way(name)[-1] for name in ("ascii.txt", "ascii-copy.txt", "hello.txt", "multiblock.txt")]
    assert ascii_ == copy
    twice = [car.root, ascii_, ascii_, hello, multi, *CHUNKS]
    once = [car.root, ascii_, hello, multi, *CHUNKS]
    for query, accept, expected, dups in (
        ("", f"{CAR_TYPE}; version=1; order=dfs; dups=y", twice, "y"),
        ("", f"{CAR_TYPE}; version=1; order=dfs; dups=n", once, "n"),
        ("", f"{CAR_TYPE}; version=1; order=unk", once, "n"),
        ("?format=car", f"{CAR_TYPE}; version=1; order=dfs; dups=y", twice, "y"),
        ("?format=car&car-dups=n", f"{CAR_TYPE}; version=1; order=dfs; dups=y", once, "n"),
        ("?car-order=dfs&car-dups=y", f"{CAR_TYPE};order=unk;dups=n", twice, "y"),
    ):
        answer = await ask(address, path + query, Accept=accept)
        in_car(answer, expected, ordered=True)
        assert f"dups={dups}" in answer.headers["content-type"]
        assert "order=dfs" in answer.headers["content-type"]
    answer = await ask(address, f"/ipfs/{INLINE}", Accept=f"{CAR_TYPE}; dups=y")
    in_car(answer, [], ordered=True)
    # The query wins over Accept, whatever each of them says.
    assert (await ask(address, f"{path}?format=car", Accept=RAW_TYPE)).headers["content-type"].startswith(CAR_TYPE)
    assert (await ask(address, f"{path}?format=raw", Accept=CAR_TYPE)).headers["content-type"] == RAW_TYPE


async def test_every_case_of_a_raw_block_is_answered(cars, address):
    car = cars["gateway-raw-block"]
    folder, file = car.way("dir")[-1], car.way("dir", "ascii.txt")[-1]
    assert (await ask(address, f"/ipfs/{folder}?format=raw")).body == car.all[folder]
    assert (await ask(address, f"/ipfs/{folder}", Accept=RAW_TYPE)).body == car.all[folder]
    answer = await ask(address, f"/ipfs/{file}", Accept=RAW_TYPE)
    assert (answer.status, answer.body) == (200, car.all[file])
    assert answer.headers["content-type"] == RAW_TYPE
    assert answer.headers["content-length"] == str(len(car.all[file]))
    assert answer.headers["content-disposition"] == f'attachment; filename="{file}.bin"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["etag"] == f'"{file}.raw"'
    assert answer.headers["x-ipfs-path"] == f"/ipfs/{file}"
    assert file in answer.headers["x-ipfs-roots"]
    assert answer.headers["cache-control"] == "public, max-age=29030400, immutable"
    assert answer.headers["content-location"] == f"/ipfs/{file}?format=raw"
    named = await ask(address, f"/ipfs/{file}?filename=foobar.bin", Accept=RAW_TYPE)
    assert named.headers["content-disposition"] == 'attachment; filename="foobar.bin"'
    part = await ask(address, f"/ipfs/{file}?format=raw", Range="bytes=7-9")
    assert (part.status, part.body) == (206, car.all[file][7:10])
    assert part.headers["content-range"] == f"bytes 7-9/{len(car.all[file])}"
    several = await ask(address, f"/ipfs/{file}?format=raw", Range="bytes=7-9,1-3")
    assert (several.status, several.body) == (206, car.all[file][7:10])


async def test_a_file_with_missing_blocks_is_cut_off_after_its_head(cars, address):
    car = cars["file-3k-and-3-blocks-missing-block"]
    for path in (f"/ipfs/{car.root}?format=car", f"/ipfs/{car.root}?format=car&entity-bytes=0:*"):
        answer = await ask(address, path)
        assert answer.status == 200
        assert not answer.whole
    for number in range(3):  # and the server goes on
        answers = await asyncio.gather(*[ask(address, f"/ipfs/{car.root}?format=raw") for _ in range(4)])
        assert {answer.status for answer in answers} == {200}, number


async def test_every_case_of_a_record_is_answered(address):
    path = record_file()
    name, record = path.name.partition("_")[0], path.read_bytes()
    for query, accept in (("?format=ipns-record", {}), ("", {"Accept": RECORD_TYPE})):
        answer = await ask(address, f"/ipns/{name}{query}", **accept)
        assert (answer.status, answer.body) == (200, record)
        assert answer.headers["content-type"] == RECORD_TYPE
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}.ipns-record"'
        assert answer.headers["cache-control"] == "public, max-age=1800"
    named = await ask(address, f"/ipns/{name}?format=ipns-record&filename=test%D1%82%D0%B5%D1%81%D1%82.ipns-record")
    expected = "attachment; filename=\"test____.ipns-record\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.ipns-record"
    assert named.headers["content-disposition"] == expected
