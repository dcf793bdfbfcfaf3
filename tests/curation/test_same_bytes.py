"""The same input and config give the same bytes, whatever the number of workers and the hash seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from every_stage import assert_every_stage_took_something, curated, write_inputs

from glide_nemo.artifact import Artifact


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("every")
    return write_inputs(folder), folder


@pytest.fixture(scope="module")
def corpus(inputs: tuple[list[str], Path]) -> Artifact:
    return curated(*inputs, "one", "workers=1", PYTHONHASHSEED="0")


def test_every_stage_takes_something_of_this_input(corpus: Artifact) -> None:
    assert_every_stage_took_something(corpus)


@pytest.mark.parametrize(("seed", "workers"), [("1", 1), ("random", 2)])
def test_neither_the_hash_seed_nor_the_workers_change_a_byte(
    inputs: tuple[list[str], Path], corpus: Artifact, seed: str, workers: int
) -> None:
    other = curated(*inputs, f"seed_{seed}", f"workers={workers}", PYTHONHASHSEED=seed)
    assert other.sha256 == corpus.sha256
    volatile = ("seconds", "stage_seconds", "documents_per_second")
    told = [{name: value for name, value in one.metrics.items() if name not in volatile} for one in (corpus, other)]
    assert told[0] == told[1]
