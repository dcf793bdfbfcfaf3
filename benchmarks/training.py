"""Training speed on the CPU: Megatron-Bridge's pretrain() beside transformers' Llama and torch's AdamW.

The same shape, batch, fp32 and threads, in turns within one run, and products of matrices before and after each turn:
the ratios stand, the rates are this machine's. Seconds to the first step are those of a `glide pretrain` at a prompt.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import floors

from glide_nemo.artifact import Artifact, load
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.training.pretrain import plan_training, pretrain

WARM_UP = 2  # steps not counted
TURNS = 3
SIDE = 2_048  # of square matrices, whose product a BLAS is fastest at
PRODUCT_SECONDS = 5.0  # as long as many steps: a rate that the machine holds
STEPS = {"nano": 12, "125m": 5}
# A recipe of a GPU on this CPU: its shape as it is, a batch that takes seconds a step.
SHAPES = {
    "nano": ("glide_nano_phaseB", []),
    "125m": (
        "glide_nano_phaseB",
        [
            "model.num_layers={num_layers}",
            "model.hidden_size={hidden_size}",
            "model.ffn_hidden_size={ffn_hidden_size}",
            "model.num_attention_heads={num_attention_heads}",
            "model.num_query_groups={num_query_groups}",
            "model.kv_channels={kv_channels}",
            "model.seq_length=512",
            "train.global_batch_size=2",
            "train.micro_batch_size=2",
        ],
    ),
}


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Medians over turns of both shapes; the ratio and the fractions without a shape's name are the lower ones."""
    tokens = load(args.tokens, "tokens")
    measured: dict[str, float] = {}
    for shape in SHAPES:
        plan = plan_of(shape, tokens)
        turns = []
        for _ in range(TURNS):
            before = products()
            ours = megatron(plan, tokens)
            sustained, fastest = zip(before, products(), strict=True)
            turns.append((ours, hugging_face(plan), statistics.mean(sustained), max(fastest)))
        flops = plan.architecture.flops_per_token(plan.seq_length)
        measured |= {
            f"{shape}_tokens_per_second": statistics.median(ours for ours, *_ in turns),
            f"{shape}_hugging_face_tokens_per_second": statistics.median(theirs for _, theirs, *_ in turns),
            f"{shape}_ratio_vs_hugging_face": statistics.median(ours / theirs for ours, theirs, *_ in turns),
            f"{shape}_fraction_of_matmul_rate": statistics.median(ours * flops / rate for ours, _, rate, _ in turns),
            f"{shape}_fraction_of_fastest_product": statistics.median(ours * flops / rate for ours, *_, rate in turns),
        }
    for name in ("ratio_vs_hugging_face", "fraction_of_matmul_rate", "fraction_of_fastest_product"):
        measured[name] = min(measured[f"{shape}_{name}"] for shape in SHAPES)
    measured["seconds_to_first_step"], measured["of_which_imports"] = first_step(tokens)
    return measured


def plan_of(shape: str, tokens: Artifact) -> TrainingPlan:
    from glide_nemo.model.architecture import architecture

    steps = STEPS[shape]
    recipe, overrides = SHAPES[shape]
    return plan_training(
        recipe,
        [
            *(text.format(**vars(architecture(shape))) for text in overrides),
            f"model.vocab_size={tokens.metrics['vocab_size']}",
            f"train.train_iters={steps}",
            f"validation.eval_interval={steps}",
            "validation.eval_iters=1",
            "ema.interval=0",  # the other loop keeps no average
        ],
    )


def megatron(plan: TrainingPlan, tokens: Artifact) -> float:
    """Tokens a second of the pretrain step, as its own log has them."""
    with tempfile.TemporaryDirectory() as folder:
        curve = pretrain(plan, tokens, Path(folder) / "out").metrics["curve"]
    return statistics.median(rate for _, _, _, rate in curve[WARM_UP:])


def products() -> tuple[float, float]:
    """FLOPs a second of large products in fp32: over PRODUCT_SECONDS, which a step could have, and of the fastest one.

    On a processor that is shared or grows warm the fastest is a quarter above what it holds.
    """
    import torch

    left, right, out = torch.randn(3, SIDE, SIDE)
    seconds: list[float] = []
    while sum(seconds) < PRODUCT_SECONDS:
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * SIDE**3 * len(seconds) / sum(seconds), 2 * SIDE**3 / min(seconds)


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
    for _ in range(plan.train_iters):
        batch = torch.randint(shape.vocab_size, (plan.global_batch_size, plan.seq_length))
        started = time.perf_counter()
        network(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    return plan.tokens_per_step / statistics.median(seconds[WARM_UP:])


def first_step(tokens: Artifact) -> tuple[float, float]:
    """Seconds from a command's start to its first step's end, and those of importing Megatron-Bridge alone."""
    imports = _seconds([sys.executable, "-c", "import glide_nemo.training.preload"])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        vocabulary = f"model.vocab_size={tokens.metrics['vocab_size']}"
        command = ["pretrain", "--recipe", "glide_nano_phaseB", "--tokens", str(tokens.path), "--out", str(out)]
        plan_training("glide_nano_phaseB", [vocabulary])  # a second run of a recipe finds it resolved
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "glide_nemo", *command, vocabulary], stderr=subprocess.DEVNULL
        )
        try:
            while not (out / "loss.jsonl").exists() or not (out / "loss.jsonl").stat().st_size:
                if process.poll() is not None:
                    raise RuntimeError(f"glide pretrain ended with {process.returncode} before its first step")
                time.sleep(0.02)
            return time.perf_counter() - started, imports
        finally:
            process.kill()
            process.wait()


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(floors.main("training", __doc__, measure, tokens="runs/quickstart/tokens"))
