"""What tests of coded transfers share: codings as a node has them, and files that shrink."""

from __future__ import annotations

from wherry.abc.transport import Want
from wherry.cid import CID, RAW
from wherry.coding import Codings, Form
from wherry.testing.compressor import text
from wherry.testing.leaves import Leaf
from wherry_compress.lz4 import Lz4Compressor
from wherry_compress.options import Lz4Options, ZstdOptions
from wherry_compress.zstd import ZstdCompressor

MADE = {"zstd": lambda: ZstdCompressor(ZstdOptions()), "lz4": lambda: Lz4Compressor(Lz4Options())}


def codings_of(*names):
    """What a node has that prefers the first of these, as `Env.codings` gives it."""
    codings = Codings(names[0], lambda name: MADE[name](), [Form(name, name) for name in names])
    return lambda: codings


def text_file(path, *sizes):
    """Leaves that shrink, no two alike."""
    leaves, offset = [], 0
    for number, size in enumerate(sizes):
        data = text(size, seed=f"{path}/{number}")
        leaves.append(Leaf(Want(CID.of(RAW, data), size, path, offset), data))
        offset += size
    return leaves
