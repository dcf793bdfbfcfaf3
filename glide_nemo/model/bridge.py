"""The model of a Megatron checkpoint on the CPU, by Megatron-Bridge, and its logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from megatron.bridge.training.model_load_save import load_megatron_model, temporary_distributed_context
from megatron.bridge.utils.instantiate_utils import register_allowed_target_prefix
from megatron.core.models.gpt import GPTModel

from glide_nemo.model.iterations import latest_iteration

register_allowed_target_prefix("glide_nemo.")  # a checkpoint's config names our layer spec


@contextmanager
def loaded_model(checkpoints: Path) -> Iterator[GPTModel]:
    """The model of a checkpoint on the CPU in one process, at whatever layout it was saved; fp32, in eval mode."""
    iteration = latest_iteration(checkpoints)
    with temporary_distributed_context(backend="gloo"):
        (model,) = load_megatron_model(str(iteration), use_cpu_init=True, skip_temp_dist_context=True)
        yield model.float().eval()


@torch.inference_mode()
def logits(model: GPTModel, tokens_BS: torch.Tensor) -> torch.Tensor:
    """Logits of shape (B, S, padded vocabulary) of whole sequences."""
    positions_BS = torch.arange(tokens_BS.size(1)).expand_as(tokens_BS)
    return model(input_ids=tokens_BS, position_ids=positions_BS, attention_mask=None)
