"""Packed tokens to train on: of one set of documents, or of several in stated shares."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glide_nemo.artifact import Artifact, load
from glide_nemo.errors import GlideError


@dataclass(frozen=True)
class Part:
    """Packed tokens, and the share of the sequences that is drawn from them."""

    tokens: Artifact
    share: float = 1.0
    name: str = ""  # that a blend file gives it

    @property
    def label(self) -> str:
        return self.name or str(self.tokens.path)


def parse_parts(given: Sequence[str]) -> list[Part]:
    """`DIR`, `DIR=SHARE`, or a blend file in place of DIR, as it is typed.

    A share left out is 1, and shares are relative to their sum; a blend file's share is spread over its sources.
    """
    from glide_nemo.data.blend_file import is_blend_file, read_blend_file

    parts: list[Part] = []
    for text in given:
        path, _, typed = text.rpartition("=") if re.search(r"=[\d.eE+-]+$", text) else (text, "", "1")
        try:
            share = float(typed)
        except ValueError:
            raise GlideError(f"cannot read the share in '{text}': write DIR=0.25") from None
        if is_blend_file(Path(path)):
            parts += [replace(part, share=part.share * share) for part in blended(read_blend_file(Path(path)))]
        else:
            parts.append(Part(load(Path(path), "tokens"), share))
    return parts


def blended(parts: Sequence[Part]) -> list[Part]:
    """The parts with shares that sum to 1.

    Raises GlideError where there is none, a share is not positive, or two were packed by different tokenizers.
    """
    if not parts:
        raise GlideError("no tokens to train on: pass --tokens DIR")
    for part in parts:
        if not (math.isfinite(part.share) and part.share > 0):
            raise GlideError(f"cannot train on a share of {part.share:g} of {part.tokens.path}: pass a positive one")
    first = parts[0].tokens
    for part in parts[1:]:
        if part.tokens.record["inputs"]["tokenizer"]["sha256"] != first.record["inputs"]["tokenizer"]["sha256"]:
            raise GlideError(
                f"{first.path} and {part.tokens.path} were packed by different tokenizers: pack both with one"
            )
    whole = math.fsum(part.share for part in parts)
    return [replace(part, share=part.share / whole) for part in parts]
