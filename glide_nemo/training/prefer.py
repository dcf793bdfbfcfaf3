"""`glide dpo` and `glide orpo`: encode pairs with a checkpoint's own tokenizer and train it on them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from glide_nemo.artifact import Artifact, load
from glide_nemo.config import apply_overrides
from glide_nemo.data.messages import is_artifact
from glide_nemo.data.preferences import PreferencesConfig, pack_preferences
from glide_nemo.errors import GlideError
from glide_nemo.training.pretrain import plan_training, pretrain

DATA = "data."  # prefix of an override of the encoding, as in data.heldout_share=0.2


def prefer(
    recipe: str,
    overrides: Sequence[str],
    data: Sequence[Path],
    start: Artifact,
    out: Path,
    *,
    force: bool = False,
) -> Artifact:
    """Trains `start` on JSONL files of pairs, or on what `glide pairs` wrote; encoded into `{out}.pairs`.

    Overrides are the recipe's, and with `data.` before them those of the encoding. Raises GlideError for a recipe that
    is not one of preferences, data that are no pairs, and whatever `pretrain` refuses.
    """
    plan = plan_training(recipe, [item for item in overrides if not item.startswith(DATA)])
    if not recipe.endswith(("_dpo", "_orpo")):
        raise GlideError(f"{recipe} is not trained on pairs: pass a recipe such as glide_nano_dpo")
    config = apply_overrides(
        PreferencesConfig(seq_length=plan.seq_length),
        [item.removeprefix(DATA) for item in overrides if item.startswith(DATA)],
    )
    derived = [load(path, "conversations").path for path in data if is_artifact(path)]
    files = [path / "train.jsonl" for path in derived] + [path for path in data if not is_artifact(path)]
    heldout = [path / "heldout.jsonl" for path in derived]
    tokenizer = start.input("tokens").input("tokenizer")
    beside = out.resolve() if out.name in ("", "..") else out
    packed = pack_preferences(config, files, tokenizer, f"{os.fspath(beside)}.pairs", heldout=heldout, force=force)
    return pretrain(plan, packed, out, init_from=start, force=force)
