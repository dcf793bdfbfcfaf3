"""A Megatron model as LlamaForCausalLM by Megatron-Bridge's own weight mapping: what the exporter is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from megatron.bridge.models.llama.llama_bridge import LlamaBridge
from megatron.core.models.gpt import GPTModel

from glide_nemo.model.architecture import GlideArchitecture


def hugging_face_config(architecture: GlideArchitecture, max_position_embeddings: int) -> Any:
    """The LlamaConfig that says of Hugging Face's model what an architecture says of Megatron's."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.ffn_hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_attention_heads,
        num_key_value_heads=architecture.num_query_groups,
        head_dim=architecture.kv_channels,
        max_position_embeddings=max_position_embeddings,
        rms_norm_eps=architecture.layernorm_epsilon,
        rope_parameters={"rope_theta": architecture.rotary_base}
        | (architecture.rope_scaling or {"rope_type": "default"}),
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
        hidden_act="silu",
        initializer_range=architecture.init_method_std,
        architectures=["LlamaForCausalLM"],
    )


def hugging_face_weights(model: GPTModel, config: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and weight of each parameter of LlamaForCausalLM, one at a time; padded vocabulary rows cut off.

    With tied embeddings the one matrix goes by both its names.
    """
    for name, weight in LlamaBridge().stream_weights_megatron_to_hf([model], config, show_progress=False):
        of_vocabulary = name in ("model.embed_tokens.weight", "lm_head.weight")
        yield name, weight[: config.vocab_size] if of_vocabulary else weight
