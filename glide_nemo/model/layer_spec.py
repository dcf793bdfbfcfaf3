"""Which layers a GLiDE model is built from: Transformer Engine's where it is installed, else Megatron-Core's own.

Megatron-Core's own attention materialises the scores and takes no part of a sequence; the one here calls PyTorch's
scaled_dot_product_attention, over a context-parallel group too.

Shape suffixes: S = sequence, B = batch, N = attention heads, G = query groups, H = head dimension.
"""

from __future__ import annotations

import importlib.util

import torch
import torch.nn.functional as F
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_layer_local_spec,
    get_gpt_layer_with_transformer_engine_spec,
)
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig

from glide_nemo.model.context_parallel import context_parallel_attention
from glide_nemo.model.norm import rms_norm


def causal_attention(
    query_SBNH: torch.Tensor, key_SBGH: torch.Tensor, value_SBGH: torch.Tensor, dropout_p: float, scale: float | None
) -> torch.Tensor:
    """The context of sequences of which each token sees itself and what is before it, of shape (S, B, N, H)."""
    query_BNSH, key_BGSH, value_BGSH = (each.permute(1, 2, 0, 3) for each in (query_SBNH, key_SBGH, value_SBGH))
    context_BNSH = F.scaled_dot_product_attention(
        query_BNSH,
        key_BGSH,
        value_BGSH,
        is_causal=True,
        dropout_p=dropout_p,
        scale=scale,
        enable_gqa=query_BNSH.size(1) != key_BGSH.size(1),
    )
    return context_BNSH.permute(2, 0, 1, 3)


class SdpaCoreAttention(MegatronModule):
    """Causal attention through torch's scaled_dot_product_attention.

    Takes the place of megatron.core.transformer.dot_product_attention.DotProductAttention, with its interface.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        cp_comm_type: str | None = None,
        pg_collection: ProcessGroupCollection | None = None,
    ) -> None:
        super().__init__(config=config)
        assert attn_mask_type == AttnMaskType.causal, "SdpaCoreAttention is causal"
        self.context_group = (pg_collection or ProcessGroupCollection.use_mpu_process_groups(["cp"])).cp
        self.softmax_scale = softmax_scale  # None is 1 / sqrt(H)
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout

    def forward(
        self,
        query_SBNH: torch.Tensor,
        key_SBGH: torch.Tensor,
        value_SBGH: torch.Tensor,
        attention_mask: torch.Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: torch.Tensor | None = None,
        packed_seq_params: PackedSeqParams | None = None,
    ) -> torch.Tensor:
        """Returns the context, of shape (S, B, N * H).

        `attention_mask`, of shape (B, 1, S, S) and True where a token does not see another, is there only where
        documents are kept apart; it holds the causal mask too.
        With `packed_seq_params`, query, key and value come as (S, N or G, H): sequences joined end to end, of which
        none attends to another.
        """
        assert attention_bias is None, "not used by a GLiDE model"
        if packed_seq_params is not None:
            return self._packed(query_SBNH, key_SBGH, value_SBGH, packed_seq_params)
        dropout_p = self.dropout if self.training else 0.0
        if attention_mask is None and self.config.context_parallel_size == 1:
            return causal_attention(query_SBNH, key_SBGH, value_SBGH, dropout_p, self.softmax_scale).flatten(2)
        query_BNSH = query_SBNH.permute(1, 2, 0, 3)
        if self.config.context_parallel_size > 1:
            assert attention_mask is None, "documents are kept apart within one process"
            context_BNSH = context_parallel_attention(
                query_BNSH, key_SBGH, value_SBGH, self.context_group, dropout_p=dropout_p, scale=self.softmax_scale
            )
        else:
            key_BGSH, value_BGSH = (tensor.permute(1, 2, 0, 3) for tensor in (key_SBGH, value_SBGH))
            context_BNSH = F.scaled_dot_product_attention(
                query_BNSH,
                key_BGSH,
                value_BGSH,
                attn_mask=~attention_mask,
                dropout_p=dropout_p,
                scale=self.softmax_scale,
                enable_gqa=query_BNSH.size(1) != key_BGSH.size(1),
            )
        return context_BNSH.permute(2, 0, 1, 3).flatten(2)

    def _packed(
        self, query_SNH: torch.Tensor, key_SGH: torch.Tensor, value_SGH: torch.Tensor, packed: PackedSeqParams
    ) -> torch.Tensor:
        """The context of joined sequences, of shape (S, N * H), sequence by sequence."""
        lengths = packed.cu_seqlens_q.diff().tolist()
        parts = zip(*(tensor.split(lengths) for tensor in (query_SNH, key_SGH, value_SGH)), strict=True)
        contexts = [self.forward(*(part.unsqueeze(1) for part in sequence), None).squeeze(1) for sequence in parts]
        return torch.cat(contexts)


def glide_layer_spec(config: TransformerConfig, vp_stage: int | None = None) -> ModuleSpec | TransformerBlockSubmodules:
    """The layers of a GLiDE model, for `GPTModelProvider.transformer_layer_spec`; of a pipeline stage, where split."""
    if importlib.util.find_spec("transformer_engine") is not None:
        return get_gpt_layer_with_transformer_engine_spec()
    layer = get_gpt_layer_local_spec(normalization="RMSNorm")
    layer.submodules.self_attention.submodules.core_attention = SdpaCoreAttention
    layer.submodules.input_layernorm = layer.submodules.pre_mlp_layernorm = rms_norm
    # A whole block, because a spec of one layer leaves the norm after the last one to Megatron.
    layers = get_num_layers_to_build(config, vp_stage=vp_stage)
    return TransformerBlockSubmodules(layer_specs=[layer] * layers, layer_norm=rms_norm)
