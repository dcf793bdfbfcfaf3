"""Small sets of preference pairs in JSONL, for tests."""

from __future__ import annotations

import json
from pathlib import Path

from glide_nemo.artifact import Artifact
from glide_nemo.data.preferences import PreferencesConfig, pack_preferences


def lines(count: int) -> list[str]:
    """Questions about numbers; preferred is the answer that returns one, not the one that raises."""
    pairs = []
    for number in range(count):
        numbers = ", ".join(str(number + step) for step in range(1, 2 + number % 3))
        pairs.append({"prompt": f"Count from {number}.", "chosen": f"return {numbers}", "rejected": f"raise {numbers}"})
    return [json.dumps(pair) for pair in pairs]


def write_pairs(path: Path, count: int) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines(count)), encoding="utf-8")
    return path


def packed_pairs(folder: Path, tokenizer: Artifact, count: int = 150, seq_length: int = 32) -> Artifact:
    data = write_pairs(folder / "pairs.jsonl", count)
    return pack_preferences(
        PreferencesConfig(seq_length=seq_length, heldout_share=0.2), [data], tokenizer, folder / "pairs"
    )
