"""Encrypted datasets between real processes over real sockets: who has a key reads, and nobody else learns anything."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from wherry.sealing.ring import KeyRing
from wherry.testing.loop import running
from wherry.units import MiB
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

LINE = b"the plain line that nobody else may read, "
NAMES = ["salaries-of-the-board", "merger-plan.txt", "where-the-plan-leads"]  # a folder, a file, a link
WHERRY = [sys.executable, "-m", "wherry_cli"]
LISTEN = ("--listen", "http://127.0.0.1:0", "--json")
ALL_SAID = ("-v", "-v", "--progress", "plain")


@pytest.fixture
def private(tmp_path):
    """A tree whose words and names are easily found again."""
    root = tmp_path / "board-papers"
    (root / NAMES[0]).mkdir(parents=True)
    (root / NAMES[0] / NAMES[1]).write_bytes(LINE * 100)
    (root / NAMES[2]).symlink_to(f"{NAMES[0]}/{NAMES[1]}")
    (root / "long").write_bytes(random.Random(3).randbytes(5 * MiB) + LINE * 50_000)
    (root / "empty").touch()
    (root / "run").write_bytes(b"#!/bin/sh\n" + LINE)
    (root / "run").chmod(0o755)
    return root


class People:
    """People with homes of their own, by name; the home of A has a key domain ``team``."""

    def __init__(self, tmp_path, wherry, start):
        self._folder, self._wherry, self._start = tmp_path, wherry, start
        self.run("a", "keys", "new", "team")

    def home(self, who):
        return self._folder / f"home-{who}"

    def run(self, who, *words, code=0, **options):
        return self._wherry(*words, "--home", self.home(who), code=code, **options)

    def json(self, who, *words):
        return json.loads(self.run(who, *words, "--json").stdout)

    def start(self, who, *words):
        return self._start(*words, "--home", self.home(who))

    def serve(self, who, *words):
        """Starts ``words``, by default `serve`; gives the process and what it said."""
        process = self.start(who, *(words or ("serve",)), *LISTEN)
        return process, process.said()

    def get(self, who, said, target, *words, code=0):
        source = ("--from", said["listen"][0])
        return self.run(who, "get", said["cid"], *source, "-o", target, *words, code=code)

    def give_key(self, one, other):
        export = self.run(one, "keys", "export", "team", "--plain").stdout
        self.run(other, "keys", "import", "team", "-", input=export)


@pytest.fixture
def people(tmp_path, wherry, start):
    return People(tmp_path, wherry, start)


def snapshot(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Who has the key


def test_a_key_that_is_handed_over_behind_a_passphrase_opens_what_is_shared(people, private, tmp_path):
    _, said = people.serve("a", "share", private, "--encrypt", "team")
    secret, export = tmp_path / "passphrase", tmp_path / "team.export"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    passphrase = ("--passphrase-file", secret)
    people.run("a", "keys", "export", "team", "-o", export, *passphrase)
    assert export.stat().st_mode & 0o777 == 0o600
    people.run("b", "keys", "import", "team", export, *passphrase)
    people.get("b", said, tmp_path / "closed", code=12)  # locked, and nobody is there to be asked
    environ = {**os.environ, "WHERRY_PASSPHRASE_FILE": str(secret)}
    cid, source = said["cid"], ("--from", said["listen"][0])
    copy = tmp_path / "copy"

    def run(*words):
        line = [*WHERRY, *map(str, words), "--home", str(people.home("b"))]
        return subprocess.run(line, capture_output=True, env=environ, check=True, timeout=100).stdout

    assert json.loads(run("get", cid, *source, "-o", copy, "--json"))["bytes"] == said["bytes"]
    assert list(compare(private, copy)) == []
    assert json.loads(run("get", cid, *source, "-o", copy, "--json"))["fetched_bytes"] == 0
    assert run("cat", f"{cid}/{NAMES[0]}/{NAMES[1]}", *source) == LINE * 100
    piece = run("cat", f"{cid}/long", "--offset", 5 * MiB - 3, "--length", 10, *source)
    assert piece == (private / "long").read_bytes()[5 * MiB - 3 :][:10]
    listed = json.loads(run("ls", cid, "--json", *source))["entries"]
    assert {entry["name"] for entry in listed} == set(os.listdir(private))
    assert json.loads(run("stat", cid, "--json", *source))["encrypted"].startswith("xchacha20poly1305/")
    run("verify", cid, copy, *source)


def test_a_grant_opens_for_one_home_and_not_for_the_next(people, private, tmp_path):
    process, said = people.serve("a", "share", private, "--encrypt", "team")
    texts = {who: people.json(who, "keys", "new", "me", "--kind", "identity")["recipient"] for who in ("b", "c")}
    # The process that serves finds the new header, which another process makes.
    said["cid"] = people.json("a", "grant", said["cid"], "--to", texts["b"])["cid"]
    people.get("b", said, tmp_path / "copy")
    assert list(compare(private, tmp_path / "copy")) == []
    assert b"no key of this home opens it" in people.get("c", said, tmp_path / "closed", code=12).stderr
    assert not (tmp_path / "closed").exists()
    assert process.stop(signal.SIGTERM)[0] == 0
    # B has it now, and serves it on: sealed, to who may open it.
    granted = people.json("b", "grant", said["cid"], "--to", texts["c"])["cid"]
    _, served = people.serve("b")
    people.get("c", {**served, "cid": granted}, tmp_path / "at-last")
    assert list(compare(private, tmp_path / "at-last")) == []


def test_a_dataset_for_a_recipient_needs_no_key_at_its_publisher(people, private, tmp_path):
    person = people.json("b", "keys", "new", "me", "--kind", "identity")["recipient"]
    _, said = people.serve("d", "share", private, "--to", person, "--random-keys")
    people.get("b", said, tmp_path / "copy")
    assert list(compare(private, tmp_path / "copy")) == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Packages of this environment: sources, data, shared objects; as they lie, but for what runs meanwhile compile."""
    root = tmp_path_factory.mktemp("environment") / "site-packages"
    for name in ("typer", "_pytest", "aiohttp", "nacl", "hypothesis"):
        shutil.copytree(Path(find_spec(name).origin).parent, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert sum(1 for path in root.rglob("*") if path.is_file()) > 300
    return root


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--random-keys", "--pad"), ("--compress",)], ids=["domain", "random, padded", "coded"])
def test_an_installed_environment_is_the_same_byte_for_byte(people, installed, tmp_path, how):
    _, said = people.serve("a", "share", installed, "--encrypt", "team", *how)
    people.give_key("a", "b")
    people.get("b", said, tmp_path / "copy")
    assert list(compare(installed, tmp_path / "copy")) == []


# Who has not


def damaged(armored):
    """The same key file with one digit in the middle of its body changed, whatever digits it has."""
    lines = armored.split(b"\n")
    body = lines[len(lines) // 2]
    lines[len(lines) // 2] = (b"B" if body[:1] == b"A" else b"A") + body[1:]
    return b"\n".join(lines)


@pytest.mark.parametrize("lost", ["never had one", "has another", "took it out", "has a damaged one"])
def test_without_the_key_it_ends_with_12_and_nothing_is_written(people, private, tmp_path, lost):
    _, said = people.serve("a", "share", private, "--encrypt", "team")
    if lost == "has another":
        people.run("b", "keys", "new", "team")
    elif lost != "never had one":
        people.give_key("a", "b")
        path = people.home("b") / "keys/team.key"
        if lost == "took it out":
            people.run("b", "keys", "delete", "team", "--yes")
        else:
            path.write_bytes(damaged(path.read_bytes()))
    before = snapshot(tmp_path)
    for words in (("get", said["cid"], "-o", tmp_path / "copy"), ("ls", said["cid"]), ("cat", f"{said['cid']}/long")):
        done = people.run("b", *words, "--from", said["listen"][0], code=12)
        assert done.stdout == b""
        assert b"this dataset is encrypted, and no key of this home opens it" in done.stderr
        assert b"hint: import its key (`wherry keys import`)" in done.stderr
        assert b"Traceback" not in done.stderr
    new = set(snapshot(tmp_path)) - set(before)
    assert {Path(name).parts[0] for name in new} <= {"home-b"}
    assert not any("part" in name for name in new)


def secrets_of(home):
    """What of the keys of a home must be nowhere else: raw, and as text would have them."""
    domain = KeyRing(home).domain("team")
    found = [domain.content, *(wrap.key for wrap in domain.wraps)]
    forms = [(key, key.hex().encode(), base64.b64encode(key)[:40], repr(key)[2:-1].encode()) for key in found]
    return [form for some in forms for form in some]


def words_of(private):
    """Plain text and names that must not be told; pieces, as they may be cut anywhere."""
    return [LINE[:16], LINE[-20:-4], private.name.encode(), *(name.encode() for name in NAMES), b"merger", b"salaries"]


def files_of(home):
    return [(path, path.read_bytes()) for path in home.rglob("*") if path.is_file()]


def found_in(data, words):
    return [word for word in words if word in data]


@asynccontextmanager
async def tapped(port):
    """Passes connections on to ``port``, and keeps a copy of every byte; gives its own port and the copy."""
    copy = bytearray()

    async def passing(reader, writer):
        while data := await reader.read(65536):
            copy.extend(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def accept(reader, writer):
        there, away = await asyncio.open_connection("127.0.0.1", port)
        ways = [asyncio.ensure_future(passing(reader, away)), asyncio.ensure_future(passing(there, writer))]
        try:
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            away.close()
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], copy
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("how", [(), ("--random-keys",), ("--pad",), ("--compress",)], ids=lambda how: "".join(how) or "domain")
def test_canaries_are_nowhere(people, private, tmp_path, how):
    """Of words, names and keys nothing is on the wire, in what a stranger keeps, or in anything that is said."""
    server, said = people.serve("a", "share", private, "--encrypt", "team", *how, *ALL_SAID)
    people.give_key("a", "b")
    words, keys = words_of(private), secrets_of(people.home("a"))
    with running(tapped(int(said["listen"][0].rpartition(":")[2]))) as (port, wire):
        said["listen"] = [f"http://127.0.0.1:{port}"]
        outputs = [people.get("stranger", said, tmp_path / "x", *ALL_SAID, code=12)]
        outputs += [people.run("stranger", "ls", said["cid"], "--from", *said["listen"], *ALL_SAID, code=12)]
        mine = people.get("b", said, tmp_path / "copy", *ALL_SAID)
    assert list(compare(private, tmp_path / "copy")) == []
    assert len(wire) > 5 * MiB  # or the tap heard nothing: so much of it no compressor makes smaller
    assert found_in(wire, words + keys) == []
    for done in outputs:
        assert found_in(done.stdout + done.stderr, words + keys) == []
    assert found_in(mine.stdout + mine.stderr, keys) == []  # names are told to who has the key
    code, complaints = server.stop(signal.SIGTERM)
    assert code == 0
    assert found_in(complaints.encode(), keys) == []
    for path, data in files_of(people.home("stranger")):
        assert found_in(data, words + keys) == [], path
    for who in "ab":  # their index names the files of their own users; what is in those is nowhere else
        for path, data in files_of(people.home(who)):
            assert path.parent.name == "keys" or found_in(data, [*words[:2], *keys]) == [], path


def test_a_relay_without_the_key_serves_what_it_cannot_read(people, private, tmp_path):
    server, said = people.serve("a", "share", private, "--encrypt", "team")
    warmed = people.start("relay", "cache", "warm", said["cid"], "--from", *said["listen"]).wait(timeout=60)
    if warmed == 12:
        pytest.skip("`cache warm` does not take an encrypted dataset without its key")
    assert warmed == 0
    people.give_key("a", "b")
    assert server.stop(signal.SIGTERM)[0] == 0
    _, relayed = people.serve("relay")
    relayed["cid"] = said["cid"]
    people.get("b", relayed, tmp_path / "copy")
    assert list(compare(private, tmp_path / "copy")) == []
    people.get("stranger", relayed, tmp_path / "closed", code=12)
    kept = files_of(people.home("relay"))
    assert sum(len(data) for _, data in kept) > 5 * MiB
    for path, data in kept:
        assert found_in(data, words_of(private) + secrets_of(people.home("a"))) == [], path


# The publisher


def test_a_publisher_whose_keys_are_away_serves_what_it_sealed(people, private, tmp_path):
    """Its records have the keys of the blocks, so they can be made again; nothing is to be said about that."""
    cid = people.json("a", "add", private, "--encrypt", "team")["cid"]
    people.home("b").mkdir()
    os.rename(people.home("a") / "keys", people.home("b") / "keys")
    server, said = people.serve("a", "serve", *ALL_SAID)
    people.get("b", {**said, "cid": cid}, tmp_path / "copy")
    assert list(compare(private, tmp_path / "copy")) == []
    code, complaints = server.stop(signal.SIGTERM)
    assert code == 0
    assert not [word for word in ("error", "warning", "nokey", "traceback") if word in complaints.lower()]
    people.run("a", "ls", cid, code=12)
