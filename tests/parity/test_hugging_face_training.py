"""nano trained by Megatron-Bridge on the CPU, and by Hugging Face with torch's AdamW: the same losses and gradients.

Same initial weights, same batches in the same order, fp32, the recipe's own optimizer and schedule.
"""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import pytest
import torch

from glide_nemo.artifact import Artifact
from glide_nemo.recipes import phase_b
from glide_nemo.training import loop
from glide_nemo.training.worker import run_with_megatron

STEPS = 20
# The recipe as it is, but for its length and the size of a batch.
OVERRIDES = ("train.train_iters=20", "train.global_batch_size=4", "train.micro_batch_size=2", "validation.eval_iters=1")
# Measured on 2 x86-64 cores: 3.4e-7, 7.1e-6 and 6.1e-7; the room is for the kernels of other chips.
LOSS_BOUND, GRADIENT_BOUND, WEIGHT_BOUND = 5e-6, 2e-5, 2e-5


@pytest.fixture(scope="module")
def megatron(small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Megatron-Bridge began from, was fed and did."""
    out = tmp_path_factory.mktemp("parity")
    (out / "logs").mkdir()
    paths = loop.Paths(small_tokens.path, small_tokens.input("tokenizer").path.resolve(), out)
    run_with_megatron(train_and_record, paths, log=out / "megatron.log")
    recorded = torch.load(out / "recorded.pt", weights_only=False)
    recorded["lines"] = [json.loads(line) for line in (out / "loss.jsonl").read_text().splitlines()]
    return recorded


def train_and_record(paths: loop.Paths, report: loop.Report) -> None:
    """Runs in a process of its own, so what is replaced here need not be put back."""
    from bridge_weights import hugging_face_config, hugging_face_weights
    from megatron.bridge.training import gpt_step
    from megatron.core.utils import unwrap_model

    from glide_nemo.model.architecture import nano
    from glide_nemo.model.bridge import loaded_model

    config = hugging_face_config(nano(), 256)
    recorded: dict[str, Any] = {"config": config.to_dict(), "batches": []}

    def weights(model: Any) -> dict[str, torch.Tensor]:
        return {name: weight.clone() for name, weight in hugging_face_weights(model, config)}

    forward_step, get_batch = gpt_step.forward_step, gpt_step.get_batch

    @functools.wraps(forward_step)
    def first_record_weights(*args: Any, **kwargs: Any) -> Any:
        model = kwargs.get("model", args[2] if len(args) > 2 else None)
        if "initial" not in recorded:
            recorded["initial"] = weights(unwrap_model(model))
        return forward_step(*args, **kwargs)

    @functools.wraps(get_batch)
    def record_batch(*args: Any, **kwargs: Any) -> Any:
        batch = get_batch(*args, **kwargs)
        recorded["batches"].append(tuple(tensor.clone() for tensor in batch[:3]))  # tokens, labels, loss mask
        return batch

    gpt_step.forward_step, gpt_step.get_batch = first_record_weights, record_batch
    loop.train("glide_nano_phaseB", OVERRIDES, paths, report)
    with loaded_model(paths.out / "checkpoints") as model:
        recorded["final"] = weights(model)
    torch.save(recorded, paths.out / "recorded.pt")


def learning_rate(step: int) -> float:
    """Of the recipe: a linear warm-up from zero, then a cosine to a tenth; `step` counts from 0."""
    run = phase_b.RUNS["nano"]
    peak, floor, warmup = run.lr, run.min_lr, run.warmup_iters
    if step < warmup:
        return peak * step / warmup
    return floor + (peak - floor) * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2


@pytest.fixture(scope="module")
def hugging_face(megatron: dict[str, Any]) -> dict[str, Any]:
    """The same training by Hugging Face's model and torch's optimizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig.from_dict(megatron["config"])).float()
    missing, unexpected = model.load_state_dict(megatron["initial"], strict=False)
    assert unexpected == [] and missing in ([], ["lm_head.weight"])  # tied to the embedding
    parameters = list(model.parameters())
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": 0.1},
        {"params": [parameter for parameter in parameters if parameter.ndim == 1], "weight_decay": 0.0},  # norms
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        micro_batches = megatron["batches"][2 * step : 2 * step + 2]
        counted = sum(mask.sum() for _, _, mask in micro_batches)
        loss = torch.zeros(())
        for tokens_BS, labels_BS, mask_BS in micro_batches:
            logits_BSV = model(input_ids=tokens_BS).logits
            each = torch.nn.functional.cross_entropy(logits_BSV.flatten(0, 1), labels_BS.flatten(), reduction="none")
            part = (each * mask_BS.flatten()).sum() / counted
            part.backward()
            loss += part.detach()
        # clip_grad_norm_ would sum in fp32, and lose 2e-4 over a million values.
        norm = torch.stack([parameter.grad.double().norm() for parameter in parameters]).norm()
        torch.nn.utils.clip_grads_with_norm_(parameters, 1.0, norm.float())
        norms.append(float(norm))
        losses.append(float(loss))
        optimizer.step()
    return {"losses": losses, "norms": norms, "final": model.state_dict()}


def largest_relative(ours: list[float], theirs: list[float]) -> float:
    assert len(ours) == len(theirs) == STEPS
    largest = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
    print(f"differs by {largest:.1e}")  # for `pytest -s`
    return largest


def test_every_batch_was_another_one(megatron: dict[str, Any]) -> None:
    first_rows = {tuple(tokens[0].tolist()) for tokens, _, _ in megatron["batches"][: 2 * STEPS]}
    assert len(first_rows) == 2 * STEPS


def test_learning_rates_follow_the_recipe(megatron: dict[str, Any]) -> None:
    expected = [learning_rate(step) for step in range(STEPS)]
    assert [line["learning_rate"] for line in megatron["lines"]] == pytest.approx(expected, rel=1e-6)


def test_losses_agree_at_every_step(megatron: dict[str, Any], hugging_face: dict[str, Any]) -> None:
    losses = [line["loss"] for line in megatron["lines"]]
    assert losses[-1] < losses[0] - 1, "it has not learnt anything"
    assert largest_relative(losses, hugging_face["losses"]) < LOSS_BOUND


def test_gradient_norms_agree_at_every_step(megatron: dict[str, Any], hugging_face: dict[str, Any]) -> None:
    norms = [line["grad_norm"] for line in megatron["lines"]]
    assert max(norms) > 1, "clipping was never used"
    assert largest_relative(norms, hugging_face["norms"]) < GRADIENT_BOUND


def test_final_weights_agree(megatron: dict[str, Any], hugging_face: dict[str, Any]) -> None:
    differences = {}
    for name, weight in megatron["final"].items():
        assert not torch.equal(weight, megatron["initial"][name]), f"{name} was not trained"
        theirs = hugging_face["final"][name]
        differences[name] = float((weight - theirs).norm() / theirs.norm())
    print(f"weights differ by {max(differences.values()):.1e}")
    assert max(differences.values()) < WEIGHT_BOUND, differences
