"""Trains a small model at any layout of processes, for tests that compare layouts."""

from __future__ import annotations

import json
from pathlib import Path

from glide_nemo.artifact import Artifact
from glide_nemo.training import loop
from glide_nemo.training.processes import run_processes

SHAPE = (
    "model.num_layers=4", "model.hidden_size=64", "model.ffn_hidden_size=128", "model.kv_channels=16",
    "model.num_query_groups=4", "model.vocab_size=1000", "model.seq_length=32", "train.micro_batch_size=2",
    "validation.eval_iters=0",
)  # fmt: skip
TENSOR, PIPELINE, CONTEXT = (
    f"model.{name}_parallel_size={{}}".format for name in ("tensor_model", "pipeline_model", "context")
)
SEQUENCE = "model.sequence_parallel=true"
INTERLEAVED = "model.virtual_pipeline_model_parallel_size=2"
LAYOUTS = {
    "alone": (1, ()),
    "DP2": (2, ()),
    "TP2": (2, (TENSOR(2),)),
    "TP2+SP": (2, (TENSOR(2), SEQUENCE)),
    "PP2": (2, (PIPELINE(2),)),
    "PP2 interleaved": (2, (PIPELINE(2), INTERLEAVED)),
    "CP2": (2, (CONTEXT(2),)),
    "DP4": (4, ()),
    "TP4+SP": (4, (TENSOR(4), SEQUENCE)),
    "PP4": (4, (PIPELINE(4),)),
    "CP4": (4, (CONTEXT(4),)),
    "TP2+SP x DP2": (4, (TENSOR(2), SEQUENCE)),
    "TP2+SP x PP2 interleaved": (4, (TENSOR(2), SEQUENCE, PIPELINE(2), INTERLEAVED)),
    "TP2+SP x CP2": (4, (TENSOR(2), SEQUENCE, CONTEXT(2))),
    "CP2 x DP2": (4, (CONTEXT(2),)),
    "CP2 x PP2": (4, (CONTEXT(2), PIPELINE(2))),
    "PP2 x DP2": (4, (PIPELINE(2),)),
}


def trained(
    name: str, processes: int, overrides: tuple[str, ...], tokens: Artifact, out: Path, init_from: Path | None = None
) -> list[dict[str, float]]:
    """The steps of a training in so many processes."""
    (out / "logs").mkdir(parents=True, exist_ok=True)
    paths = loop.Paths(tokens.path, tokens.input("tokenizer").path.resolve(), out, init_from)
    run_processes(processes, loop.train, name, overrides, paths, log=out / "log")
    return [json.loads(line) for line in (out / "loss.jsonl").read_text().splitlines()]
