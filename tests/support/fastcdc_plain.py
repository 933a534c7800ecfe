"""FastCDC as specs/0003 §8 writes it down, one byte at a time; and the inputs of vectors/chunking.json, which are made by rule.

Slow and plain on purpose: it shares no line with the library, so that a library that cuts elsewhere is caught.
"""

from __future__ import annotations

import hashlib

KIB = 1 << 10
GEAR = [int.from_bytes(hashlib.md5(bytes([value]) * 64).digest()[:8], "big") for value in range(256)]
MASKS = {  # by size: the strict one up to it, the loose one behind
    64 * KIB: (0x0000D90707537000, 0x0000D90313530000),
    256 * KIB: (0x0000D91747537000, 0x0000D90303537000),
    1024 * KIB: (0x0000D93767537000, 0x0000D90707537000),
}
ALL_64 = (1 << 64) - 1


def lengths(data, size, seed=0):
    """The lengths of the leaves of a whole file."""
    gear = [value ^ seed for value in GEAR]
    found = []
    start = 0
    while start < len(data):
        found.append(first_length(data, start, size, gear))
        start += found[-1]
    return found


def first_length(data, start, size, gear):
    left = len(data) - start
    if left <= size // 4:
        return left
    end = min(left, 4 * size)
    strict, loose = MASKS[size]
    rolling = 0
    for at in range(size // 4, end - end % 2):
        rolling = ((rolling << 1) + gear[data[start + at]]) & ALL_64
        if not rolling & (strict if at < size else loose):
            return at
    return end


def seed_of(key):
    digest = hashlib.blake2b(key, digest_size=8, person=b"wherry/fastcdc/1").digest()
    return 1 + int.from_bytes(digest, "big") % ((1 << 63) - 1)


def made(rule):
    """The bytes of an input: ``rule`` is as in the vectors."""
    size = rule["bytes"]
    match rule["rule"]:
        case "zeros":
            return bytes(size)
        case "chain":  # sha2-256 of the seed and a counter
            seed = rule["seed"].encode()
            blocks = (hashlib.sha256(seed + number.to_bytes(8, "big")).digest() for number in range(-(-size // 32)))
            return b"".join(blocks)[:size]
        case "period":  # the same bytes over and over
            once = made({"rule": "chain", "seed": rule["seed"], "bytes": rule["period"]})
            return (once * (size // len(once) + 1))[:size]
        case "rows":  # a table as text
            lines, so_far, number = [], 0, 0
            while so_far < size:
                lines.append(row(rule["seed"], number))
                so_far += len(lines[-1])
                number += 1
            return b"".join(lines)[:size]
    raise ValueError(rule)


def row(seed, number):
    mark = hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()
    value = int(mark[:6], 16)
    return f"{number},{mark[6:14]},{value // 1000}.{value % 1000:03d},{'even' if value % 2 == 0 else 'odd'}\n".encode()
