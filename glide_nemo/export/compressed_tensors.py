"""ModelOpt's W4A16 weights in the layout of compressed-tensors, which is the one that vLLM reads 4-bit integers in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from torch import Tensor

GROUP_SIZE = 128
# As llm-compressor writes it for the scheme W4A16 (compressed-tensors: quant_args.py, quant_scheme.py).
CONFIG: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "kv_cache_scheme": None,
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 4,
                "type": "int",
                "symmetric": True,
                "strategy": "group",
                "group_size": GROUP_SIZE,
                "dynamic": False,
            },
            "input_activations": None,
            "output_activations": None,
        }
    },
}


def repack(weights: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """ModelOpt's tensors under compressed-tensors' names: the same integers and scales, no arithmetic.

    Raises GlideError for pre-quantization scales, which this layout has no place for.
    """
    import torch

    for name, tensor in weights:
        if name.endswith(".pre_quant_scale"):
            raise GlideError(f"{name} cannot be said in compressed-tensors: fold it into the matrix before")
        if tensor.dtype != torch.uint8:
            yield name, tensor
            continue
        values_OI = torch.stack([tensor & 0xF, tensor >> 4], dim=1).flatten(0, 1)  # a byte holds two rows
        module = name.removesuffix(".weight")
        yield f"{module}.weight_packed", _in_words(values_OI)
        yield f"{module}.weight_shape", torch.tensor(values_OI.shape)


def _in_words(values_OI: Tensor) -> Tensor:
    """Eight neighbours of a row in an int32, the first lowest; two's complement becomes 8 added to each."""
    import torch

    eights = ((values_OI + 8) & 0xF).to(torch.int32).unflatten(1, (-1, 8))
    return (eights << torch.arange(0, 32, 4, dtype=torch.int32)).sum(-1, dtype=torch.int32)
