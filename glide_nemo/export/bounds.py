"""How far a runtime may be from the trained model, and why. The one place where the certificate's bounds stand.

Bounds only tighten. Logits are unnormalised log-probabilities (natural log); a trained model's span about 10 to 30.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A measure passes at or below `limit`; one that counts agreement passes at or above it."""

    limit: float
    at_least: bool = False

    def passes(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


# The same operations in the same precision, only in another order: float32 has 1.2e-7 relative, times logits of order
# 10, times the few dozen sums a logit passes through. A wrong RoPE base, head order or epsilon is 1e-2 or more.
FLOAT32 = {
    "max_abs_logit_difference": Bound(1e-4),
    "top1_agreement": Bound(0.999, at_least=True),
    "perplexity_difference": Bound(1e-4),
}

# Each weight is rounded to 11 bits, 2.4e-4 relative on average, and activations are rounded too before they meet it;
# independent over layers, that is about 1e-3 of a logit of order 10. The maximum over millions of logits lies some five
# deviations out.
F16 = {
    "max_abs_logit_difference": Bound(0.1),
    "kl_divergence": Bound(1e-4),
    "top1_agreement": Bound(0.998, at_least=True),
    "perplexity_difference": Bound(1e-3),
}

# As F16, with 8 bits instead of 11: eight times the error, sixty-four times the divergence.
BF16 = {
    "max_abs_logit_difference": Bound(0.8),
    "kl_divergence": Bound(6.4e-3),
    "top1_agreement": Bound(0.98, at_least=True),
    "perplexity_difference": Bound(8e-3),
}

# GGML's float32: sums in another order, and tables for exp and SiLU, ten times FLOAT32's difference.
GGML_F32 = {
    "max_abs_logit_difference": Bound(1e-3),
    "kl_divergence": Bound(1e-6),
    "top1_agreement": Bound(0.999, at_least=True),
    "perplexity_difference": Bound(1e-4),
}

# Lossy on purpose. The bounds are what llama.cpp itself publishes of Llama 3 8B against its F16 over the test split of
# WikiText-2 (tools/perplexity/README.md, revision f364eb6f): mean KL divergence, share of equal most likely tokens,
# perplexity. A model that was trained on as many tokens a parameter loses as much; one that was trained less, less.
Q8_0 = {
    "kl_divergence": Bound(0.0014),  # 0.001355
    "top1_agreement": Bound(0.97, at_least=True),  # 97.67 %
    "perplexity_difference": Bound(0.003),  # 6.2343 beside 6.2316
}
Q5_K_M = {
    "kl_divergence": Bound(0.011),  # 0.010762
    "top1_agreement": Bound(0.93, at_least=True),  # not published: between Q6_K's 96.03 % and Q4_K_M's
    "perplexity_difference": Bound(0.01),  # 6.2886 beside 6.2316
}
Q4_K_M = {
    "kl_divergence": Bound(0.032),  # 0.031273 without an importance matrix, 0.028152 with one
    # 91.90 %, and of one trained for moments less at a fraction of the divergence: its likeliest tokens are
    # close to ties. 0.897 was seen at 0.0018.
    "top1_agreement": Bound(0.85, at_least=True),
    "perplexity_difference": Bound(0.029),  # 6.4071 beside 6.2316
}
IQ4 = {
    "kl_divergence": Bound(0.037),  # 0.035742 (IQ4_NL) and 0.036334 (IQ4_XS), with an importance matrix
    "top1_agreement": Bound(0.85, at_least=True),  # not published: as Q4_K_M's
    "perplexity_difference": Bound(0.037),  # 6.4556 and 6.4597 beside 6.2316
}

# Packed by ModelOpt, computed with rounded activations where the format rounds them. Of these formats nobody publishes
# divergences, of llama.cpp's with as many bits it does: Llama 3 8B over WikiText-2 (tools/perplexity/README.md). Q6_K:
# KL 0.0055, top-1 96.0 %, perplexity +0.35 %. Q4_0: KL 0.072, perplexity +7.5 %. Q4_K_M: KL 0.031, top-1 91.9 %. The
# share of changed top-1 tokens grows as the root of the divergence; divergences of independent errors add.
# E4M3 rounds a weight by 2.6 % (root mean square), Q6_K by about 2 %; activations, and keys and values, once more each.
FP8 = {
    "kl_divergence": Bound(0.0165),
    "top1_agreement": Bound(0.93, at_least=True),
    "perplexity_difference": Bound(0.0105),
}
# Sixteen levels as Q4_0 has, in groups of 128 instead of 32 whose scales were searched for.
W4A16_AWQ = {
    "kl_divergence": Bound(0.072),
    "top1_agreement": Bound(0.87, at_least=True),
    "perplexity_difference": Bound(0.075),
}
# Sixteen levels in groups of 16, of weights and of activations.
NVFP4 = {
    "kl_divergence": Bound(0.144),
    "top1_agreement": Bound(0.82, at_least=True),
    "perplexity_difference": Bound(0.15),
}

TOKENIZER = {"tokenizer_mismatches": Bound(0), "vocabulary_difference": Bound(0)}
FINITE = {"finite_logits": Bound(1, at_least=True)}

# By quantization for GGUF, and for a Hugging Face directory by the type that its weights were rounded to, if at all.
GGUF = {
    "f32": GGML_F32, "f16": F16, "bf16": BF16,
    "q8_0": Q8_0, "q5_k_m": Q5_K_M, "q4_k_m": Q4_K_M, "iq4_nl": IQ4, "iq4_xs": IQ4,
}  # fmt: skip
HUGGING_FACE = {"float32": FLOAT32, "float16": F16, "bfloat16": BF16}
PACKED = {"FP8": FP8, "W4A16_AWQ": W4A16_AWQ, "NVFP4": NVFP4}  # as ModelOpt names them
