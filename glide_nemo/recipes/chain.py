"""The whole training of a model as one declaration: its phases in order, with the data of each, and its exports.

Length, schedule and hardware of a phase are its recipe's; a declaration may override them as a command line does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from glide_nemo import plugins
from glide_nemo.recipes.recipe import prefix


@dataclass
class Phase:
    """One training of the chain, which starts from the weights of the phase before it."""

    recipe: str  # in the registry, without its size
    data: dict[str, float]  # names of what it is trained on, and the shares of a blend; --data says where they lie
    overrides: list[str] = field(default_factory=list)  # key=value, of the recipe


@dataclass
class Chain:
    """Phases by the names of their directories in a run, in order, and what the last one's weights are exported to."""

    size: str
    phases: dict[str, Phase]
    exports: list[str] = field(default_factory=lambda: ["hf", "gguf:f16", "gguf:q4_k_m"])

    def recipe(self, phase: str) -> str:
        """The full name of a phase's recipe."""
        return f"{prefix(self.size)}_{self.phases[phase].recipe}"

    @property
    def data(self) -> list[str]:
        """Names of all data, in the order that they are first needed in."""
        return list(dict.fromkeys(name for phase in self.phases.values() for name in phase.data))


def chains() -> dict[str, Callable[[], Chain]]:
    """Every declared chain by name."""
    return {name: point.load() for name, point in plugins.available("chains").items()}


def glide_nano() -> Chain:
    """a 4 M parameter model on one set of documents, about 10 minutes on two cores"""
    web = {"web": 1.0}
    return _pretrained_and_aligned("nano", web, web, "questions")


def glide125m() -> Chain:
    """a 125 M parameter model on one GPU, on web pages and code"""
    mix = {"web": 0.88, "code": 0.12}
    return _pretrained_and_aligned("125m", mix, mix, "conversations")


def glide3b() -> Chain:
    """a 3 B parameter model on 64 H100, on web pages, code and mathematics

    The shares are SmolLM3-3B's: 85 % web, 12 % code and 3 % mathematics in its first stage, for phases A and B; 63, 24
    and 13 % in its last, for phase C, where the learning rate decays and what is rare and good counts most (its blog
    post, "SmolLM3: smol, multilingual, long-context reasoner", July 2025).
    """
    broad, fine = {"web": 0.85, "code": 0.12, "math": 0.03}, {"web": 0.63, "code": 0.24, "math": 0.13}
    return _pretrained_and_aligned("3b", broad, fine, "conversations")


def _pretrained_and_aligned(size: str, broad: dict[str, float], fine: dict[str, float], turns: str) -> Chain:
    """Phases A, B and C on documents, then what is said in turns, then which of two answers is preferred."""
    phases = {
        "phase_a": Phase("phaseA", broad),
        "phase_b": Phase("phaseB", broad),
        "phase_c": Phase("phaseC", fine),
        "sft": Phase("sft", {turns: 1.0}),
        "dpo": Phase("dpo", {"pairs": 1.0}),
    }
    return Chain(size, phases)
