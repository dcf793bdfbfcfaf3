"""The settings of a tokenizer, and those of each model size."""

from __future__ import annotations

from dataclasses import dataclass

from glide_nemo.errors import GlideError

# llama.cpp takes a model with one of these vocabulary sizes for another model and changes how it is run.
MISTAKEN_SIZES = (32_016, 49_152)


@dataclass
class TokenizerConfig:
    """What a SentencePiece BPE tokenizer is trained with. Sizes in bytes are of UTF-8 text.

    Fixed in `train.py`, since the exact export rests on them: identity normalisation, byte fallback, no dummy prefix.
    """

    vocab_size: int = 4_096
    character_coverage: float = 0.9995  # of the characters of the corpus; the rest is spelled in bytes
    # German, typography and currency: pieces of their own whatever the corpus holds.
    required_chars: str = "ÄÖÜäöüßẞ„“”‚‘’»«›‹–—…€§°"
    reserved_symbols: int = 32  # spare control symbols for later phases
    input_bytes: int = 500_000_000  # of the train split that pieces are learned from; a 10 GB machine holds this much
    max_line_bytes: int = 65_536  # longer lines (minified code, base64) teach nothing and are left out
    report_bytes: int = 20_000_000  # of each split that fertility and agreement are measured on

    def check(self) -> None:
        """Raises GlideError for settings no tokenizer can be trained with."""
        if self.vocab_size in MISTAKEN_SIZES:
            raise GlideError(
                f"vocab_size={self.vocab_size} makes llama.cpp take the model for another one: choose a size beside it"
            )
        if not 0.98 <= self.character_coverage <= 1:
            raise GlideError(f"character_coverage={self.character_coverage} is out of range: choose one of 0.98 to 1.0")
        for key in ("vocab_size", "input_bytes", "max_line_bytes", "report_bytes"):
            if getattr(self, key) < 1:
                raise GlideError(f"{key}={getattr(self, key)} must be positive: choose another value")


def nano() -> TokenizerConfig:
    """4,096 pieces: learned from a few megabytes in a second."""
    return TokenizerConfig()


def glide125m() -> TokenizerConfig:
    """50,000 pieces, the same as the 3b model's, so that 125m is its small stand-in."""
    return TokenizerConfig(vocab_size=50_000, character_coverage=0.9999)


def glide3b() -> TokenizerConfig:
    """50,000 pieces for English, code and German."""
    return TokenizerConfig(vocab_size=50_000, character_coverage=0.9999)


RECIPES = {"nano": nano, "125m": glide125m, "3b": glide3b}
