"""How far one runtime's logits are from another's: differences, divergence, agreement and perplexity.

Shape suffixes: S = tokens of a sequence, V = vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

TIE = 1e-3  # of a logit: probabilities that differ by 0.1 %


def compare(
    reference: Iterable[numpy.ndarray], found: Iterable[numpy.ndarray], tokens_BS: numpy.ndarray
) -> dict[str, float]:
    """Measures over all positions of all sequences, each a pair of float32 logits_SV.

    - `max_abs_logit_difference`, `mean_abs_logit_difference`
    - `kl_divergence`: mean of KL(reference || found) in nats
    - `top1_agreement`: share of positions with the same most likely next token, or another that the reference holds
      for as likely within `TIE`: which of these comes first is rounding, and in an untrained model many are
    - `perplexity`, `reference_perplexity`, and `perplexity_difference`, relative to the reference

    Where a logit is infinite or no number, nothing else can be measured: then it is only `finite_logits`, their share
    in the sequence.
    """
    import numpy
    from scipy.special import log_softmax

    largest = summed = divergence = same = positions = values = 0.0
    losses, reference_losses = [], []
    for expected_SV, found_SV, tokens_S in zip(reference, found, tokens_BS, strict=True):
        difference_SV = numpy.abs(found_SV.astype(numpy.float64) - expected_SV)
        if not numpy.isfinite(difference_SV).all():
            return {"finite_logits": float(numpy.isfinite(difference_SV).mean())}
        largest = max(largest, float(difference_SV.max()))
        summed += float(difference_SV.sum())
        values += difference_SV.size
        expected_log_SV = log_softmax(expected_SV.astype(numpy.float64), axis=-1)
        found_log_SV = log_softmax(found_SV.astype(numpy.float64), axis=-1)
        divergence += float((numpy.exp(expected_log_SV) * (expected_log_SV - found_log_SV)).sum())
        chosen_S1 = found_SV.argmax(-1, keepdims=True)
        behind_S1 = expected_SV.max(-1, keepdims=True) - numpy.take_along_axis(expected_SV, chosen_S1, -1)
        same += float((behind_S1 <= TIE).sum())
        positions += len(tokens_S)
        following = numpy.arange(len(tokens_S) - 1), tokens_S[1:]
        losses.append(-found_log_SV[following])
        reference_losses.append(-expected_log_SV[following])
    perplexity = math.exp(numpy.concatenate(losses).mean())
    reference_perplexity = math.exp(numpy.concatenate(reference_losses).mean())
    return {
        "max_abs_logit_difference": largest,
        "mean_abs_logit_difference": summed / values,
        "kl_divergence": divergence / positions,
        "top1_agreement": same / positions,
        "perplexity_difference": abs(perplexity / reference_perplexity - 1),
        "perplexity": perplexity,
        "reference_perplexity": reference_perplexity,
    }
