"""A layout that does not divide is refused in one line, which names the nearest one that does."""

from __future__ import annotations

import pytest

from glide_nemo.errors import GlideError
from glide_nemo.training import loop
from glide_nemo.training.worker import run_with_megatron

TENSOR, PIPELINE, INTERLEAVED, CONTEXT = (
    f"model.{name}_parallel_size={{}}".format
    for name in ("tensor_model", "pipeline_model", "virtual_pipeline_model", "context")
)


@pytest.mark.parametrize(
    ("recipe", "layout", "why", "nearest"),
    [
        ("glide_nano_phaseB", (TENSOR(3),), f"{TENSOR(3)} does not divide 4 attention heads", TENSOR(2)),
        ("glide_nano_phaseB", (TENSOR(4),), f"{TENSOR(4)} does not divide 2 query groups", TENSOR(2)),
        ("glide_nano_phaseB", (PIPELINE(3),), f"{PIPELINE(3)} does not divide 4 layers", PIPELINE(4)),
        ("glide_nano_phaseB", (CONTEXT(3),), f"{CONTEXT(3)} does not divide 128 pairs of tokens", CONTEXT(4)),
        ("glide_nano_phaseB", (TENSOR(0),), "tensor_model_parallel_size is 0", TENSOR(1)),
        ("glide_nano_phaseB", (TENSOR(3), CONTEXT(3)), "does not divide", f"{TENSOR(2)} {CONTEXT(4)}"),
        ("glide_nano_phaseB", (INTERLEAVED(2),), "needs a pipeline", INTERLEAVED("null")),
        ("glide_nano_phaseB", (PIPELINE(4), INTERLEAVED(3)), "does not divide the 1 layers", INTERLEAVED(1)),
        ("glide_nano_phaseB", (PIPELINE(2), INTERLEAVED(2)), "take 16 sequences at a time", "16"),
        ("glide_nano_phaseB", ("model.sequence_parallel=true",), "needs tensor", "model.sequence_parallel=false"),
        ("glide3b_phaseB", (TENSOR(8), PIPELINE(3)), "takes 24 GPUs, which does not divide 64", PIPELINE(2)),
    ],
)  # fmt: skip
def test_a_layout_that_does_not_divide_names_the_nearest(
    recipe: str, layout: tuple[str, ...], why: str, nearest: str
) -> None:
    with pytest.raises(GlideError) as told:
        run_with_megatron(loop.plan, recipe, layout)
    message = str(told.value)
    assert message.startswith(f"{recipe} cannot be laid out so, ") and "\n" not in message
    assert why in message
    assert message.endswith(f" is {nearest}")


@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
def test_the_vocabulary_is_padded_alike_in_every_layout(tensor: int) -> None:
    """3b's 50,000 pieces are 390.6 times 128: Megatron would pad them further the more processes share them."""
    plan = run_with_megatron(loop.plan, "glide3b_phaseB", (TENSOR(tensor),))
    multiple = plan.config["model"]["make_vocab_size_divisible_by"] * tensor
    assert -(-plan.architecture.vocab_size // multiple) * multiple == plan.architecture.padded_vocab_size == 50_048


def test_a_cpu_starts_as_many_processes_as_one_copy_takes() -> None:
    assert run_with_megatron(loop.plan, "glide_nano_phaseB", ()).processes == 1
    assert run_with_megatron(loop.plan, "glide_nano_phaseB", (TENSOR(2), CONTEXT(2))).processes == 4
    assert run_with_megatron(loop.plan, "glide3b_phaseB", (TENSOR(2),)).processes == 1  # a launcher starts those
