"""How the contract suites complain: without ``assert``, so that they also work under ``python -O`` and any runner."""

from __future__ import annotations


class ContractBroken(AssertionError):
    """An implementation does not keep its contract; the message says in what."""


def expect(holds: bool, otherwise: str) -> None:
    """Raises ContractBroken with ``otherwise`` unless ``holds``."""
    if not holds:
        raise ContractBroken(otherwise)
