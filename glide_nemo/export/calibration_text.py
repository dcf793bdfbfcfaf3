"""Held-out tokens to calibrate a quantization on: drawn by a seed, and never those that a certificate compares on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export.logits import heldout_stream, not_compared

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Calibration:
    """`sequences` of `length` tokens (of the model's context at most), drawn by `seed`."""

    sequences: int = 128
    length: int = 512
    seed: int = 0

    def check(self) -> None:
        if self.sequences < 1 or self.length < 1:
            raise GlideError(f"cannot calibrate on {self.sequences} sequences of {self.length} tokens: ask for more")


def calibration_sequences(calibration: Calibration, tokens: Artifact, context: int) -> numpy.ndarray:
    """`tokens_BS` int64 from the held-out split of packed documents; all there is where that is less than asked for.

    A quantization is not to be tested on what it was fitted to: what a certificate compares on by default is left out,
    unless nothing else is held out. Raises GlideError where there is not one sequence.
    """
    import numpy

    length, stream = min(calibration.length, context), heldout_stream(tokens.path, tokens.metrics["dtype"])
    if len(stream) < length:
        raise GlideError(f"{tokens.path} holds {len(stream)} held-out tokens, {length} are needed: hold out more text")
    stream = not_compared(stream, context, at_least=length)
    windows = numpy.random.default_rng(calibration.seed).permutation(len(stream) // length)[: calibration.sequences]
    return numpy.stack([stream[number * length : (number + 1) * length] for number in windows]).astype(numpy.int64)
