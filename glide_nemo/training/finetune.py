"""`glide sft`: packs conversations with a checkpoint's own tokenizer and fine-tunes it on them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from glide_nemo.artifact import Artifact
from glide_nemo.config import apply_overrides
from glide_nemo.data.conversations import ConversationsConfig, pack_conversations
from glide_nemo.errors import GlideError
from glide_nemo.training.pretrain import plan_training, pretrain

DATA = "data."  # prefix of an override of the packing, as in data.heldout_share=0.1


def finetune(
    recipe: str,
    overrides: Sequence[str],
    data: Sequence[Path],
    start: Artifact,
    out: Path,
    *,
    force: bool = False,
) -> Artifact:
    """Fine-tunes `start` on JSONL files or artifacts of conversations, which are packed into `{out}.conversations`.

    Overrides are the recipe's, and with `data.` before them those of the packing. Raises GlideError for a recipe that
    is not one of fine-tuning, data that are no conversations, and whatever `pretrain` refuses.
    """
    plan = plan_training(recipe, [item for item in overrides if not item.startswith(DATA)])
    if not recipe.endswith("_sft"):
        raise GlideError(f"{recipe} is not trained on conversations: pass a recipe such as glide_nano_sft")
    config = apply_overrides(
        ConversationsConfig(seq_length=plan.seq_length),
        [item.removeprefix(DATA) for item in overrides if item.startswith(DATA)],
    )
    tokenizer = start.input("tokens").input("tokenizer")
    beside = out.resolve() if out.name in ("", "..") else out
    packed = pack_conversations(config, data, tokenizer, f"{os.fspath(beside)}.conversations", force=force)
    return pretrain(plan, packed, out, init_from=start, force=force)
