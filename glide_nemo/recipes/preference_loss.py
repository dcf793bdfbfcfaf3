"""The settings of a loss of pairs, apart from what imports Megatron."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PreferenceConfig:
    """The loss of pairs."""

    beta: float = 0.1  # DPO: how dear it is to leave the reference; ORPO: the weight of the odds ratio
    label_smoothing: float = 0.0  # DPO: the share of pairs that are taken to be the wrong way round
    length_normalized: bool = False  # DPO: rewards a token instead of an answer
