"""The gradient of a weight, added to its sum by the product that computes it: no copy is written and read again."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from glide_nemo.cpu.seams import Seams

LAYERS = "megatron.core.tensor_parallel.layers"


def apply(seams: Seams) -> None:
    """Gives Megatron's linear layers the product that they have from Apex on a GPU."""
    seams.add_in(
        LAYERS,
        "fused_weight_gradient_mlp_cuda",
        SimpleNamespace(wgrad_gemm_accum_fp32=add_weight_gradient_),
        answers="import fused_weight_gradient_mlp_cuda, core/tensor_parallel/layers.py:51",
    )
    seams.wrap_in(
        f"{LAYERS}:LinearWithGradAccumulationAndAsyncCommunication",
        "forward",
        _fused_where_summed,
        answers="if config.gradient_accumulation_fusion, core/tensor_parallel/layers.py:1070",
    )


def add_weight_gradient_(x_TI: torch.Tensor, grad_TO: torch.Tensor, sum_OI: torch.Tensor) -> None:
    """sum += grad^T x, for T tokens, I inputs and O outputs of a layer."""
    sum_OI.addmm_(grad_TO.t(), x_TI)


def _fused_where_summed(megatrons: Callable[..., torch.Tensor]) -> staticmethod:
    """Weights without an optimizer, and those of another precision than their gradients' sum, stay as they are."""

    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: Any, fuse: bool, *others: Any) -> torch.Tensor:
        total = getattr(weight, "main_grad", None)
        fuse = total is not None and weight.requires_grad and total.dtype == weight.dtype == torch.float32
        return megatrons(ctx, x, weight, bias, fuse, *others)

    return staticmethod(forward)
