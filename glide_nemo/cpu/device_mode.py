"""Tensors asked for on "cuda" are made on the CPU, and say of themselves what Megatron's assertions want to hear.

Megatron names its device in the call (`device="cuda"`, `device=torch.cuda.current_device()`), which no setting
reaches; a TorchFunctionMode sees every such call. It costs about 1 % of a training step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")
_type_name = torch.Tensor.type
_to = torch.Tensor.to


class CudaMeansCpu(TorchFunctionMode):
    """Rewrites the device argument of every torch call from CUDA to CPU."""

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if kwargs:
            device = kwargs.get("device")
            if device is not None and _names_cuda(device):
                kwargs["device"] = CPU
            kwargs.pop("pin_memory", None)  # needs a CUDA driver, core/optimizer/distrib_optimizer.py
        if function is _to and len(args) > 1 and _names_cuda(args[1]):
            args = (args[0], CPU, *args[2:])
        elif function is _type_name and len(args) == 1 and not kwargs:
            # `param.type() == 'torch.cuda.FloatTensor'`, core/optimizer/distrib_optimizer.py:466, clip_grads.py:174
            return _type_name(args[0]).replace("torch.", "torch.cuda.", 1)
        return function(*args, **(kwargs or {}))


def _names_cuda(device: Any) -> bool:
    if isinstance(device, str):
        return device.startswith("cuda")
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return type(device) is int
