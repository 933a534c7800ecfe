"""What parts are tried on: text, tensors and chance, made by rule, as hard to code as the real thing is."""

from __future__ import annotations

import random
import sys
from array import array
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_WORDS: Final = ("model", "layer", "weight", "train", "test", "image", "label", "token", "batch", "epoch", "loss", "index")
_DEVIATION: Final = 0.02  # of weights, as they are after training and at its beginning
_QUANTILES: Final = 1 << 16
_NOISE: Final = 0x0FFF  # the lowest bits of a float32's fraction: chance, as in every trained weight


def text(size: int) -> bytes:
    """Lines of JSON: numbers that count, words that come again, values that do not."""
    chance = random.Random(1)  # noqa: S311 - the same data every time is what is wanted
    lines, so_far, number = [], 0, 0
    while so_far < size:
        words = " ".join(chance.choices(_WORDS, k=6))
        line = b'{"id": %d, "text": "%s", "score": %.4f}\n' % (number, words.encode(), chance.random())
        lines.append(line)
        so_far += len(line)
        number += 1
    return b"".join(lines)[:size]


def float32(size: int) -> bytes:
    """Weights of a normal distribution, little-endian."""
    steep = array("I", array("f", _quantiles()).tobytes())
    numbers = array("I", [steep[index] for index in _indexes(2, -(-size // 4))])
    noise = random.Random(3).randbytes(4 * len(numbers))  # noqa: S311 - as above
    mask = int.from_bytes(_NOISE.to_bytes(4, sys.byteorder) * len(numbers), "big")  # a long number is masked at once
    keep = int.from_bytes((0xFFFFFFFF ^ _NOISE).to_bytes(4, sys.byteorder) * len(numbers), "big")
    plain = int.from_bytes(numbers.tobytes(), "big") & keep | int.from_bytes(noise, "big") & mask
    return plain.to_bytes(4 * len(numbers), "big")[:size]


def bf16(size: int) -> bytes:
    """The same, as bfloat16: the upper half of a float32."""
    halves = [number >> 16 for number in array("I", array("f", _quantiles()).tobytes())]
    return array("H", [halves[index] for index in _indexes(4, -(-size // 2))]).tobytes()[:size]


def chance(size: int) -> bytes:
    """Bytes that nothing can make fewer."""
    return random.Random(5).randbytes(size)  # noqa: S311 - as above


SAMPLES: Final[dict[str, Callable[[int], bytes]]] = {"text": text, "float32": float32, "bf16": bf16, "random": chance}


def _quantiles() -> list[float]:
    normal = NormalDist(0, _DEVIATION)
    return [normal.inv_cdf((number + 0.5) / _QUANTILES) for number in range(_QUANTILES)]


def _indexes(seed: int, count: int) -> array[int]:
    return array("H", random.Random(seed).randbytes(2 * count))  # noqa: S311 - as above
