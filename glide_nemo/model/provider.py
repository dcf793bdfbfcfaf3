"""From a GLiDE architecture to the provider that builds Megatron-Core's GPTModel."""

from __future__ import annotations

import importlib.util

import torch.nn.functional as F
from megatron.bridge.models.gpt_provider import GPTModelProvider

from glide_nemo.model.architecture import VOCABULARY_MULTIPLE, GlideArchitecture
from glide_nemo.model.layer_spec import glide_layer_spec


def model_provider(
    architecture: GlideArchitecture, *, seq_length: int | None = None, **layout: int
) -> GPTModelProvider:
    """A provider for an architecture; `layout` takes Megatron's parallel sizes (tensor_model_parallel_size, ...).

    Fusions that only CUDA kernels do are on where Transformer Engine is installed and off elsewhere.
    """
    fused = importlib.util.find_spec("transformer_engine") is not None
    return GPTModelProvider(
        num_layers=architecture.num_layers,
        hidden_size=architecture.hidden_size,
        ffn_hidden_size=architecture.ffn_hidden_size,
        num_attention_heads=architecture.num_attention_heads,
        num_query_groups=architecture.num_query_groups,
        kv_channels=architecture.kv_channels,
        vocab_size=architecture.vocab_size,
        should_pad_vocab=True,
        make_vocab_size_divisible_by=VOCABULARY_MULTIPLE,
        seq_length=seq_length or architecture.seq_length,
        # What makes it a Llama.
        normalization="RMSNorm",
        layernorm_epsilon=architecture.layernorm_epsilon,
        gated_linear_unit=True,
        activation_func=F.silu,
        add_bias_linear=False,
        add_qkv_bias=False,
        rotary_base=architecture.rotary_base,
        rotary_percent=1.0,
        **architecture.positions,
        share_embeddings_and_output_weights=True,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        init_method_std=architecture.init_method_std,
        transformer_layer_spec=glide_layer_spec,
        # Fused by CUDA kernels, and on a CPU by the functions of its backend.
        bias_activation_fusion=True,
        cross_entropy_loss_fusion=True,
        # Fused CUDA kernels.
        apply_rope_fusion=fused,
        bias_dropout_fusion=fused,
        masked_softmax_fusion=fused,
        persist_layer_norm=fused,
        # The output layer is not Transformer Engine's and raises without Apex: core/tensor_parallel/layers.py:1070.
        gradient_accumulation_fusion=importlib.util.find_spec("fused_weight_gradient_mlp_cuda") is not None,
        **layout,
    )


def architecture_of(provider: GPTModelProvider, name: str) -> GlideArchitecture:
    """The architecture that a provider builds, overrides included."""
    yarn = provider.position_embedding_type == "yarn"
    return GlideArchitecture(
        name=name,
        num_layers=provider.num_layers,
        hidden_size=provider.hidden_size,
        ffn_hidden_size=provider.ffn_hidden_size,
        num_attention_heads=provider.num_attention_heads,
        num_query_groups=provider.num_query_groups,
        kv_channels=provider.kv_channels,
        vocab_size=provider.vocab_size,
        seq_length=provider.seq_length,
        rotary_base=provider.rotary_base,
        layernorm_epsilon=provider.layernorm_epsilon,
        init_method_std=provider.init_method_std,
        **(
            {
                "rope_scaling_factor": provider.yarn_rotary_scaling_factor,
                "rope_original_context": provider.yarn_original_max_position_embeddings,
                "rope_beta_fast": provider.yarn_beta_fast,
                "rope_beta_slow": provider.yarn_beta_slow,
            }
            if yarn
            else {}
        ),
    )
