"""What packed weights and their scales mean, in plain float32: FP8, 4-bit integers in groups, NVFP4.

Written from the formats' definitions and not from ModelOpt, so that a mistake in either shows. Element formats as in
the OCP specifications of 8-bit floating point and of microscaling formats (E4M3, E2M1).
Shape suffixes: O = rows (outputs), I = columns (inputs) of a matrix; N = anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

E4M3_LARGEST = 448.0
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of the three bits below the sign
NVFP4_BLOCK = 16


def unpack(parts: Mapping[str, Tensor]) -> Tensor:
    """A matrix [O, I] in float32 from what is stored of it under `weight`, `weight_scale` and so on."""
    import torch

    if "weight_packed" in parts:
        return _in_groups(_from_words(parts["weight_packed"]), parts["weight_scale"])
    weight = parts["weight"]
    if "weight_scale_2" in parts:
        scales_OG = parts["weight_scale"].float() * parts["weight_scale_2"]
        return _in_groups(_from_e2m1(weight), scales_OG)
    if weight.dtype == torch.uint8:
        return _in_groups(_from_row_pairs(weight), parts["weight_scale"])
    if weight.dtype == torch.float8_e4m3fn:
        return weight.float() * parts["weight_scale"]
    return weight.float()


def _in_groups(values_OI: Tensor, scales_OG: Tensor) -> Tensor:
    """Each value times the scale of its group: equal stretches of a row."""
    return values_OI * scales_OG.float().repeat_interleave(values_OI.size(1) // scales_OG.size(1), dim=1)


def _from_row_pairs(packed: Tensor) -> Tensor:
    """ModelOpt's 4-bit integers: a byte holds two rows' values of one column, the upper row in the low half."""
    import torch

    halves = torch.stack([packed & 0xF, packed >> 4], dim=1).to(torch.int8)
    return (((halves + 8) & 0xF) - 8).flatten(0, 1).float()  # two's complement


def _from_words(packed: Tensor) -> Tensor:
    """compressed-tensors' 4-bit integers: eight neighbours of a row in an int32, the first lowest, 8 added to each."""
    import torch

    shifts = torch.arange(0, 32, 4, dtype=torch.int32)
    return ((packed[..., None] >> shifts) & 0xF).flatten(1).float() - 8


def _from_e2m1(packed: Tensor) -> Tensor:
    """NVFP4's values: a byte holds two neighbours of a row, the first in the low half."""
    import torch

    codes = torch.stack([packed & 0xF, packed >> 4], dim=-1).flatten(1).long()
    return torch.tensor([*E2M1, *(-value for value in E2M1)])[codes]


def to_fp8(values: Tensor, scale: Tensor) -> Tensor:
    """Rounded to E4M3 times a scale, what is too large cut off."""
    import torch

    return (values / scale).clamp(-E4M3_LARGEST, E4M3_LARGEST).to(torch.float8_e4m3fn).float() * scale


def to_nvfp4(values_NI: Tensor, scale: Tensor) -> Tensor:
    """Rounded to E2M1 times E4M3 times a scale, blocks of 16 each by its own largest value, as activations are."""
    import torch

    blocks = values_NI.unflatten(-1, (-1, NVFP4_BLOCK))
    ideal = blocks.abs().amax(-1, keepdim=True) / (E2M1[-1] * scale)
    steps = ideal.clamp(2**-9, E4M3_LARGEST).to(torch.float8_e4m3fn).float() * scale
    return (_round_to_e2m1(blocks / steps) * steps).flatten(-2)


def _round_to_e2m1(values: Tensor) -> Tensor:
    """To the nearest of E2M1's values; half way, to the one whose last bit is zero."""
    import torch

    grid = torch.tensor(E2M1)
    halfway = (grid[1:] + grid[:-1]) / 2
    halfway[1::2] = torch.nextafter(halfway[1::2], torch.tensor(0.0))
    return grid[torch.bucketize(values.abs(), halfway)] * values.sign()
