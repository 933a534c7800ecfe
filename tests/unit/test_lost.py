"""Reading what was added when its file is not as it was: what is said, where there is no source to fetch it from."""

from __future__ import annotations

import pytest

from wherry.errors import NoSource
from wherry.session import Session


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 4096 + b"a second leaf")
    return path


async def cat(session, what):
    async for _ in session.cat(what):
        pass


async def get(session, what):
    await session.get(what, output=str(session.home.parent / "got"))


async def dag_stat(session, what):
    await session.dag_stat(what)


@pytest.mark.parametrize("read", [cat, get, dag_stat])
@pytest.mark.parametrize("unixfs", [False, True])
@pytest.mark.parametrize("change", ["content", "gone"])
async def test_it_is_said_which_file_changed(home, file, read, unixfs, change):
    async with Session.open(home=home, environ={}) as session:
        added = await session.add(str(file))
        if change == "gone":
            file.unlink()
        else:
            file.write_bytes(b"other")
        said = f"cannot read '{file}': No such file" if change == "gone" else f"'{file}' has changed since it was added"
        with pytest.raises(NoSource) as caught:
            await read(session, added.unixfs_cid if unixfs else added.cid)
        assert "is no longer here (" in caught.value.message
        assert said in caught.value.message
        assert "no source is named" in caught.value.message
        assert "add it again, or give --from" in caught.value.hint


async def test_what_was_never_here_is_not_said_to_be_lost(home, file):
    async with Session.open(home=home, environ={}) as session:
        with pytest.raises(NoSource, match="is not here, and no source"):
            await cat(session, "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")


async def test_what_lies_elsewhere_too_is_not_lost(home, file, tmp_path):
    async with Session.open(home=home, environ={}) as session:
        cid = (await session.add(str(file))).cid
        (tmp_path / "copy").write_bytes(file.read_bytes())
        assert (await session.add(str(tmp_path / "copy"))).cid == cid
        file.unlink()
        await cat(session, cid)
