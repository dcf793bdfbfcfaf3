"""A passage task small enough for tests, and what lm-eval logged of each of its choices."""

from __future__ import annotations

import json
from pathlib import Path

from glide_nemo.evaluation.evaluate import EvaluationConfig


def small_config() -> EvaluationConfig:
    config = EvaluationConfig(evaluators=["continuation"])
    config.continuation.items = 12
    config.continuation.context_characters = 80
    config.continuation.continuation_characters = 40
    return config


def log_likelihoods(out: Path, task: str) -> list[float]:
    """Of every choice of every item, in order."""
    samples = json.loads((out / "logs" / f"{task}.json").read_text())["samples"][task]
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    return [float(choice[0]) for sample in ordered for choice in sample["filtered_resps"]]
