"""The file transport keeps the contract of transports that cannot listen: for a plain copy, and for another home."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing

from wherry.store.index import FileRecord, LeafRow, Signature
from wherry.store.store import Store
from wherry.testing.source import SourceContract
from wherry_file.transport import FileTransport


def write(folder, files):
    for path, leaves in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"".join(leaf.data for leaf in leaves))


class TestCopy(SourceContract):
    plugin_module = "wherry_file.plugin"
    heavy = ("aiohttp", "sqlite3")

    def make_transport(self):
        return FileTransport()

    @asynccontextmanager
    async def offering(self, folder, files):
        write(folder, files)
        yield f"file://{folder}"


class TestHome(SourceContract):
    def make_transport(self):
        return FileTransport()

    @asynccontextmanager
    async def offering(self, folder, files):
        data, home = folder / "data", folder / "home"
        home.mkdir()
        (home / "FORMAT").write_text("wherry-home 1\n")
        write(data, files)
        with closing(Store(home, None)) as store:
            for path, leaves in files.items():
                signature = Signature.of((data / path).stat())
                rows = [LeafRow(leaf.want.cid.digest, leaf.want.offset, leaf.want.size) for leaf in leaves]
                store.index.record([FileRecord(str(data / path), signature, None, "1MiB", rows)])
        yield f"file://{home}"
