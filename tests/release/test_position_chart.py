"""The chart of loss by position has a line for every model that was evaluated over as many positions."""

from __future__ import annotations

from pathlib import Path

from small_run import checkpoint_metrics, seal

from glide_nemo.artifact import Artifact
from glide_nemo.release import story
from glide_nemo.release.position_chart import position_chart
from glide_nemo.release.report import render


def evaluated(run: Path, phase: str, tokens: int, nats: list[float]) -> Artifact:
    width = tokens // len(nats)
    buckets = [
        {"start": width * n, "end": width * (n + 1), "nats": value, "stderr": 0.1} for n, value in enumerate(nats)
    ]
    model = seal(run / f"hf_{phase}", "model", {"recipe": f"glide_nano_{phase}"}, "exported")
    stated = {"loss_by_position": {"tokens": tokens, "stretches": 9, "context": 256, "buckets": buckets}}
    return seal(run / f"positions_{phase}", "evaluation", stated, "evaluated", model=model)


def test_models_are_lines_of_one_chart_named_by_their_recipes(tmp_path: Path) -> None:
    evaluated(tmp_path, "phaseA", 512, [5.0, 4.9])  # over other positions
    evaluated(tmp_path, "phaseB", 1_024, [4.0, 3.5, 5.5, 6.5])
    evaluated(tmp_path, "phaseC", 1_024, [4.0, 3.5, 3.25, 3.0])
    told = story.read(tmp_path, tmp_path / "report")
    (chart,) = position_chart(told)
    assert [line.points[0] for line in chart.lines] == [(128.0, 4.0), (128.0, 4.0)]
    assert {mark.label: mark.y for mark in chart.marks} == {"glide_nano_phaseB": 6.5, "glide_nano_phaseC": 3.0}
    assert "glide_nano_phaseC from 4.00 to 3.00" in chart.description
    seal(tmp_path / "phase_c", "checkpoint", checkpoint_metrics(20, 5.0, 4.0, 40_960), "trained")
    assert "Loss by position" in render(story.read(tmp_path, tmp_path / "report"))


def test_a_run_without_the_evaluation_has_no_chart(tmp_path: Path) -> None:
    seal(tmp_path / "evaluation", "evaluation", {"bits_per_byte": {}}, "evaluated")
    assert position_chart(story.read(tmp_path, tmp_path / "report")) == []
