"""Which of the iterations that a Megatron checkpoint holds is the newest whole one; nothing of Megatron is imported."""

from __future__ import annotations

from pathlib import Path

from glide_nemo.errors import GlideError


def latest_iteration(checkpoints: Path) -> Path:
    """The directory of the newest whole iteration in a directory that Megatron-Bridge saved to. GlideError for none."""
    tracker = checkpoints / "latest_checkpointed_iteration.txt"
    if not tracker.exists():
        raise GlideError(f"no Megatron checkpoint in {checkpoints}: train one with `glide pretrain`")
    return checkpoints / f"iter_{int(tracker.read_text()):07d}"
