"""The arithmetic of an architecture is that of the model as built and as it computes."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from glide_nemo.model.architecture import GlideArchitecture, architecture, nano
from glide_nemo.recipes.recipe import prefix
from glide_nemo.training import loop
from glide_nemo.training.worker import run_with_megatron


def count(name: str, report: loop.Report) -> tuple[int, int]:
    """Parameters of a recipe's model, and the bytes that counting them took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counted, _ = loop.count_parameters(name, (), report)
    return counted, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


@pytest.mark.parametrize(("size", "parameters"), [("nano", 4_196_608), ("125m", 113_953_536), ("3b", 3_173_833_728)])
@pytest.mark.parametrize("phase", ["phaseA", "phaseB"])
def test_parameters_equal_those_of_the_model_as_built(size: str, parameters: int, phase: str) -> None:
    counted, bytes_taken = run_with_megatron(count, f"{prefix(size)}_{phase}")
    assert architecture(size).parameters == counted == parameters
    assert bytes_taken < 300e6, "counting allocated the model"


def test_flops_equal_those_that_torch_counts() -> None:
    """Eager attention computes the whole square of scores, of which the causal half counts here."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, tokens, batch = nano(), 128, 2
    config = LlamaConfig(
        vocab_size=shape.padded_vocab_size, hidden_size=shape.hidden_size, intermediate_size=shape.ffn_hidden_size,
        num_hidden_layers=shape.num_layers, num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_query_groups, head_dim=shape.kv_channels, tie_word_embeddings=True,
        attn_implementation="eager",
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    counter = FlopCounterMode(display=False)
    with counter:
        ids = torch.zeros(batch, tokens, dtype=torch.long)
        model(input_ids=ids, labels=ids).loss.backward()
    counted = counter.get_total_flops() / (batch * tokens)
    attention = tokens * (shape.flops_per_token(2) - shape.flops_per_token(1))
    assert attention > 0.02 * counted
    assert shape.flops_per_token(tokens) + attention == pytest.approx(counted, rel=1e-3)


def test_the_vocabulary_is_padded_to_a_multiple_of_128() -> None:
    assert architecture("3b").padded_vocab_size == 50_048
    assert nano().padded_vocab_size == 4_096


def test_the_cache_holds_a_key_and_a_value_of_each_group() -> None:
    shape = architecture("3b")
    assert shape.kv_cache_bytes_per_token() == 30 * 8 * 128 * 2 * 2


def test_query_groups_divide_the_heads() -> None:
    shape: dict[str, Any] = vars(nano()) | {"num_query_groups": 3}
    with pytest.raises(AssertionError, match="query groups"):
        GlideArchitecture(**shape)
