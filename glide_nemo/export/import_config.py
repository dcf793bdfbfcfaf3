"""config.json of a Llama as a GLiDE architecture, or why it is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import YARN
from glide_nemo.model.architecture import GlideArchitecture

# What a GLiDE model is, and what Hugging Face's LlamaConfig takes where config.json is silent.
REQUIRED = {
    "model_type": ("llama", None),
    "hidden_act": ("silu", "silu"),
    "attention_bias": (False, False),
    "mlp_bias": (False, False),
    "tie_word_embeddings": (True, False),
}


def architecture_of_config(stated: dict[str, Any], model: Path) -> GlideArchitecture:
    """The architecture that a config.json describes, whichever form of RoPE's settings it has.

    Raises GlideError for what GLiDE's Megatron model does not compute, such as untied embeddings.
    """
    for key, (wanted, default) in REQUIRED.items():
        if (found := stated.get(key, default)) != wanted:
            raise GlideError(f"cannot import {model} with {key}={found}: pass a Llama with {key}={wanted}")
    heads = stated["num_attention_heads"]
    base, yarn = _positions(stated, model)
    return GlideArchitecture(
        name=stated.get("name", "imported"),
        num_layers=stated["num_hidden_layers"],
        hidden_size=stated["hidden_size"],
        ffn_hidden_size=stated["intermediate_size"],
        num_attention_heads=heads,
        num_query_groups=stated.get("num_key_value_heads") or heads,
        kv_channels=stated.get("head_dim") or stated["hidden_size"] // heads,
        vocab_size=stated["vocab_size"],
        seq_length=stated["max_position_embeddings"],
        rotary_base=base,
        layernorm_epsilon=stated["rms_norm_eps"],
        init_method_std=stated.get("initializer_range", 0.02),
        **yarn,
    )


def _positions(stated: dict[str, Any], model: Path) -> tuple[float, dict[str, float | int]]:
    """RoPE's base, and the settings of YaRN where there are any."""
    newer = stated.get("rope_parameters") or {}
    scaling = {key: value for key, value in newer.items() if key != "rope_theta"} or stated.get("rope_scaling") or {}
    base = newer.get("rope_theta") or stated.get("rope_theta") or 10_000.0
    if "type" in scaling:  # as transformers called it once
        scaling = {"rope_type": scaling["type"]} | {key: value for key, value in scaling.items() if key != "type"}
    if scaling.get("rope_type", "default") == "default":
        return float(base), {}
    if scaling["rope_type"] != "yarn" or set(scaling) - YARN:
        raise GlideError(f"cannot import {model} with rope_scaling={scaling}: pass a Llama with YaRN or without")
    return float(base), {
        "rope_scaling_factor": float(scaling["factor"]),
        "rope_original_context": int(
            scaling.get("original_max_position_embeddings") or stated["max_position_embeddings"] / scaling["factor"]
        ),
        "rope_beta_fast": float(scaling.get("beta_fast") or 32.0),
        "rope_beta_slow": float(scaling.get("beta_slow") or 1.0),
    }
