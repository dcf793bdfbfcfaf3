"""What GLiDE adds to Megatron-Bridge's config: averaged weights, a curriculum of lengths, replay, adapters.

As sections of the same container they are overridden, checked, printed and digested as every other setting is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from megatron.bridge.training.config import ConfigContainer

from glide_nemo.recipes.lora import LoraConfig
from glide_nemo.recipes.preference_loss import PreferenceConfig


@dataclass
class EmaConfig:
    """The averaged copy of the weights: every `interval` steps, average <- decay * average + (1 - decay) * weights."""

    interval: int = 0  # steps; 0 keeps no average
    decay: float = 0.99  # at each interval, so the average looks back over about interval / (1 - decay) steps


@dataclass
class CurriculumConfig:
    """Lengths to train at, one after the other: `stages=[[512,100],[1024,60]]` is 100 steps of 512 tokens, then 60.

    Steps keep their tokens: at half the length there are twice the sequences. Empty is one length throughout.
    """

    stages: list[list[int]] = field(default_factory=list)


@dataclass
class ReplayConfig:
    """Of the documents that the checkpoint was pretrained on, so that it learns others and does not forget them."""

    share: float = 0.0  # of the sequences; 0 replays nothing


@dataclass(kw_only=True)
class GlideContainer(ConfigContainer):
    """Megatron-Bridge's container with GLiDE's sections."""

    ema: EmaConfig = field(default_factory=EmaConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass(kw_only=True)
class PreferenceContainer(GlideContainer):
    """The container of a recipe that learns from pairs."""

    preference: PreferenceConfig = field(default_factory=PreferenceConfig)
