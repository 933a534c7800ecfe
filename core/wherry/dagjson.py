"""Strict DAG-JSON (specs/0038 §2; https://ipld.io/specs/codecs/dag-json/spec/), bounded before it is decoded.

JSON in which a link is ``{"/": "CID"}`` and bytes are ``{"/": {"bytes": "base64"}}``. Reading takes what the public
specification takes, so white space and keys in any order too, and refuses what two readers could read in two ways: keys that
are doubled, a reserved form that is none, text that is not UTF-8, numbers beyond 64 bits. Writing gives the one canonical form.

Values are those of `wherry.dagcbor`; links are `PublicCID`.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from typing import TYPE_CHECKING, Final

from wherry.cid import CID
from wherry.errors import CIDError, DecodeError, LimitExceeded
from wherry.limits import CBOR_DEPTH_MAX, CBOR_ITEMS_MAX, PB_BYTES_MAX
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from wherry.dagcbor import Value

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_TEXT: Final = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?")
_WORDS: Final[dict[str, tuple[str, bool | None]]] = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_NUMBER_CHARS_MAX: Final = 1100  # the longest float without an exponent has 1,077
_INT_DIGITS_MAX: Final = 20
_INT_MAX: Final = 2**64 - 1
_INT_MIN: Final = -(2**64)
_DECIMAL_DIGITS_MAX: Final = 21  # before the point, where a float is written without an exponent, as JavaScript does it
_DECIMAL_ZEROS_MAX: Final = 6  # behind the point
_LINK_ITEMS: Final = 2  # that the form of a link has beyond one: the key and the text
_BYTES_ITEMS: Final = 4


def encode(value: object) -> bytes:
    """Writes ``value`` in the one canonical form. Raises ValueError for a value that has none, or nests too deep to be read."""
    out: list[str] = []
    _write(value, out, 0)
    try:
        return "".join(out).encode()
    except UnicodeEncodeError:
        raise ValueError("text with half a surrogate pair has no form in DAG-JSON") from None


def decode(data: bytes, *, canonical: bool = False, bytes_max: int = PB_BYTES_MAX) -> Value:
    """Reads one whole block. Raises DecodeError for what is malformed, LimitExceeded beyond a bound.

    ``canonical``: refuse what is not written in the canonical form.
    """
    if len(data) > bytes_max:
        raise LimitExceeded(f"DAG-JSON block of {len(data)} bytes, at most {bytes_max} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        raise DecodeError(f"DAG-JSON: text that is not UTF-8 at offset {problem.start}") from None
    reader = _Reader(text)
    value = reader.item(0)
    reader.space()
    if reader.at != len(text):
        raise reader.fail("something is left over")
    if reader.items > CBOR_ITEMS_MAX:
        raise reader.too_many()
    if canonical and encode(value) != data:
        raise DecodeError("DAG-JSON: it is not written in the canonical form")
    return value


def _write(value: object, out: list[str], depth: int) -> None:
    if isinstance(value, str):
        out.append(json.dumps(value, ensure_ascii=False))
    elif isinstance(value, CID | PublicCID):  # before bytes, which both are
        out.append(f'{{"/":"{value}"}}')
    elif isinstance(value, bytes):
        out.append(f'{{"/":{{"bytes":"{_base64(value)}"}}}}')
    elif value is None:
        out.append("null")
    elif isinstance(value, bool):  # before int, which it is
        out.append("true" if value else "false")
    elif isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise ValueError("integers of DAG-JSON have 64 bits here")
        out.append(str(value))
    elif isinstance(value, float):
        out.append(_float(value))
    elif isinstance(value, list | tuple):
        inner = _inner(depth)
        between = "["
        for item in value:
            out.append(between)
            _write(item, out, inner)
            between = ","
        out.append("]" if value else "[]")
    elif isinstance(value, dict):
        _write_map(value, out, _inner(depth))
    else:
        raise ValueError(f"DAG-JSON has no form for {value!r}")


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode().rstrip("=")


def _inner(depth: int) -> int:
    if depth >= CBOR_DEPTH_MAX:
        raise ValueError(f"wherry reads no DAG-JSON that is deeper than {CBOR_DEPTH_MAX}")
    return depth + 1


def _write_map(value: dict[object, object], out: list[str], inner: int) -> None:
    keys = []
    for key in value:
        if not isinstance(key, str):
            raise ValueError("DAG-JSON maps have text keys")  # noqa: TRY004  # encode promises ValueError for every value
        keys.append(key)
    keys.sort(key=lambda key: key.encode("utf-8", "surrogatepass"))
    if _reserved(keys, value):
        raise ValueError('a map that begins with "/" as a link or bytes do has no form in DAG-JSON')
    between = "{"
    for key in keys:
        out.append(between + json.dumps(key, ensure_ascii=False) + ":")
        _write(value[key], out, inner)
        between = ","
    out.append("}" if keys else "{}")


def _reserved(keys: list[str], value: dict[object, object]) -> bool:
    """Tells whether a map, whose keys are sorted, begins like the form of a link or of bytes."""
    if not keys or keys[0] != "/":
        return False
    inside = value["/"]
    if isinstance(inside, dict):
        first = min((key.encode("utf-8", "surrogatepass") for key in inside if isinstance(key, str)), default=b"")
        return first == b"bytes" and isinstance(inside["bytes"], str)
    return isinstance(inside, str)


def _float(value: float) -> str:
    """Writes the fewest digits that give the same float back, in the form of JavaScript, and so that it is no integer."""
    if not math.isfinite(value):
        raise ValueError("a float that is not finite has no form in DAG-JSON")
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = (
        len(whole) + int(exponent or "0") - (len(whole) + len(fraction) - len(digits))
    )  # before which digit the point stands
    digits = digits.rstrip("0")
    if not digits:
        return sign + "0.0"
    if 0 < point <= _DECIMAL_DIGITS_MAX:
        return f"{sign}{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"
    if -_DECIMAL_ZEROS_MAX < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+}"


class _Reader:
    """One pass over one text; ``at`` is the next character."""

    __slots__ = ("at", "items", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.items = 0

    def fail(self, problem: str) -> DecodeError:
        return DecodeError(f"DAG-JSON: {problem} at character {self.at}")

    def too_many(self) -> LimitExceeded:
        return LimitExceeded(f"DAG-JSON: more than {CBOR_ITEMS_MAX} items in a block")

    def space(self) -> str:
        """Skips white space; gives the next character, "" at the end."""
        match = _SPACE.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return self.text[self.at : self.at + 1]

    def item(self, depth: int) -> Value:
        self.items += 1
        if self.items > CBOR_ITEMS_MAX + _BYTES_ITEMS:  # the last of them may be a part of the form of a link, or of bytes
            raise self.too_many()
        first = self.space()
        if first == '"':
            return self.string()
        if first == "{":
            return self.map(self.deeper(depth))
        if first == "[":
            return self.array(self.deeper(depth))
        if first in _WORDS:
            word, value = _WORDS[first]
            if not self.text.startswith(word, self.at):
                raise self.fail("a word that is none of true, false and null")
            self.at += len(word)
            return value
        return self.number()

    def deeper(self, depth: int) -> int:
        if depth >= CBOR_DEPTH_MAX + 2:  # so deep that even a link or bytes is not meant; both are maps here
            raise LimitExceeded(f"DAG-JSON: deeper than {CBOR_DEPTH_MAX}")
        self.at += 1
        return depth + 1

    def string(self) -> str:
        match = _TEXT.match(self.text, self.at)
        if match is None:
            raise self.fail("text that does not end, or with a character or escape that JSON does not have")
        token = match[0]
        found = token[1:-1]
        if "\\" in found:
            found = json.loads(token)
            if not found.isascii() and any("\ud800" <= char <= "\udfff" for char in found):
                raise self.fail("text with half a surrogate pair")
        self.at = match.end()
        return found

    def number(self) -> int | float:
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            raise self.fail("no value" if self.at < len(self.text) else "a missing value")
        token = match[0]
        if len(token) > _NUMBER_CHARS_MAX:
            raise LimitExceeded(f"DAG-JSON: a number of {len(token)} characters, at most {_NUMBER_CHARS_MAX} are read")
        if match[1] is None and match[2] is None:
            number = int(token) if len(token) <= _INT_DIGITS_MAX + 1 else _INT_MAX + 1
            if not _INT_MIN <= number <= _INT_MAX:
                raise self.fail("an integer of more than 64 bits")
            self.at = match.end()
            return number
        value = float(token)
        if not math.isfinite(value):
            raise self.fail("a float that is not finite")
        self.at = match.end()
        return value

    def array(self, depth: int) -> list[Value]:
        if depth > CBOR_DEPTH_MAX:
            raise LimitExceeded(f"DAG-JSON: deeper than {CBOR_DEPTH_MAX}")
        result: list[Value] = []
        if self.space() == "]":
            self.at += 1
            return result
        while True:
            result.append(self.item(depth))
            if self.more("]"):
                return result

    def more(self, end: str) -> bool:
        """Reads what stands behind an item; tells whether it is the end."""
        char = self.space()
        if not char or char not in ("," + end):
            raise self.fail(f"neither a comma nor {end!r}")
        self.at += 1
        return char == end

    def map(self, depth: int) -> Value:
        result: dict[str, Value] = {}
        over = self.space() == "}"
        if over:
            self.at += 1
        while not over:
            if self.space() != '"':
                raise self.fail("a key that is not text")
            key = self.string()
            if key in result:
                raise self.fail(f"the key {key[:40]!a} twice in one map")
            if self.space() != ":":
                raise self.fail("a key without a value")
            self.at += 1
            self.items += 1
            result[key] = self.item(depth)
            over = self.more("}")
        found = self.meant(result) if "/" in result else result
        if depth == CBOR_DEPTH_MAX + 1 and isinstance(found, dict):
            raise LimitExceeded(f"DAG-JSON: deeper than {CBOR_DEPTH_MAX}")
        return found

    def meant(self, found: dict[str, Value]) -> Value:
        """Gives what a map with the key "/" stands for: a link, bytes, or itself."""
        if any(key.encode() < b"/" for key in found):  # not the first key, so nothing is reserved
            return found
        inside = found["/"]
        if isinstance(inside, str):
            if len(found) > 1:
                raise self.fail("a map of a link, and more in it")
            self.items -= _LINK_ITEMS
            return self.link(inside)
        if isinstance(inside, dict) and isinstance(text := inside.get("bytes"), str):
            if any(key.encode() < b"bytes" for key in inside):
                return found
            if len(found) > 1 or len(inside) > 1:
                raise self.fail("a map of bytes, and more in it")
            self.items -= _BYTES_ITEMS
            return self.data(text)
        return found

    def link(self, text: str) -> PublicCID:
        try:
            cid = PublicCID.parse(text)
        except CIDError as problem:
            raise self.fail(f"a link that is no CID ({problem.message})") from problem
        if str(cid) != text:
            raise self.fail("a link that is neither version 0 nor in base32")
        return cid

    def data(self, text: str) -> bytes:
        try:
            data = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
        except ValueError:
            data = b""
        if _base64(data) != text:
            raise self.fail("bytes that are not in base64 without padding, or with stray bits")
        return data
