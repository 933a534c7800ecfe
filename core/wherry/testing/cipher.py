"""The contract of a cipher as tests (specs/0006 §13). Subclass, say how to make one, and let pytest run it::

    class TestAcmeCipher(CipherContract):
        def make_cipher(self):
            return AcmeCipher()

The tests know nothing of the algorithm: they seal and open, change one thing at a time, and look at what must not happen. That
a cipher gives the bytes of its name's specification is shown by that specification's vectors, which are no part of this.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import IntegrityError
from wherry.testing.expect import ContractBroken, expect
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.abc.cipher import Cipher
    from wherry.cid import Bytes

SIZES: Final = (0, 1, 15, 16, 17, 63, 64, 65, 1000, 65_537, MiB, MiB + 1, 2 * MiB)
THREADS: Final = 8
ROUNDS: Final = 20  # of each thread
_AAD: Final = b"what lies around"
_LONG_BYTES: Final = 32 * MiB  # of the data on which the lock must be let go
_LONG_S: Final = 0.05  # who is done sooner may hold it
_TRIES: Final = 5


class Secrets(NamedTuple):
    """What a message is sealed with."""

    key: bytes
    nonce: bytes
    aad: bytes = _AAD


class CipherContract(ABC):
    """What every cipher must do."""

    @abstractmethod
    def make_cipher(self) -> Cipher:
        """Makes a cipher: each time one of the same name."""

    def test_its_sizes_are_enough(self) -> None:
        """Keys, nonces and tags have the lengths that core relies on."""
        cipher = self.make_cipher()
        sizes = (cipher.key_bytes, cipher.nonce_bytes, cipher.tag_bytes)
        expect(all(type(size) is int for size in sizes), f"sizes {sizes} are not numbers of bytes")
        least = (32, 12, 16)
        expect(
            all(size >= low for size, low in zip(sizes, least, strict=True)),
            f"key, nonce and tag have {sizes} bytes, not {least}",
        )

    def test_what_is_sealed_opens(self) -> None:
        """Messages of any length come back, from and to any kind of memory."""
        cipher = self.make_cipher()
        for size in SIZES:
            plain, secrets = message(size), secrets_of(cipher, size)
            for kind in (bytes, bytearray, memoryview):
                sealed = seal(cipher, kind(plain), secrets)
                expect(
                    unseal(cipher, kind(sealed), secrets) == plain, f"{size} bytes came back as others, from {kind.__name__}"
                )

    def test_it_writes_all_of_out(self) -> None:
        """What lay in ``out`` before has no part in what lies there after."""
        cipher = self.make_cipher()
        for size in (0, 100):
            plain, secrets = message(size), secrets_of(cipher)
            sealed = seal(cipher, plain, secrets, fill=0xA5)
            expect(
                unseal(cipher, sealed, secrets, fill=0x5A) == plain,
                "what lay in the buffer before became a part of the message",
            )

    def test_it_hides_the_message(self) -> None:
        """No piece of the plain bytes is in the sealed ones, and equal pieces do not look equal."""
        cipher = self.make_cipher()
        plain = message(4096)
        sealed = seal(cipher, plain, secrets_of(cipher))
        expect(not any(plain[at : at + 8] in sealed for at in range(0, len(plain), 8)), "plain bytes stand in the sealed ones")
        zeros = seal(cipher, bytes(4096), secrets_of(cipher))
        pieces = [zeros[at : at + 16] for at in range(0, 4096, 16)]
        expect(len(set(pieces)) == len(pieces), "equal pieces of a message are sealed equally")

    def test_it_is_deterministic(self) -> None:
        """The same message and secrets give the same bytes, from another cipher of that name as well."""
        plain = message(1000)
        first, second = self.make_cipher(), self.make_cipher()
        sealed = seal(first, plain, secrets_of(first))
        for cipher in (first, second):
            expect(seal(cipher, plain, secrets_of(cipher)) == sealed, "the same message was sealed to other bytes")

    def test_every_byte_of_the_secrets_counts(self) -> None:
        """With another key, nonce or additional data, whatever byte is other, nothing opens."""
        cipher = self.make_cipher()
        for size in (0, 40):
            plain, right = message(size), secrets_of(cipher)
            sealed = seal(cipher, plain, right)
            for what, wrong in changed(right):
                expect(seal(cipher, plain, wrong) != sealed, f"sealed equally with another {what}")
                refused(cipher, sealed, wrong, f"another {what}")

    def test_any_change_is_found(self) -> None:
        """A message with any one bit flipped does not open."""
        cipher = self.make_cipher()
        for size in (0, 40):
            secrets = secrets_of(cipher)
            sealed = seal(cipher, message(size), secrets)
            for bit in range(8 * len(sealed)):
                refused(cipher, flipped(sealed, bit), secrets, f"bit {bit} of {8 * len(sealed)} flipped")
        secrets = secrets_of(cipher)
        sealed = seal(cipher, message(2 * MiB), secrets)
        for place in (0, MiB, 2 * MiB - 1):
            refused(cipher, flipped(sealed, 8 * place), secrets, f"a bit of byte {place} flipped")

    def test_another_length_is_found(self) -> None:
        """A message that is cut at either end, or longer at either, does not open; nor does one shorter than a tag."""
        cipher = self.make_cipher()
        secrets = secrets_of(cipher)
        for size in (0, 100, MiB):
            sealed = seal(cipher, message(size), secrets)
            for count in (1, 16, 64):
                refused(cipher, sealed[count:], secrets, f"{count} bytes cut off in front")
                refused(cipher, sealed[:-count], secrets, f"{count} bytes cut off")
                refused(cipher, bytes(count) + sealed, secrets, f"{count} zeros in front")
                refused(cipher, sealed + bytes(count), secrets, f"{count} zeros behind")
            refused(cipher, sealed + sealed, secrets, "twice over")
        for size in range(cipher.tag_bytes):
            refused(cipher, bytes(size), secrets, f"{size} bytes, less than a tag")

    def test_nothing_plain_is_left_on_failure(self) -> None:
        """If a message does not open, none of its plain bytes are in ``out``."""
        cipher = self.make_cipher()
        right = secrets_of(cipher)
        for size in (1000, 2 * MiB):
            plain = bytes(1 + byte % 255 for byte in message(1000)) * (size // 1000)  # no zeros, which may be what is left
            sealed = seal(cipher, plain, right)
            attempts = [
                ("a bit flipped in front", flipped(sealed, 0), right),
                ("a bit flipped at the end of the message", flipped(sealed, 8 * len(plain) - 1), right),
                ("a bit of the tag flipped", flipped(sealed, 8 * len(plain)), right),
                ("other additional data", sealed, right._replace(aad=b"")),
            ]
            for what, damaged, secrets in attempts:
                left = refused(cipher, damaged, secrets, what)
                same = sum(map(bytes.__eq__, pieces_of(plain), pieces_of(left)))
                expect(same == 0, f"{same} pieces of the plain message were left in the buffer: {what}")

    def test_it_leaves_alone_what_it_is_given(self) -> None:
        """Neither plain nor sealed bytes are written to, nor held on to after the call."""
        cipher = self.make_cipher()
        secrets = secrets_of(cipher)
        plain = bytearray(message(1000))
        sealed = bytearray(seal(cipher, plain, secrets))
        before = bytes(plain), bytes(sealed)
        unseal(cipher, sealed, secrets)
        expect((bytes(plain), bytes(sealed)) == before, "it wrote to the bytes that it was to read")
        for data in (plain, sealed):
            try:
                data.append(0)  # which a view of it forbids
            except BufferError:
                raise ContractBroken("it holds on to the memory that it was given") from None

    def test_threads_may_share_it(self) -> None:
        """Threads seal and open at once: nothing is raised, and every message comes back."""
        cipher = self.make_cipher()
        problems: list[str] = []

        def work(seed: int) -> None:
            try:
                for number in range(ROUNDS):
                    plain = message(3000 + number, seed)
                    secrets = secrets_of(cipher, 100 * seed + number)
                    if unseal(cipher, seal(cipher, plain, secrets), secrets) != plain:
                        problems.append("a message came back as another")
            except Exception as problem:  # noqa: BLE001 - whatever it is, it is a fault of the cipher
                problems.append(f"{type(problem).__name__}: {problem}")

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(not problems, f"with {THREADS} threads: {problems[:3]}")

    def test_it_lets_go_of_the_lock(self) -> None:
        """Other threads run while it works on a large message."""
        cipher = self.make_cipher()
        plain, secrets = memoryview(bytes(_LONG_BYTES)), secrets_of(cipher)
        out = memoryview(bytearray(_LONG_BYTES + cipher.tag_bytes))
        took = pause = 0.0
        for _ in range(_TRIES):
            took, pause = longest_pause(cipher, plain, out, secrets)
            if took < _LONG_S or pause < took / 2:
                return
        raise ContractBroken(f"no other thread ran for {pause:.2f} s of the {took:.2f} that it took")

    def test_any_message(self) -> None:
        """Hypothesis, if it is installed, looks for a message or additional data that do not come back."""
        if find_spec("hypothesis") is None:
            return
        from hypothesis import given, settings
        from hypothesis import strategies as st

        cipher = self.make_cipher()

        @settings(max_examples=200, deadline=None, database=None, derandomize=True)
        @given(st.binary(max_size=300), st.binary(max_size=100), st.integers(0, 1 << 32))
        def comes_back(plain: bytes, aad: bytes, seed: int) -> None:
            secrets = secrets_of(cipher, seed)._replace(aad=aad)
            expect(unseal(cipher, seal(cipher, plain, secrets), secrets) == plain, "a message came back as another")

        comes_back()


def message(size: int, seed: int = 0) -> bytes:
    """Makes a message: always the same bytes."""
    return random.Random(f"message {seed} {size}").randbytes(size)


def secrets_of(cipher: Cipher, seed: int = 0) -> Secrets:
    """Makes a key and a nonce: always the same bytes."""
    chance = random.Random(f"secrets {seed}")
    return Secrets(chance.randbytes(cipher.key_bytes), chance.randbytes(cipher.nonce_bytes))


def changed(secrets: Secrets) -> Iterator[tuple[str, Secrets]]:
    """Gives secrets that differ from these in one byte, or in the length of the additional data."""
    for name, value in secrets._asdict().items():
        for at in range(len(value)):
            yield f"byte {at} of {name}", secrets._replace(**{name: flipped(value, 8 * at + at % 8)})
    for aad in (b"", secrets.aad[:-1], secrets.aad + b"\0", b"\0" + secrets.aad):
        yield "length of aad", secrets._replace(aad=aad)


def flipped(data: bytes, bit: int) -> bytes:
    """Gives ``data`` with one bit flipped."""
    found = bytearray(data)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def seal(cipher: Cipher, plain: Bytes, secrets: Secrets, fill: int = 0) -> bytes:
    """Seals into a buffer that held ``fill``."""
    out = bytearray([fill]) * (len(plain) + cipher.tag_bytes)
    with memoryview(out) as view:
        cipher.seal_into(plain, view, key=secrets.key, nonce=secrets.nonce, aad=secrets.aad)
    return bytes(out)


def unseal(cipher: Cipher, sealed: Bytes, secrets: Secrets, fill: int = 0) -> bytes:
    """Opens into a buffer that held ``fill``."""
    out = bytearray([fill]) * (len(sealed) - cipher.tag_bytes)
    with memoryview(out) as view:
        cipher.open_into(sealed, view, key=secrets.key, nonce=secrets.nonce, aad=secrets.aad)
    return bytes(out)


def refused(cipher: Cipher, sealed: bytes, secrets: Secrets, what: str) -> bytes:
    """Complains unless ``sealed`` is refused as it must be; gives what was left in the buffer, which held zeros."""
    out = bytearray(max(0, len(sealed) - cipher.tag_bytes))
    try:
        with memoryview(out) as view:
            cipher.open_into(sealed, view, key=secrets.key, nonce=secrets.nonce, aad=secrets.aad)
    except IntegrityError:
        return bytes(out)
    except Exception as problem:
        raise ContractBroken(f"{what}: must be an IntegrityError, was {type(problem).__name__}: {problem}") from problem
    raise ContractBroken(f"it opened a message in spite of this: {what}")


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Cuts ``data`` into pieces of eight bytes: long enough not to be equal by chance."""
    return (data[at : at + 8] for at in range(0, len(data), 8))


def longest_pause(cipher: Cipher, plain: memoryview, out: memoryview, secrets: Secrets) -> tuple[float, float]:
    """Seals while another thread looks at the clock; gives how long that took, and the longest time it could not."""
    running, over = threading.Event(), threading.Event()
    times: list[float] = []

    def look() -> None:
        while not over.is_set():
            times.append(time.perf_counter())
            running.set()
            time.sleep(0.0005)  # lets go of the lock, so that the cipher gets on

    thread = threading.Thread(target=look)
    thread.start()
    try:
        running.wait()
        began = time.perf_counter()
        cipher.seal_into(plain, out, key=secrets.key, nonce=secrets.nonce, aad=secrets.aad)
        ended = time.perf_counter()
    finally:
        over.set()
        thread.join()
    seen = [began, *(at for at in times if began < at < ended), ended]
    return ended - began, max(later - earlier for earlier, later in pairwise(seen))
