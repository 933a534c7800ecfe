"""What the contract does not ask: what the file may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from wherry.cid import CID, RAW
from wherry.errors import PeerError

from acme_api1.locator.locator import FILE_BYTES_MAX, FileLocator

CID_A, CID_B = CID.of(RAW, b"a"), CID.of(RAW, b"b")


async def located(file: Path, cid: CID) -> list[str]:
    return [address async for address in FileLocator(file).locate(cid)]


async def test_those_who_have_it_come_before_those_who_are_asked_for_everything(tmp_path: Path) -> None:
    file = tmp_path / "addresses.txt"
    file.write_text(
        f"* http://all:1   # asked for everything\n{CID_A} http://a:1\n{CID_B} http://b:1\n\nnonsense\n* http://a:1\n"
    )
    assert await located(file, CID_A) == ["http://a:1", "http://all:1"]


async def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert await located(tmp_path / "none", CID_A) == []


@pytest.mark.parametrize("data", [b"\xff\n", b"x" * (FILE_BYTES_MAX + 1)])
async def test_a_file_that_is_no_list_is_said(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "addresses.txt"
    file.write_bytes(data)
    with pytest.raises(PeerError) as caught:
        await located(file, CID_A)
    assert caught.value.peer == str(file)
