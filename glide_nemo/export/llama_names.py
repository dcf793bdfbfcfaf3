"""A Megatron checkpoint's weights under the names and in the shapes of LlamaForCausalLM, one after the other.

Megatron keeps query, key and value in one matrix, by query groups: (q ... q, k, v) of the first, of the second, ...;
gate and up in another, one after the other. Layers are stacked along a leading axis where all are alike, else numbered.

Shape suffixes: G = query groups, Q = queries of a group, H = head dimension, D = hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError
from glide_nemo.export.torch_dist import TorchDistCheckpoint
from glide_nemo.model.architecture import GlideArchitecture

if TYPE_CHECKING:
    import torch

EMBEDDING, FINAL_NORM = "embedding.word_embeddings.weight", "decoder.final_layernorm.weight"
QUERY_KEY_VALUE, GATE_UP = "self_attention.linear_qkv.weight", "mlp.linear_fc1.weight"
# What is the same matrix in both. Norms belong to the next matrix in Transformer Engine's layers.
SAME = {
    "input_layernorm.weight": "input_layernorm.weight",
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
    "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
    "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
    "mlp.linear_fc2.weight": "mlp.down_proj.weight",
}


def llama_weights(
    checkpoint: TorchDistCheckpoint, architecture: GlideArchitecture, vocab_size: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and weight of each parameter, in the type they were saved in; of the vocabulary the first `vocab_size` rows.

    Raises GlideError for a checkpoint that holds what a Llama with tied embeddings and without biases has not.
    """
    layers = _layers(checkpoint, architecture)
    hidden = architecture.hidden_size
    yield "model.embed_tokens.weight", checkpoint.read(EMBEDDING, (0, 0), (vocab_size, hidden))
    for number, parts in enumerate(layers):
        for part, (name, layer) in parts.items():
            for ours, split in named(part, checkpoint.entry(name, layer), architecture).items():
                yield f"model.layers.{number}.{ours}", split
    yield "model.norm.weight", checkpoint.entry(FINAL_NORM)


def named(part: str, weight: torch.Tensor, architecture: GlideArchitecture) -> dict[str, torch.Tensor]:
    """One of Megatron's weights of a layer as LlamaForCausalLM's; rows are split, so any second axis will do."""
    if part == QUERY_KEY_VALUE:
        return {f"self_attn.{name}.weight": rows for name, rows in query_key_value(weight, architecture).items()}
    if part == GATE_UP:
        gate, up = weight.chunk(2)
        return {"mlp.gate_proj.weight": gate, "mlp.up_proj.weight": up}
    return {SAME[part]: weight}


def query_key_value(weight: torch.Tensor, architecture: GlideArchitecture) -> dict[str, torch.Tensor]:
    """`q_proj`, `k_proj` and `v_proj` of the one matrix that Megatron keeps them in."""
    groups, size = architecture.num_query_groups, architecture.kv_channels
    queries = architecture.num_attention_heads // groups
    weight_GQHD = weight.view(groups, queries + 2, size, -1)
    parts = {"q_proj": weight_GQHD[:, :queries], "k_proj": weight_GQHD[:, -2], "v_proj": weight_GQHD[:, -1]}
    return {name: part.reshape(-1, weight.size(-1)) for name, part in parts.items()}


def _layers(
    checkpoint: TorchDistCheckpoint, architecture: GlideArchitecture
) -> list[dict[str, tuple[str, tuple[int, ...]]]]:
    """Where each weight of each layer lies: the stored name, and the index in a stack, () where it is alone.

    GlideError where something is missing or is of another model.
    """
    known = {QUERY_KEY_VALUE, GATE_UP, *SAME}
    layers: list[dict[str, tuple[str, tuple[int, ...]]]] = [{} for _ in range(architecture.num_layers)]
    for name in sorted(checkpoint.tensors):
        if name in (EMBEDDING, FINAL_NORM) or name.startswith(("optimizer.", "rng_state", "rerun_state")):
            continue
        part = name.removeprefix("decoder.layers.")
        number, _, rest = part.partition(".")
        if name.startswith("decoder.layers.") and part in known:
            for index, layer in enumerate(layers):
                layer[part] = name, (index,)
        elif number.isdigit() and rest in known and int(number) < len(layers):
            layers[int(number)][rest] = name, ()
        else:
            raise GlideError(
                f"{checkpoint.path} holds {name}, which a Llama with tied embeddings and no biases has not: "
                "only those are exported"
            )
    wanted = {EMBEDDING, FINAL_NORM} - set(checkpoint.tensors)
    lacking = [*wanted, *(f"a weight of layer {i}" for i, layer in enumerate(layers) if len(layer) != 6)]
    if lacking:
        raise GlideError(f"{checkpoint.path} lacks {lacking[0]}: pass the checkpoint of a whole model")
    return layers
