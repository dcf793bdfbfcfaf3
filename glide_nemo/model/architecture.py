"""The shape of a GLiDE model, and every number that follows from it. Pure arithmetic: no torch, no Megatron.

`GlideArchitecture` is the one dial of the project: a recipe is written once and takes one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from glide_nemo import plugins

VOCABULARY_MULTIPLE = (
    128  # padded to this, so that the output matrix divides over tensor-parallel ranks and tensor cores
)


@dataclass(frozen=True)
class GlideArchitecture:
    """A decoder-only, Llama-compatible transformer: RMSNorm, RoPE, GQA, SwiGLU, tied embeddings, no biases.

    Names are Megatron-Core's. `seq_length` is the context that the phases A and B train at, in tokens.
    With `rope_scaling_factor` above 1 positions are stretched by YaRN (arXiv 2309.00071), from
    `rope_original_context` tokens on: dimensions that turn at least `rope_beta_fast` times within it are left as they
    are, those that turn at most `rope_beta_slow` times are interpolated.
    """

    name: str
    num_layers: int
    hidden_size: int
    ffn_hidden_size: int
    num_attention_heads: int
    num_query_groups: int
    kv_channels: int
    vocab_size: int
    seq_length: int
    rotary_base: float = 10_000.0
    layernorm_epsilon: float = 1e-5
    init_method_std: float = 0.02
    rope_scaling_factor: float = 1.0
    rope_original_context: int = 0  # tokens; 0 where nothing is stretched
    rope_beta_fast: float = 32.0
    rope_beta_slow: float = 1.0

    def __post_init__(self) -> None:
        assert self.num_attention_heads % self.num_query_groups == 0, "query groups must divide the heads"
        assert (self.rope_scaling_factor > 1) == (self.rope_original_context > 0), (
            "YaRN stretches a context by a factor"
        )

    @property
    def rope_scaling(self) -> dict[str, float | int | str] | None:
        """What Hugging Face calls `rope_scaling`; None for plain RoPE.

        `attention_factor` is left to its default, 0.1 ln(factor) + 1: llama.cpp and TensorRT-LLM know no other.
        """
        if self.rope_scaling_factor == 1:
            return None
        return {
            "rope_type": "yarn",
            "factor": self.rope_scaling_factor,
            "original_max_position_embeddings": self.rope_original_context,
            "beta_fast": self.rope_beta_fast,
            "beta_slow": self.rope_beta_slow,
        }

    @property
    def positions(self) -> dict[str, float | int | str]:
        """The settings of Megatron's model that compute plain RoPE, or YaRN as Hugging Face and llama.cpp do.

        With other values than these for the last three, Megatron-Core scales attention otherwise, or leaves the bounds
        between stretched and unstretched dimensions unrounded: logits then differ by 1e-2.
        """
        if self.rope_scaling is None:
            return {"position_embedding_type": "rope"}
        return {
            "position_embedding_type": "yarn",
            "yarn_rotary_scaling_factor": self.rope_scaling_factor,
            "yarn_original_max_position_embeddings": self.rope_original_context,
            "yarn_beta_fast": self.rope_beta_fast,
            "yarn_beta_slow": self.rope_beta_slow,
            "yarn_mscale": 1.0,
            "yarn_mscale_all_dim": 0.0,
            "yarn_correction_range_round_to_int": True,
        }

    def stretched(self, context: int) -> GlideArchitecture:
        """This architecture with its own context stretched to `context` tokens by YaRN."""
        return replace(
            self,
            seq_length=context,
            rope_scaling_factor=context / self.seq_length,
            rope_original_context=self.seq_length,
        )

    @property
    def padded_vocab_size(self) -> int:
        return -(-self.vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE

    @property
    def embedding_parameters(self) -> int:
        """Of the one matrix that serves as input embedding and output layer."""
        return self.padded_vocab_size * self.hidden_size

    @property
    def layer_parameters(self) -> int:
        """Of one transformer layer: attention, SwiGLU and two norms."""
        query = self.hidden_size * self.num_attention_heads * self.kv_channels
        key_value = 2 * self.hidden_size * self.num_query_groups * self.kv_channels
        swiglu = 3 * self.hidden_size * self.ffn_hidden_size
        return 2 * query + key_value + swiglu + 2 * self.hidden_size

    @property
    def parameters(self) -> int:
        """Of the whole model, the tied embedding counted once and the vocabulary padded. Equals the built model's."""
        return self.embedding_parameters + self.num_layers * self.layer_parameters + self.hidden_size

    def flops_per_token(self, seq_length: int | None = None) -> int:
        """Floating-point operations to train on one token (forward and backward) in sequences of `seq_length`.

        6 for each matrix weight, the output layer included, plus causal attention: scores and values each cost
        2 * heads * head size * seq_length / 2 forward, tripled by the backward pass (PaLM, arXiv 2204.02311,
        appendix B, with the causal half counted once).
        """
        seq_length = seq_length or self.seq_length
        norms = 2 * self.hidden_size
        matrix_weights = self.num_layers * (self.layer_parameters - norms) + self.embedding_parameters
        attention = 6 * self.num_layers * self.num_attention_heads * self.kv_channels * seq_length
        return 6 * matrix_weights + attention

    def kv_cache_bytes_per_token(self, bytes_per_value: int = 2) -> int:
        return 2 * self.num_layers * self.num_query_groups * self.kv_channels * bytes_per_value


def nano() -> GlideArchitecture:
    """Trains on two CPU cores in minutes; every row is a multiple of 256 long, as llama.cpp's K-quants want."""
    return GlideArchitecture(
        name="nano", num_layers=4, hidden_size=256, ffn_hidden_size=768, num_attention_heads=4, num_query_groups=2,
        kv_channels=64, vocab_size=4_096, seq_length=256,
    )  # fmt: skip


def glide125m() -> GlideArchitecture:
    """Trains on one GPU: the shape of a 125 M class model with a 50k vocabulary."""
    return GlideArchitecture(
        name="125m", num_layers=12, hidden_size=768, ffn_hidden_size=2_048, num_attention_heads=12, num_query_groups=4,
        kv_channels=64, vocab_size=50_000, seq_length=2_048,
    )  # fmt: skip


def glide3b() -> GlideArchitecture:
    """The model of the project's name: 3.2 billion parameters."""
    return GlideArchitecture(
        name="3b", num_layers=30, hidden_size=3_072, ffn_hidden_size=8_192, num_attention_heads=24, num_query_groups=8,
        kv_channels=128, vocab_size=50_000, seq_length=8_192, rotary_base=500_000.0,
    )  # fmt: skip


def architecture(size: str) -> GlideArchitecture:
    """The architecture registered under a size: `nano`, `125m`, `3b`, or a plugin's."""
    return plugins.get("architectures", size)()
