"""What the tests of `cache warm` share: files of many sizes, and homes with a cache on the disk."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager

from getting import MIB

from wherry.session import Session


def some_files():
    rng = random.Random(7)
    return {
        "large.bin": rng.randbytes(9 * MIB + 5),
        "text/a.txt": b"many words " * 300_000,
        "text/same.txt": b"many words " * 300_000,
        "zeros": bytes(3 * MIB),
        "empty": b"",
        **{f"small/{number:03}": rng.randbytes(rng.randint(1, 5000)) for number in range(200)},
    }


def files_of(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@asynccontextmanager
async def node(world, name="b", **overrides):
    options = {"cache.use": "disk", **overrides}
    async with Session.open(home=world.base / f"home-{name}", environ={}, overrides=options) as session:
        session._wiring.transport = world.transport
        yield session
