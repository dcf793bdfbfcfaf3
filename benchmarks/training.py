"""Training speed on the CPU: Megatron-Bridge's pretrain() beside transformers' Llama and torch's AdamW.

Same shape, same batches' size, fp32, in turns within one run: the ratio stands, the rates are this machine's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import floors

from glide_nemo.artifact import Artifact, load
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.training.pretrain import plan_training, pretrain

STEPS = 12
WARM_UP = 2  # steps not counted
TURNS = 3


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Median tokens a second of each, and of the turns' ratios."""
    tokens = load(args.tokens, "tokens")
    overrides = [f"train.train_iters={STEPS}", f"scheduler.lr_decay_iters={STEPS}", f"validation.eval_interval={STEPS}"]
    plan = plan_training("glide_nano_phaseB", [*overrides, "validation.eval_iters=1"])
    turns = [(megatron(plan, tokens), hugging_face(plan)) for _ in range(TURNS)]
    return {
        "megatron_tokens_per_second": statistics.median(ours for ours, _ in turns),
        "hugging_face_tokens_per_second": statistics.median(theirs for _, theirs in turns),
        "ratio_vs_hugging_face": statistics.median(ours / theirs for ours, theirs in turns),
    }


def megatron(plan: TrainingPlan, tokens: Artifact) -> float:
    """Tokens a second of the pretrain step, as its own log has them."""
    with tempfile.TemporaryDirectory() as folder:
        curve = pretrain(plan, tokens, Path(folder) / "out").metrics["curve"]
    return statistics.median(rate for _, _, _, rate in curve[WARM_UP:])


def hugging_face(plan: TrainingPlan) -> float:
    """Tokens a second of the plain loop that one would write with transformers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = plan.architecture
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.padded_vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.ffn_hidden_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_attention_heads,
            num_key_value_heads=shape.num_query_groups,
            head_dim=shape.kv_channels,
            tie_word_embeddings=True,
        )
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    seconds = []
    for _ in range(STEPS):
        batch = torch.randint(shape.vocab_size, (plan.global_batch_size, plan.seq_length))
        started = time.perf_counter()
        network(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    return plan.tokens_per_step / statistics.median(seconds[WARM_UP:])


if __name__ == "__main__":
    raise SystemExit(floors.main("training", __doc__, measure, tokens="runs/quickstart/tokens"))
