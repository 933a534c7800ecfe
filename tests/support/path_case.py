"""One case of a gateway: what is asked, and what must come back."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import cbor2
from gateways import ask

from wherry.cid import CID, RAW
from wherry.publiccid import PublicCID

IMMUTABLE = "public, max-age=29030400, immutable"
MISSING = str(PublicCID(CID.of(RAW, b"nobody has this")))


@dataclass
class Case:
    """One request and what its answer must be. Headers: a text is the whole value, a pattern is searched, None is absent."""

    function: str
    name: str
    path: str
    method: str = "GET"
    send: dict = field(default_factory=dict)
    status: int = 200
    headers: dict = field(default_factory=dict)
    body: object = None  # bytes, or a function that raises AssertionError

    async def run(self, address):
        """Asks; raises AssertionError."""
        answer = await ask(address, self.path, method=self.method, **self.send)
        assert answer.status == self.status, f"status {answer.status}, not {self.status}: {answer.body[:200]}"
        for name, expected in self.headers.items():
            value = answer.headers.get(name)
            if expected is None:
                assert value is None, f"{name} is {value}"
            elif isinstance(expected, str):
                assert value == expected, f"{name} is {value}, not {expected}"
            else:
                assert value is not None, f"{name} is absent"
                assert expected.search(value), f"{name} is {value}"
        assert answer.whole
        if isinstance(self.body, bytes):
            assert answer.body == self.body, f"other bytes: {answer.body[:200]}"
        elif self.body is not None:
            self.body(answer.body)


def has(text):
    """A pattern for a value that has this in it."""
    return re.compile(re.escape(text))


def is_json(value):
    """A check that a body is JSON of this value."""

    def check(body):
        assert json.loads(body) == value, body[:200]

    return check


def is_cbor(value):
    """A check that a body is DAG-CBOR of this value; links are ``{"/": text}``."""

    def link(tag, *_):
        assert tag.tag == 42
        return {"/": str(PublicCID(tag.value[1:]))}

    def check(body):
        assert cbor2.loads(body, tag_hook=link) == value

    return check


def ranged(function, name, path, data, media, **more):
    """A range, and several of which the first is given."""
    size = len(data)
    head = {"content-type": media, "content-range": f"bytes 1-3/{size}"}
    for what, sent in (("single range", "bytes=1-3"), ("several ranges", "bytes=1-3,0-0")):
        yield Case(function, f"{name}, {what}", path, send={**more, "Range": sent}, status=206, headers=head, body=data[1:4])
