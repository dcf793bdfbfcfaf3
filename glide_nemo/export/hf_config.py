"""config.json and generation_config.json of a GLiDE model: a LlamaForCausalLM to every runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError
from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.tokenizer import special
from glide_nemo.tokenizer.recipes import MISTAKEN_SIZES

# What a GLiDE model says of YaRN. `attention_factor` is not among it: every runtime works it out from the factor.
YARN = {"rope_type", "factor", "original_max_position_embeddings", "beta_fast", "beta_slow"}


def model_config(architecture: GlideArchitecture, vocab_size: int, ids: dict[str, int], dtype: str) -> dict[str, Any]:
    """config.json with the tokenizer's `vocab_size` (the padded rows are not exported) and special token `ids`.

    RoPE is written in both forms: `rope_parameters`, which transformers 5 reads, and `rope_theta` with `rope_scaling`,
    which transformers 4, llama.cpp and TensorRT-LLM read. A file with only the first loads in transformers 4 without
    complaint, and wrong.

    Raises GlideError where the vocabulary has a size that llama.cpp takes for another model's.
    """
    if vocab_size in MISTAKEN_SIZES:
        raise GlideError(
            f"a vocabulary of {vocab_size} makes llama.cpp take the model for another one: train another tokenizer"
        )
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": architecture.hidden_size,
        "intermediate_size": architecture.ffn_hidden_size,
        "num_hidden_layers": architecture.num_layers,
        "num_attention_heads": architecture.num_attention_heads,
        "num_key_value_heads": architecture.num_query_groups,
        "head_dim": architecture.kv_channels,
        "hidden_act": "silu",
        "max_position_embeddings": architecture.seq_length,
        "rms_norm_eps": architecture.layernorm_epsilon,
        "rope_theta": architecture.rotary_base,
        "rope_scaling": architecture.rope_scaling,
        "rope_parameters": {"rope_theta": architecture.rotary_base}
        | (architecture.rope_scaling or {"rope_type": "default"}),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "initializer_range": architecture.init_method_std,
        "bos_token_id": ids[special.END_OF_TEXT],
        "eos_token_id": ids[special.END_OF_TEXT],
        "pad_token_id": ids[special.PAD],
        "dtype": dtype,
        "torch_dtype": dtype,  # what transformers 4 calls it
        "use_cache": True,
    }


def generation_config(ids: dict[str, int]) -> dict[str, Any]:
    """generation_config.json: writing stops at the end of a document and at the end of a chat turn."""
    return {
        "bos_token_id": ids[special.END_OF_TEXT],
        "eos_token_id": [ids[special.END_OF_TEXT], ids[special.TURN_END]],
        "pad_token_id": ids[special.PAD],
    }


def refuse_two_ropes(stated: dict[str, Any], model: Path) -> None:
    """GlideError for a config.json whose two forms of RoPE say different things: runtimes read one or the other."""
    if stated["rope_parameters"] != {"rope_theta": stated["rope_theta"]} | (
        stated["rope_scaling"] or {"rope_type": "default"}
    ):
        raise GlideError(f"rope_theta and rope_parameters in {model}/config.json disagree: export the model again")


def read_config(model: Path) -> dict[str, Any]:
    """config.json of a Hugging Face directory. GlideError where there is none to read."""
    try:
        return json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GlideError(f"no readable config.json in {model} ({error}): pass a Hugging Face directory") from error
