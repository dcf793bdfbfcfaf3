"""`glide sft`, `dpo` and `orpo`: encode examples with a checkpoint's own tokenizer, and train it on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from glide_nemo.artifact import Artifact, load
from glide_nemo.config import apply_overrides
from glide_nemo.data.conversations import ConversationsConfig, pack_conversations
from glide_nemo.data.messages import is_artifact
from glide_nemo.data.preferences import PreferencesConfig, pack_preferences
from glide_nemo.errors import GlideError
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.training.lineage import tokenizer_of
from glide_nemo.training.pretrain import plan_training, pretrain

DATA = "data."  # prefix of an override of the encoding, as in data.heldout_share=0.1
Encode = Callable[[TrainingPlan, Sequence[str], Sequence[Path], Artifact, str, bool], Artifact]


def finetune(
    objective: str,
    recipe: str,
    overrides: Sequence[str],
    data: Sequence[Path],
    start: Artifact,
    out: Path,
    *,
    force: bool = False,
) -> Artifact:
    """Trains `start` on JSONL files or artifacts of conversations or pairs, encoded into a directory beside `out`.

    That is `{out}.conversations` for a recipe of supervised fine-tuning, `{out}.pairs` for one of preferences.
    Overrides are the recipe's, and with `data.` before them those of the encoding. Raises GlideError for a recipe of
    another objective, data that are not of its kind, and whatever `pretrain` refuses.
    """
    plan = plan_training(recipe, [item for item in overrides if not item.startswith(DATA)])
    if plan.objective != objective:
        raise GlideError(f"{recipe} is no recipe of {objective}: pass one such as glide_nano_{objective}")
    suffix, encode = ENCODED[objective]
    of_encoding = [item.removeprefix(DATA) for item in overrides if item.startswith(DATA)]
    beside = out.resolve() if out.name in ("", "..") else out
    rows = encode(plan, of_encoding, data, tokenizer_of(start), f"{os.fspath(beside)}.{suffix}", force)
    return pretrain(plan, rows, out, init_from=start, force=force)


def _conversations(
    plan: TrainingPlan, overrides: Sequence[str], data: Sequence[Path], tokenizer: Artifact, out: str, force: bool
) -> Artifact:
    config = apply_overrides(ConversationsConfig(seq_length=plan.seq_length), overrides)
    return pack_conversations(config, data, tokenizer, out, force=force)


def _pairs(
    plan: TrainingPlan, overrides: Sequence[str], data: Sequence[Path], tokenizer: Artifact, out: str, force: bool
) -> Artifact:
    config = apply_overrides(PreferencesConfig(seq_length=plan.seq_length), overrides)
    derived = [load(path, "conversations").path for path in data if is_artifact(path)]
    files = [path / "train.jsonl" for path in derived] + [path for path in data if not is_artifact(path)]
    heldout = [path / "heldout.jsonl" for path in derived]
    return pack_preferences(config, files, tokenizer, out, heldout=heldout, force=force)


# What a recipe's objective is trained on: the name of its directory, and how it is encoded.
ENCODED: dict[str, tuple[str, Encode]] = {
    "sft": ("conversations", _conversations),
    "dpo": ("pairs", _pairs),
    "orpo": ("pairs", _pairs),
}
