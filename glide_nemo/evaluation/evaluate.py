"""The evaluation step: runs each evaluator on the exported model and the held-out documents, and keeps what they state.

An evaluator is a function `(subject) -> dict` of metrics, registered in the entry point group `glide_nemo.evaluators`
and named in `EvaluationConfig.evaluators`. Each result is on disk before the next evaluator starts, so that a step
that was killed goes on with the evaluators that are left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from glide_nemo import plugins
from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.config import as_plain
from glide_nemo.console import console
from glide_nemo.errors import GlideError
from glide_nemo.evaluation.bits_per_byte import BitsPerByteConfig
from glide_nemo.evaluation.continuation import ContinuationConfig
from glide_nemo.evaluation.loss_by_position import LossByPositionConfig
from glide_nemo.evaluation.offline import offline
from glide_nemo.evaluation.safety.prompts import describe_prompts
from glide_nemo.evaluation.safety.refusals import GROUPS, RefusalsConfig
from glide_nemo.evaluation.samples import SamplesConfig
from glide_nemo.evaluation.subject import Subject
from glide_nemo.export.gguf import FILE
from glide_nemo.steps import run_step

SCORED_BY_OTHER_RUNTIMES = {"continuation"}


@dataclass
class EvaluationConfig:
    evaluators: list[str] = field(default_factory=lambda: ["bits_per_byte", "continuation", "samples"])
    bits_per_byte: BitsPerByteConfig = field(default_factory=BitsPerByteConfig)
    continuation: ContinuationConfig = field(default_factory=ContinuationConfig)
    loss_by_position: LossByPositionConfig = field(default_factory=LossByPositionConfig)
    refusals: RefusalsConfig = field(default_factory=RefusalsConfig)
    samples: SamplesConfig = field(default_factory=SamplesConfig)


def evaluate(
    config: EvaluationConfig,
    model: Artifact,
    corpus: Artifact,
    out: str | os.PathLike[str],
    *,
    gguf: Artifact | None = None,
    vllm: bool = False,
    force: bool = False,
) -> Artifact:
    """Evaluates a Hugging Face model directory on the held-out split of a corpus; needs no network and no GPU.

    lm-eval's tasks alone are scored by llama.cpp with `gguf`, an export of that model, and by vLLM with `vllm`.
    Raises GlideError for an unknown evaluator, a model that cannot be loaded and a corpus without held-out text.
    """
    if (gguf or vllm) and (others := set(config.evaluators) - SCORED_BY_OTHER_RUNTIMES):
        known = ", ".join(sorted(SCORED_BY_OTHER_RUNTIMES))
        runtime = "llama.cpp" if gguf else "vLLM"
        raise GlideError(f"{runtime} scores no {', '.join(sorted(others))}: pass evaluators=[{known}]")
    evaluators = {name: plugins.get("evaluators", name) for name in config.evaluators}

    def write(draft: Draft) -> None:
        subject = Subject(model, corpus, config, draft.path, gguf=gguf.path / FILE if gguf else None, vllm=vllm)
        with offline():
            for name, evaluator in evaluators.items():
                _merge(draft.metrics, _result(name, evaluator, subject), name)
        draft.summary = _summary(draft.metrics)

    inputs = {"model": model, "corpus": corpus} | ({"gguf": gguf} if gguf else {})
    settings = _settings(config) | ({"runtime": "vllm"} if vllm else {})
    return run_step("evaluate", out, "evaluation", settings, inputs, write, force=force)


def _settings(config: EvaluationConfig) -> dict[str, Any]:
    """What the result depends on: of files that are read their content, and not where they lie."""
    settings = as_plain(config)
    if "refusals" in config.evaluators:
        settings["refusals"]["files"] = [file.identity for file in describe_prompts(config.refusals.files)]
    return settings


def _result(name: str, evaluator: Callable[[Subject], dict[str, Any]], subject: Subject) -> dict[str, Any]:
    """What an evaluator states, from disk where an earlier, unfinished run of this very step has got that far."""
    path = subject.out / f"{name}.json"
    if path.exists():
        console.print(f"  {name}: already done")
        return json.loads(path.read_text(encoding="utf-8"))
    metrics = evaluator(subject)
    write_atomically(path, json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False))
    return metrics


def _merge(into: dict[str, Any], metrics: dict[str, Any], name: str) -> None:
    """Adds an evaluator's metrics: lists (`lm_eval`, `samples`) are joined, any other key belongs to one evaluator."""
    for key, value in metrics.items():
        if isinstance(value, list):
            into[key] = into.get(key, []) + value
        elif key in into:
            raise GlideError(f"two evaluators state '{key}', the second is {name}: leave one of them out")
        else:
            into[key] = value


def _summary(metrics: dict[str, Any]) -> str:
    parts = []
    if bits := metrics.get("bits_per_byte"):
        parts.append(
            f"held-out {bits['model']:.3f} bits per byte (gzip -9 {bits['gzip_9']:.3f}, unigram {bits['unigram']:.3f})"
        )
    for row in metrics.get("lm_eval", [])[:1]:
        parts.append(f"{row['task']} {row['metric']} {row['value']:.1%} ± {row['stderr']:.1%}")
    if positions := metrics.get("loss_by_position"):
        first, last = positions["buckets"][0], positions["buckets"][-1]
        parts.append(f"{first['nats']:.2f} nats a token up to {first['end']}, {last['nats']:.2f} from {last['start']}")
    if refused := metrics.get("refusals"):
        groups = [group for group in GROUPS if group in refused]
        parts.append("refuses " + ", ".join(f"{refused[group]['rate']:.0%} of {group} prompts" for group in groups))
    return ", ".join(parts) or f"{len(metrics)} metrics"
