"""Other people's plugins that are broken, or lie: who is to blame is said, wherry lives, and no wrong byte passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from strangers import HEAD, install, plugin

from wherry_cli.demo import compare

WHERRY = [sys.executable, "-m", "wherry_cli"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def site(tmp_path, environ):
    """A folder on the path of the processes that ``wherry`` runs."""
    environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "site"), environ["PYTHONPATH"]])
    return tmp_path / "site"


@pytest.fixture
def added(wherry, tree, tmp_path):
    """The tree in a home: its CID and the address of the home."""
    done = wherry("add", tree, "--home", tmp_path / "a", "--json")
    return json.loads(done.stdout)["cid"], f"file://{tmp_path / 'a'}"


@pytest.fixture
def get(environ, added, tmp_path, tree):
    """Gets the tree into a home with that configuration; if it succeeds, every byte must be right. Gives what was said."""

    def getter(config, *words, codes=(0,)):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / "wherry.toml").write_text(config)
        target = tmp_path / "copy"
        words = ["get", added[0], "--home", tmp_path / "b", "-o", target, "--json", *words]
        done = subprocess.run([*WHERRY, *map(str, words)], capture_output=True, env=environ, check=False, timeout=100)
        assert done.returncode in codes, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        if done.returncode:
            assert not target.exists()
            return json.loads(done.stderr.splitlines()[-1])
        assert list(compare(tree, target)) == []
        return json.loads(done.stdout)

    return getter


# Broken before it is used

BROKEN = {
    "import": "import no_such_library_anywhere",
    "exits": "raise SystemExit(3)",
    "misspelt": f"{HEAD}@hookimpl\ndef wherry_register_chaches():\n    return []\n",
    "unmarked": f"{HEAD}def wherry_register_caches():\n    return []\n",
    "nonsense": f"{HEAD}@hookimpl\ndef wherry_register_caches():\n    return [5]\n",
    "raises": f"{HEAD}@hookimpl\ndef wherry_register_caches():\n    raise RuntimeError('boom')\n",
    "future": f"{HEAD}@hookimpl\ndef wherry_register_caches():\n"
    "    return [provider('acme.future', options=Options, build=print, summary='s', api=99)]\n",
    "shadow": f"{HEAD}@hookimpl\ndef wherry_register_caches():\n"
    "    return [provider('disk', options=Options, build=print, summary='s')]\n",
}


def test_what_is_broken_is_blamed_and_harms_nobody(site, wherry, get, added, tmp_path):
    for name, text in BROKEN.items():
        install(site, f"{name}-wherry", {name: f"{name}_plugin"}, {f"{name}_plugin.py": f"print('noise')\n{text}"})
    for dist in ("one-wherry", "two-wherry"):
        plugin(site, "cache", "return None", name="acme.clash", dist=dist)
    plugin(
        site, "cache", "from wherry_cache.memory import MemoryCache\nreturn MemoryCache(options.max_bytes)", dist="good-wherry"
    )
    lines = json.loads(wherry("plugins", "list", "--json").stdout)["plugins"]  # nothing that they print is in it
    causes = {line["plugin"]: line["cause"] for line in lines if line["status"] == "broken"}
    assert set(causes) == set(BROKEN)
    assert all(f"(of {name}-wherry 1.0)" in cause for name, cause in causes.items())
    assert "did you mean wherry_register_caches?" in causes["misspelt"]
    assert "upgrade wherry" in causes["future"]
    assert {line["distribution"] for line in lines if line["status"] == "clash"} == {"one-wherry", "two-wherry"}
    (tmp_path / "clash.toml").write_text('[cache]\nuse = "acme.clash"\n')
    said = wherry("config", "check", "--config", tmp_path / "clash.toml", code=3).stderr.decode()
    assert "'acme.clash' is claimed by one_wherry.plugin (of one-wherry) and two_wherry.plugin (of two-wherry)" in said
    get('[cache]\nuse = "acme.own"\n', "--from", added[1])


BUILDS = {
    "raises": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "lacks a library": ("import no_such_library_anywhere", "no_such_library_anywhere"),
    "builds something else": ("return 'a string'", "which is no Transport"),
}


@pytest.mark.parametrize("what", BUILDS)
def test_what_cannot_be_built_ends_with_a_blame(site, get, added, what):
    build, says = BUILDS[what]
    plugin(site, "transport", build)
    said = get('[transport]\nuse = ["acme.own", "file"]\n', "--from", "acme://somewhere", codes=(4,))
    assert says in said["message"]
    assert "(of acme-wherry 1.0)" in said["message"]


# Transports that lie

TRANSPORT = """
from contextlib import aclosing, asynccontextmanager
from wherry.abc.transport import Arrival, Channel, Laid, Lender, Transport
from wherry_file.transport import FileTransport

class Later(Lender):
    def __init__(self, inner):
        self.inner = inner
    async def lend(self):
        return await self.inner.lend()
    def settle(self, arrival):
        pass  # not before it is bent

class Way(Channel):
    parallel = 2
    def __init__(self, channel):
        self.channel = channel
    async def fetch(self, wants, lender):
        async with aclosing(self.channel.fetch(wants, Later(lender))) as arrivals:
            async for arrival in arrivals:
                async for one in self.bend(arrival, wants, lender):
                    yield one

class Bent(Transport):
    schemes = frozenset({"acme"})
    @asynccontextmanager
    async def connect(self, address):
        async with FileTransport().connect("file" + address.removeprefix("acme")) as channel:
            yield MyWay(channel)
"""

BENDS = {
    "other bytes": """
        for laid in arrival.blocks:
            arrival.buffer.view[laid.start] ^= 1
        arrival.settled = False
        yield arrival
    """,
    "claims to have settled": """
        arrival.settled = True
        arrival.blocks = [Laid(n, 16384, 16384 + (want.size or 0)) for n, want in enumerate(wants)]
        arrival.missing = ()
        yield arrival
    """,
    "wants that were not asked for": """
        arrival.blocks = [*arrival.blocks, Laid(len(wants) + 7, 16384, 16385)]
        yield arrival
    """,
    "outside of its buffer": """
        arrival.blocks = [Laid(laid.want, 0, 1 << 40) for laid in arrival.blocks]
        arrival.settled = False
        yield arrival
    """,
    "texts for numbers": """
        arrival.blocks = [Laid("a", "b", "c")]
        arrival.settled = False
        yield arrival
    """,
    "no arrival": """
        if arrival.buffer is not None:
            arrival.buffer.release()
        yield None
    """,
    "a library's error": """
        if arrival.buffer is not None:
            arrival.buffer.release()
        raise ValueError("of a library")
        yield
    """,
    "all is missing": """
        arrival.blocks = ()
        arrival.missing = list(range(len(wants)))
        arrival.settled = False
        yield arrival
    """,
    "nothing at all": """
        if arrival.buffer is not None:
            arrival.buffer.release()
        return
        yield
    """,
    "everything twice": """
        arrival.settled = False
        yield arrival
        yield arrival
    """,
}


def bent(site, what):
    body = "".join(f"        {line.strip() and line[8:]}\n" for line in BENDS[what].strip("\n").splitlines())
    way = f"{TRANSPORT}\nclass MyWay(Way):\n    async def bend(self, arrival, wants, lender):\n{body}"
    plugin(site, "transport", "from acme_wherry.way import Bent\nreturn Bent()")
    (site / "acme_wherry" / "way.py").write_text(way)


@pytest.mark.parametrize("what", BENDS)
def test_a_transport_that_lies_beside_one_that_does_not(site, get, added, what):
    bent(site, what)
    liar = "acme" + added[1].removeprefix("file")
    get('[transport]\nuse = ["acme.own", "file"]\n', "--from", liar, "--from", added[1])


@pytest.mark.parametrize("what", [what for what in BENDS if what != "everything twice"])  # which is right once
def test_a_transport_that_lies_alone(site, get, added, what):
    """The run ends, with a typed error that names the peer, or its plugin."""
    bent(site, what)
    liar = "acme" + added[1].removeprefix("file")
    said = get('[transport]\nuse = ["acme.own"]\n[get]\nwait = "1s"\n', "--from", liar, codes=(4, 5, 6, 7))
    assert liar in said["message"] + str(said["hint"])


# Caches that lie

CACHES = {
    "gives other bytes": """
        def get_many(self, cids):
            return [kept and kept._replace(data=b"x" * len(kept.data)) for kept in super().get_many(cids)]
    """,
    "gives too few": """
        def get_many(self, cids):
            return super().get_many(cids)[:-1]
    """,
    "gives nonsense": """
        def get_many(self, cids):
            return [5 for cid in cids]
    """,
    "tells wrong sizes": """
        def sizes(self, cids):
            return [1 << 40 for cid in cids]
    """,
    "has everything": """
        def sizes(self, cids):
            return [1000 for cid in cids]
    """,
    "raises when read": """
        def get_many(self, cids):
            raise RuntimeError("boom")
        def sizes(self, cids):
            raise RuntimeError("boom")
    """,
    "raises when written": """
        def put_many(self, blocks):
            raise RuntimeError("boom")
    """,
    "says a coding that nobody knows": """
        def get_many(self, cids):
            return [kept and kept._replace(coding="nobody.knows") for kept in super().get_many(cids)]
    """,
}


def bad_cache(site, what):
    more = f"from wherry_cache.disk import DiskCache\n\nclass Bad(DiskCache):\n{BODY(CACHES[what])}"
    plugin(site, "cache", "from acme_wherry.bad import Bad\nreturn Bad(env.home / 'acme', options.max_bytes)")
    (site / "acme_wherry" / "bad.py").write_text(more)


def BODY(text):  # noqa: N802 - it stands for a piece of text
    return "".join(f"    {line[8:]}\n" for line in text.strip("\n").splitlines())


@pytest.mark.parametrize("what", CACHES)
def test_a_cache_that_lies(site, get, added, wherry, tmp_path, what):  # noqa: PLR0917 - fixtures, not arguments
    """Blocks are got into it (``cat`` keeps what it fetched there), and then wanted from it."""
    bad_cache(site, what)
    config = '[cache]\nuse = "acme.own"\n'
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "wherry.toml").write_text(config)
    for _ in range(2):
        done = wherry("cat", f"{added[0]}/data/large.bin", "--home", tmp_path / "b", "--from", added[1])
        assert done.stdout == (tmp_path / "tree" / "data" / "large.bin").read_bytes()
    get(config, "--from", added[1])


# Others that lie

LIARS = {
    "compressor": (
        "return Liar()",
        """
            from wherry.abc.compressor import Compressor
            class Liar(Compressor):
                levels = (1,)
                def compress(self, data, *, level=None):
                    return b"short"
                def decompress_into(self, coded, view):
                    view[:] = bytes(len(view))
        """,
    ),
    "compressor that raises": (
        "return Liar()",
        """
            from wherry.abc.compressor import Compressor
            class Liar(Compressor):
                levels = (1,)
                def compress(self, data, *, level=None):
                    raise RuntimeError("boom")
                def decompress_into(self, coded, view):
                    raise RuntimeError("boom")
        """,
    ),
    "policy": (
        "return Liar()",
        """
            from wherry.abc.policy import Policy
            class Liar(Policy):
                def plan(self, view, rng):
                    return [(99, -1), "nonsense"]
        """,
    ),
    "policy that raises": (
        "return Liar()",
        """
            from wherry.abc.policy import Policy
            class Liar(Policy):
                def plan(self, view, rng):
                    raise RuntimeError("boom")
        """,
    ),
    "observer": (
        "return Liar()",
        """
            from wherry.abc.observer import Observer
            class Liar(Observer):
                def take(self, events):
                    raise RuntimeError("boom")
                def close(self):
                    raise RuntimeError("boom")
        """,
    ),
}


@pytest.mark.parametrize("what", LIARS)
def test_what_lies_costs_time_not_bytes(site, get, added, what):
    kind = what.partition(" ")[0]
    build, code = LIARS[what]
    plugin(site, kind, build, more=code)
    use = '["acme.own"]' if kind == "observer" else '"acme.own"'
    get(f"[{kind}]\nuse = {use}\n", "--from", added[1], "--from", added[1].replace("file:///", "file://localhost/"))


LOCATORS = {
    "floods": "while True: yield 'http://192.0.2.1:1'",
    "gives nonsense": "yield 5\n        yield None\n        yield 'no address'\n        yield 'x' * 10**6",
    "raises": "raise RuntimeError('boom')\n        yield",
    "is slow": "import asyncio\n        await asyncio.sleep(3600)\n        yield 'http://192.0.2.1:1'",
}


@pytest.mark.parametrize("what", LOCATORS)
def test_a_locator_that_misbehaves_beside_one_that_does_not(site, get, added, what):
    code = (
        "from wherry.abc.locator import Locator\nclass Liar(Locator):\n    reach = 'named'\n"
        f"    async def locate(self, cid):\n        {LOCATORS[what]}\n"
    )
    plugin(site, "locator", "return Liar()", more=code)
    good = "class Good(Locator):\n    reach = 'named'\n    async def locate(self, cid):\n"
    good = f"from wherry.abc.locator import Locator\n{good}        yield {added[1]!r}\n"
    plugin(site, "locator", "return Good()", more=good, name="best.own", dist="best-wherry")
    get('[locator]\nuse = ["acme.own", "best.own"]\n')


CHUNKERS = {
    "covers too little": "return [5] if data else []",
    "covers too much": "return [len(data) + 1] if data else []",
    "never ends": "return []",
    "gives nonsense": "return ['a', None]",
    "gives empty leaves": "return [0, len(data)] if data else []",
    "gives negative leaves": "return [-1, len(data) + 1] if data else []",
    "raises": "raise RuntimeError('boom')",
}


@pytest.mark.parametrize("what", CHUNKERS)
def test_a_chunker_that_does_not_cover_the_data(site, wherry, tmp_path, what):
    """Nothing is recorded of it: a CID that says other bytes than the file has would be worse than none."""
    code = "from wherry.abc.chunker import Chunker\nclass Liar(Chunker):\n    name = 'acme.own:1'\n    leaf_bytes_max = 1000\n"
    plugin(site, "chunker", "return Liar()", more=f"{code}    def cut(self, data, *, last):\n        {CHUNKERS[what]}\n")
    (tmp_path / "tree").mkdir()
    for name, size in (("one", 5000), ("two", 300_000), ("three", 5 << 20)):
        (tmp_path / "tree" / name).write_bytes(os.urandom(size))
    (tmp_path / "one.toml").write_text('[chunker]\nuse = "acme.own"\n')
    words = ["--config", tmp_path / "one.toml", "--home", tmp_path / "a", "--json"]
    said = json.loads(wherry("add", tmp_path / "tree", *words, code=4).stderr.splitlines()[-1])
    assert said["error"] in {"PluginContractError", "PluginBroken"}
    assert "acme.own" in said["message"]
