"""The s3 transport keeps the contract of transports that cannot listen, towards what answers as S3 does."""

from __future__ import annotations

import pytest

pytest.importorskip("obstore", reason="the extra s3 is not installed")

import obstore  # after the line that skips
from obstore.store import MemoryStore

from wherry_s3.wherry_check import TestBucket as TheShippedCheck


@pytest.fixture(scope="module", autouse=True)
def runtime():
    """obstore's threads and their descriptors are made at the first use in a process, and stay."""
    obstore.put(MemoryStore(), "warm", b"")


class TestBucket(TheShippedCheck):
    pass


del TheShippedCheck  # pytest would collect it here too
