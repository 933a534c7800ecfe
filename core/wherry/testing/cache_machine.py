"""A Hypothesis machine that looks for calls that break the contract of a cache; run by `wherry.testing.cache`.

It needs hypothesis, which plugin authors need not have: so it is a module of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from wherry.abc.cache import Kept
from wherry.block import named
from wherry.cid import CID, RAW
from wherry.testing.expect import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.cache import Cache

_LENGTHS = (0, 1, 999, 1000, 1001, 2500, 4000, 8000, 8001, 70_000)
_BLOCKS = [  # every third is coded: half as long as the block that it stands for
    Kept(named(RAW, bytes([number])).cid, bytes([number]) * length, length * 2, "acme.coding")
    if number % 3 == 2
    else Kept(named(RAW, bytes([number]) * length).cid, bytes([number]) * length, length)
    for number, length in enumerate(_LENGTHS)
]
_SOME = st.lists(st.integers(0, len(_BLOCKS) - 1), max_size=5)  # numbers, for a failure's report to be readable
_EXAMPLES = 40
_STEPS = 25


class CacheMachine(RuleBasedStateMachine):
    """Calls a cache at random and remembers which blocks it may hold."""

    make: ClassVar[Callable[[], tuple[Cache, Callable[[], None]]]]
    max_bytes: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.cache, self.clean_up = type(self).make()
        self.maybe: set[CID] = set()  # put and not deleted: a hit is right

    @rule(numbers=_SOME)
    def put(self, numbers: list[int]) -> None:
        """Puts."""
        blocks = _blocks(numbers)
        self.cache.put_many(blocks)
        self.maybe |= {block.cid for block in blocks if len(block.data) <= self.max_bytes}

    @rule(numbers=_SOME)
    def get(self, numbers: list[int]) -> None:
        """Gets: a miss, or a block as it was put if it may be there."""
        blocks = _blocks(numbers)
        sizes = self.cache.sizes([block.cid for block in blocks])
        found = self.cache.get_many([block.cid for block in blocks])
        for block, size, got in zip(blocks, sizes, found, strict=True):
            expect(got is None or got == block, "a block came back as others")
            expect(got is None or block.cid in self.maybe, "a block was found that was never put, or was deleted")
            expect(got is None or size == block.size, "a block was found, and its size was not said")

    @rule(numbers=_SOME)
    def delete(self, numbers: list[int]) -> None:
        """Deletes."""
        cids = [block.cid for block in _blocks(numbers)]
        self.cache.delete_many(cids)
        self.maybe.difference_update(cids)

    @rule(numbers=_SOME)
    def put_and_delete_twice(self, numbers: list[int]) -> None:
        """What went once goes again: by chance alone the same block is seldom put and deleted twice."""
        for _ in range(2):
            self.put(numbers)
            self.delete(numbers)

    @invariant()
    def counts_agree(self) -> None:
        """What is listed was put, is counted, and is within the quota."""
        sizes = {block.cid: len(block.data) for block in _BLOCKS}
        listed = list(self.cache.cids())
        usage = self.cache.usage()
        expect(set(listed) <= self.maybe, "it lists a block that was never put, or was deleted")
        expect(len(listed) == usage.blocks, f"it lists {len(listed)} blocks and counts {usage.blocks}")
        expect(sum(sizes[cid] for cid in listed) == usage.bytes, f"it counts {usage.bytes} bytes, its blocks have others")
        expect(usage.bytes <= self.max_bytes, f"it holds {usage.bytes} bytes, the quota is {self.max_bytes}")

    def teardown(self) -> None:
        """Closes the cache."""
        self.cache.close()
        self.clean_up()


def _blocks(numbers: list[int]) -> list[Kept]:
    return [_BLOCKS[number] for number in numbers]


def run_machine(make: Callable[[], tuple[Cache, Callable[[], None]]], max_bytes: int) -> None:
    """Looks for a sequence of calls that breaks a cache of that quota; ``make`` gives a new one and how to clean up."""
    machine = type("Machine", (CacheMachine,), {"make": staticmethod(make), "max_bytes": max_bytes})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=_EXAMPLES,
            stateful_step_count=_STEPS,
            deadline=None,  # a cache on disk may be slow once
            database=None,  # what it found is in the failure's own report
            suppress_health_check=list(HealthCheck),
        ),
    )
