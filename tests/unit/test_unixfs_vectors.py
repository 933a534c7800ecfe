"""The vectors of reading UnixFS (specs/0031 §10): the same for any implementation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unixfs_dags import Dag

from wherry.cid import CID
from wherry.dag.walk import EnterDir, EnterFile, LinkStep
from wherry.errors import DataError
from wherry.publiccid import PublicCID

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/unixfs-read.json").read_text())


def given_dag(vector):
    dag = Dag()
    dag.blocks = {CID.parse(cid): bytes.fromhex(data) for cid, data in vector["blocks"].items()}
    assert all(cid == CID.of(cid.codec, data) for cid, data in dag.blocks.items())
    return dag, (PublicCID.parse(vector["root"]), 0, 0)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["note"])
def test_valid_vectors(vector):
    dag, link = given_dag(vector)
    if "bytes" in vector:
        assert dag.read(link) == bytes.fromhex(vector["bytes"])
    else:
        kinds = {EnterDir: "d", EnterFile: "f", LinkStep: "l"}
        entered = [[step.path, kinds[type(step)]] for step in dag.steps(link) if type(step) in kinds]
        assert entered == vector["entries"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["why"])
def test_invalid_vectors(vector):
    dag, link = given_dag(vector)
    with pytest.raises(DataError):
        dag.steps(link)
