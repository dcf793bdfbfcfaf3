"""Megatron-Core's wheel ships the compiled dataset helpers but not the Makefile that would compile them again."""

from __future__ import annotations

from glide_nemo.cpu.seams import Seams


def apply(seams: Seams) -> None:
    """Skips `make` where the compiled module is there (bridge/training/initialize.py calls it on every start)."""
    from megatron.core.datasets import helpers_cpp  # noqa: F401  (an ImportError here names what is missing)

    for module in ("megatron.core.datasets.utils", "megatron.bridge.training.initialize"):
        seams.replace_in(
            module, "compile_helpers", lambda: None, answers="initialize_megatron, bridge/training/initialize.py"
        )
