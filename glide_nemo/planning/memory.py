"""Memory of training on one device, from the architecture and the layout. Pure arithmetic.

Bytes a parameter under mixed precision as Megatron-Core keeps them: bf16 weight 2, fp32 gradient 4, and of the
optimizer an fp32 weight and two moments, 12, divided over the data-parallel ranks by the distributed optimizer
(Megatron-Core docs, distributed optimizer). Activations after Korthikanti et al., arXiv 2205.05198, equation 2, without
the attention scores, which fused attention does not keep.
"""

from __future__ import annotations

from dataclasses import dataclass

from glide_nemo.model.architecture import GlideArchitecture

GB = 1e9


@dataclass(frozen=True)
class Layout:
    """How a model lies on devices."""

    gpus: int = 1
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    micro_batch_size: int = 1
    mixed_precision: bool = True
    distributed_optimizer: bool = True

    @property
    def data(self) -> int:
        return max(self.gpus // (self.tensor * self.pipeline * self.context), 1)


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest device."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def training_memory(
    architecture: GlideArchitecture, layout: Layout, seq_length: int, *, trained: int | None = None
) -> Memory:
    """Memory of one training step in sequences of `seq_length` tokens, on the device that holds the embedding.

    `trained` parameters of adapters have gradients and an optimizer; None is all of the model's own.
    """
    layers = -(-architecture.num_layers // layout.pipeline)
    held = (architecture.embedding_parameters + layers * architecture.layer_parameters) / layout.tensor
    # Of adapters a device has its stage's, split as the weights are; they come on top of those.
    adapters = 0 if trained is None else trained / architecture.num_layers * layers / layout.tensor
    stepped = held if trained is None else adapters
    value = 2 if layout.mixed_precision else 4  # bytes of an activation and of a weight that is multiplied
    optimizer = 12 if layout.mixed_precision else 8  # in fp32 the weight is its own master copy
    tokens = layout.micro_batch_size * seq_length / layout.context
    # Kept of a layer for its backward pass, in values a token: norms and residuals, attention, SwiGLU.
    query = architecture.num_attention_heads * architecture.kv_channels
    key_value = 2 * architecture.num_query_groups * architecture.kv_channels
    attention = 2 * architecture.hidden_size + 2 * query + key_value
    swiglu = 2 * architecture.hidden_size + 3 * architecture.ffn_hidden_size
    in_flight = layout.pipeline  # micro-batches whose activations the first stage keeps (1F1B)
    # Logits, their fp32 copy and gradient in the loss; on the last stage, which with one stage is also the first.
    logits = tokens * architecture.padded_vocab_size / layout.tensor * (value + 8) if layout.pipeline == 1 else 0
    return Memory(
        weights=(held + adapters) * value,
        gradients=stepped * 4,
        optimizer=stepped * optimizer / (layout.data if layout.distributed_optimizer else 1),
        activations=tokens * layers * (attention + swiglu) / layout.tensor * value * in_flight,
        logits=logits,
    )
