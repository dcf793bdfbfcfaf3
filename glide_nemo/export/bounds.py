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

# Lossy on purpose, 4 to 6 bits a weight. A small model has less to spare than a large one (llama.cpp's own figures
# for 7 B are below 0.01), so this bound catches a broken export and not a mediocre one.
Q4_K_M = {
    "kl_divergence": Bound(0.05),
    "top1_agreement": Bound(0.85, at_least=True),
    "perplexity_difference": Bound(0.05),
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
GGUF = {"f16": F16, "q4_k_m": Q4_K_M}
HUGGING_FACE = {"float32": FLOAT32, "float16": F16, "bfloat16": BF16}
PACKED = {"FP8": FP8, "W4A16_AWQ": W4A16_AWQ, "NVFP4": NVFP4}  # as ModelOpt names them
