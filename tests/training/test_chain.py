"""A declared chain: its data by name, its phases in a row, and what of it is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from glide_nemo.artifact import Artifact, load
from glide_nemo.errors import GlideError
from glide_nemo.recipes.chain import Chain, Phase, chains
from glide_nemo.training.chain import describe, parse_data, train_chain, with_overrides


@pytest.fixture
def two_phases(tiny: tuple[str, ...]) -> Chain:
    """A warm-up on one set of tokens, then a blend of two."""
    small = [*tiny, "train.train_iters=2", "ema.interval=0"]
    return Chain(
        "nano",
        {
            "warm": Phase("phaseA", {"web": 1.0}, small),
            "main": Phase("phaseB", {"web": 3.0, "code": 1.0}, small),
        },
    )


def test_phases_follow_each_other_on_their_blends_and_are_reused(
    two_phases: Chain, small_tokens: Artifact, tmp_path: Path
) -> None:
    data = parse_data(two_phases, [f"web={small_tokens.path}", f"code={small_tokens.path}"])
    ended: list[str] = []
    last = train_chain(two_phases, data, tmp_path, after=lambda name, _: ended.append(name))
    assert ended == ["warm", "main"] and last.path == tmp_path / "main"
    assert last.input("init_from").sha256 == load(tmp_path / "warm").sha256
    assert last.config["blend"] == {"tokens": 0.75, "tokens_2": 0.25}
    created = last.record["created"]
    assert train_chain(two_phases, data, tmp_path).record["created"] == created


def test_the_dry_run_of_3b_states_every_phase() -> None:
    told = describe(chains()["glide3b"]()).splitlines()
    rows = {line.split()[0]: line for line in told[1:-1]}
    assert list(rows) == ["phase_a", "phase_b", "phase_c", "sft", "dpo"]
    assert "web 85%, code 12%, math 3%" in rows["phase_b"] and "4,096 then 8,192" in rows["phase_b"]
    assert "29,999,759,360" in rows["phase_b"] and "cosine from 0.0002" in rows["phase_b"]
    assert "64 GPUs of 80 GB, CP 4" in rows["phase_c"]
    assert told[-1].startswith("36,757,831,680 tokens in all")


def test_data_that_are_missing_or_unknown_are_named(two_phases: Chain) -> None:
    with pytest.raises(GlideError, match="no data 'code', which main trains on"):
        parse_data(two_phases, ["web=somewhere"])
    with pytest.raises(GlideError, match="write NAME=PATH for each of web, code"):
        parse_data(two_phases, ["wbe=somewhere"])


def test_overrides_name_a_phase(two_phases: Chain) -> None:
    assert with_overrides(two_phases, ["main.optimizer.lr=0.1"]).phases["main"].overrides[-1] == "optimizer.lr=0.1"
    with pytest.raises(GlideError, match="for a phase of warm, main"):
        with_overrides(two_phases, ["optimizer.lr=0.1"])


def test_a_chain_cannot_begin_with_fine_tuning(small_tokens: Artifact, tmp_path: Path) -> None:
    chain = Chain("nano", {"sft": Phase("sft", {"questions": 1.0})})
    with pytest.raises(GlideError, match="cannot begin a chain"):
        train_chain(chain, {"questions": small_tokens.path}, tmp_path)
