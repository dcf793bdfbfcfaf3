"""How many conversations of each domain and language a merge takes: shares by weight, and what they allow."""

from __future__ import annotations

import math
from collections.abc import Mapping

from glide_nemo.errors import GlideError

Stratum = tuple[str, str]  # domain and language


def shares(
    available: Mapping[Stratum, int], domains: Mapping[str, float], languages: Mapping[str, float]
) -> dict[Stratum, float]:
    """The share of each stratum that is taken of; they add up to 1.

    A domain has the share of its weight, and within it each language that of its own. Without weights along one of the
    two, strata keep the proportions they are found in along it; without any, of all. GlideError for a weight of what is
    not there.
    """
    for name, weights, place in (("domain", domains, 0), ("language", languages, 1)):
        there = {stratum[place] for stratum in available}
        if missing := sorted(set(weights) - there):
            raise GlideError(
                f"no conversation of the {name} '{missing[0]}': there are {', '.join(sorted(there)) or 'none'}"
            )
    weights = {}
    for stratum, count in sorted(available.items()):
        domain, language = stratum
        weight = (domains.get(domain, 0.0) if domains else 1.0) * (languages.get(language, 0.0) if languages else 1.0)
        if not (domains and languages):
            alike = [other for other in available if not domains or other[0] == domain]
            alike = [other for other in alike if not languages or other[1] == language]
            weight *= count / sum(available[other] for other in alike)
        weights[stratum] = weight
    whole = sum(weights.values())
    if not whole:
        raise GlideError("no conversation has both a weighted domain and a weighted language: choose other weights")
    return {stratum: weight / whole for stratum, weight in weights.items() if weight}


def most(available: Mapping[Stratum, int], shared: Mapping[Stratum, float]) -> int:
    """How many can be taken in all so that none is taken twice: what the scarcest stratum allows."""
    return min(math.floor(available[stratum] / share + 1e-6) for stratum, share in shared.items())


def counts(available: Mapping[Stratum, int], shared: Mapping[Stratum, float], total: int) -> dict[Stratum, int]:
    """`total` split by shares, by largest remainder. GlideError where a stratum holds fewer than its part."""
    parts = {stratum: math.floor(total * share + 1e-6) for stratum, share in shared.items()}
    remainders = sorted(shared, key=lambda stratum: (parts[stratum] - total * shared[stratum], stratum))
    for stratum in remainders[: total - sum(parts.values())]:
        parts[stratum] += 1
    for stratum, part in parts.items():
        if part > available[stratum]:
            raise GlideError(
                f"too few conversations, {stratum[0]} in {stratum[1]} has {available[stratum]:,} and its part of "
                f"{total:,} is {part:,}: pass conversations={most(available, shared)}, or fewer"
            )
    return parts
