"""Between a Megatron checkpoint and Hugging Face's LlamaForCausalLM, by Megatron-Bridge's own weight mapping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from megatron.bridge.models.llama.llama_bridge import LlamaBridge
from megatron.bridge.training.model_load_save import load_megatron_model, temporary_distributed_context
from megatron.bridge.utils.instantiate_utils import register_allowed_target_prefix
from megatron.core.models.gpt import GPTModel

from glide_nemo.errors import GlideError
from glide_nemo.model.architecture import GlideArchitecture

register_allowed_target_prefix("glide_nemo.")  # a checkpoint's config names our layer spec


def latest_iteration(checkpoints: Path) -> Path:
    """The directory of the newest whole iteration under a directory that Megatron-Bridge saved to."""
    tracker = checkpoints / "latest_checkpointed_iteration.txt"
    if not tracker.exists():
        raise GlideError(f"no Megatron checkpoint in {checkpoints}: train one with `glide pretrain`")
    return checkpoints / f"iter_{int(tracker.read_text()):07d}"


@contextmanager
def loaded_model(checkpoints: Path) -> Iterator[GPTModel]:
    """The model of a checkpoint on the CPU in one process, at whatever layout it was saved; fp32, in eval mode."""
    iteration = latest_iteration(checkpoints)
    with temporary_distributed_context(backend="gloo"):
        (model,) = load_megatron_model(str(iteration), use_cpu_init=True, skip_temp_dist_context=True)
        yield model.float().eval()


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


@torch.inference_mode()
def logits(model: GPTModel, tokens_BS: torch.Tensor) -> torch.Tensor:
    """Logits of shape (B, S, padded vocabulary) of whole sequences."""
    positions_BS = torch.arange(tokens_BS.size(1)).expand_as(tokens_BS)
    return model(input_ids=tokens_BS, position_ids=positions_BS, attention_mask=None)
