"""What a run of N tokens sees of a blend: the tokens of each source, and how many times it reads all that it holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from glide_nemo.data.blend import Part, blended
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy

# Up to here repeated text is worth about as much as new text (Muennighoff et al. 2023, arXiv 2305.16264).
MANY_EPOCHS = 4
AMOUNT = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)([kMBT]?)", re.ASCII)
UNITS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Seen:
    """Of one source: what a run sees, and what there is."""

    part: Part
    sequences: int
    tokens: int
    held: int  # tokens of its split `train`
    in_all: int  # tokens seen of it in all parts that name it

    @property
    def epochs(self) -> float:
        """Tokens seen over tokens held: the mean over its documents, since Megatron-Core shuffles across epochs.

        What two parts name is read for both of them.
        """
        return self.in_all / self.held


def explain(parts: Sequence[Part], tokens: int, seq_length: int) -> list[Seen]:
    """What a run of `tokens` tokens in sequences of `seq_length` sees of each part; a last sequence is whole.

    Raises GlideError where nothing would be trained, a part holds no tokens, or the parts cannot be blended.
    """
    if tokens < 1 or seq_length < 1:
        raise GlideError(
            f"nothing to explain in {tokens} tokens by sequences of {seq_length}: pass more than 0 of both"
        )
    parts = blended(parts)
    held = [part.tokens.metrics["train"]["tokens"] for part in parts]
    for part, count in zip(parts, held, strict=True):
        if not count:
            raise GlideError(f"no tokens to train on in {part.tokens.path}: pack a larger corpus")
    sequences = draws([part.share for part in parts], -(-tokens // seq_length))
    in_all: Counter[str] = Counter()
    for part, count in zip(parts, sequences, strict=True):
        in_all[part.tokens.sha256] += count * seq_length
    return [
        Seen(part, count, count * seq_length, of_part, in_all[part.tokens.sha256])
        for part, count, of_part in zip(parts, sequences, held, strict=True)
    ]


def draws(shares: Sequence[float], sequences: int) -> list[int]:
    """How many of the first `sequences` sequences Megatron-Core's BlendedDataset takes from each dataset.

    It takes the next one from the dataset that is furthest behind its share, the first of those that are equally far
    (helpers.cpp, build_blending_indices). What a run reads does not depend on how many more were prepared.
    """
    import numpy

    return [int(count) for count in _take()(numpy.array(shares, dtype=numpy.float64), sequences)]


@cache
def _take() -> Callable[[numpy.ndarray, int], numpy.ndarray]:
    """Compiled: a run of a trillion tokens has hundreds of millions of sequences."""
    import numba
    import numpy

    @numba.njit(cache=False)
    def take(shares: numpy.ndarray, sequences: int) -> numpy.ndarray:
        taken = numpy.zeros(len(shares), dtype=numpy.int64)
        for index in range(sequences):
            drawn = max(index, 1)
            furthest, most = 0, shares[0] * drawn - taken[0]
            for part in range(1, len(shares)):
                behind = shares[part] * drawn - taken[part]
                if behind > most:
                    furthest, most = part, behind
            taken[furthest] += 1
        return taken

    return take


def count_of(text: str) -> int:
    """A number of tokens as people type it: 60B, 1.5T, 1e9, 4096. GlideError for anything else."""
    found = AMOUNT.fullmatch(text)
    if not found:
        raise GlideError(f"cannot read '{text}' as a number of tokens: write 60B, 1.5T or 1e9")
    return int(float(found[1]) * UNITS[found[2]])


def described(seen: Sequence[Seen], seq_length: int) -> Iterator[str]:
    """The lines that `glide blend explain` prints: a table, and a warning for each source that is read too often."""
    whole = sum(row.tokens for row in seen)
    names = [row.part.label for row in seen]
    width = max(map(len, ["source", *names]))
    yield f"{'source':<{width}}  {'share':>7}  {'tokens seen':>19}  {'tokens held':>19}  {'epochs':>8}"
    for name, row in zip(names, seen, strict=True):
        yield f"{name:<{width}}  {row.part.share:>7.2%}  {row.tokens:>19,}  {row.held:>19,}  {row.epochs:>8.2f}"
    sequences = sum(row.sequences for row in seen)
    once = {row.part.tokens.sha256: row for row in seen}  # of what two parts name, the last
    yield f"{'all':<{width}}  {1:>7.2%}  {whole:>19,}  {sum(row.held for row in once.values()):>19,}"
    yield f"{sequences:,} sequences of {seq_length:,} tokens"
    for row in once.values():
        if row.epochs > MANY_EPOCHS:
            yield (
                f"warning: {row.part.label} is read {row.epochs:.1f} times, past {MANY_EPOCHS} repeated text teaches "
                "little (arXiv 2305.16264): give it a share of "
                f"{MANY_EPOCHS * row.held / whole:.2g} at most, or more text"
            )
