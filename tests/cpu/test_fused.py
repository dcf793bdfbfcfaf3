"""The backend's fused functions compute what Megatron's own unfused ones do, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F

from glide_nemo.cpu.imports import import_megatron
from glide_nemo.training.worker import run_with_megatron

Case = tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor], Sequence[torch.Tensor]]


def differences(names: Sequence[str], report: Callable) -> dict[str, float]:
    """The greatest relative difference of each function's result and gradients from Megatron's, in fp32."""
    from megatron.core.models.common.embeddings import rope_utils

    from glide_nemo.cpu import fused_swiglu
    from glide_nemo.cpu.fused_cross_entropy import CrossEntropy
    from glide_nemo.model.norm import Normalize

    torch.manual_seed(0)
    sequence, batch, heads, width, vocabulary = 6, 3, 4, 16, 40
    angles = torch.rand(sequence, 1, 1, width // 2).repeat(1, 1, 1, 2) * 6
    target = torch.randint(vocabulary, (sequence, batch))

    def turned_by_hand(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        return (x * angles.cos() + torch.cat((-second, first), -1) * angles.sin()) * 1.14

    cases: dict[str, Case] = {
        "rotary": (
            lambda x: rope_utils._apply_rotary_pos_emb_bshd(x, angles, mscale=1.14),
            turned_by_hand,
            [torch.randn(sequence, batch, heads, width * 2)[..., ::2]],  # not contiguous, as a split projection is
        ),
        "swiglu": (
            lambda x: fused_swiglu.swiglu(x, None),
            lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
            [torch.randn(sequence, batch, width)],
        ),
        "cross_entropy": (
            lambda x: CrossEntropy.apply(x, target),
            lambda x: F.cross_entropy(x.flatten(0, 1), target.flatten(), reduction="none").view(sequence, batch),
            [torch.randn(sequence, batch, vocabulary) * 5],
        ),
        "norm": (
            lambda x, weight: Normalize.apply(x, weight, 1e-5),
            lambda x, weight: F.rms_norm(x, (width,), weight, 1e-5),
            [torch.randn(sequence, batch, width), torch.rand(width)],
        ),
    }
    found = {}
    for name in names:
        ours, theirs, inputs = cases[name]
        results = []
        for function in (ours, theirs):
            given = [value.clone().requires_grad_() for value in inputs]
            result = function(*given)
            weights = torch.linspace(-1, 1, result.numel()).view_as(result)
            gradients = torch.autograd.grad((result * weights).sum(), given)
            results.append([result, *gradients])
        found[name] = max(
            float((one - other).detach().abs().max() / other.detach().abs().max())
            for one, other in zip(*results, strict=True)
        )
    return found


def test_each_equals_the_composed_form_in_result_and_gradients() -> None:
    names = ("rotary", "swiglu", "cross_entropy", "norm")
    found = run_with_megatron(differences, names)
    assert found.keys() == set(names)
    assert max(found.values()) < 1e-6, found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_norm_and_swiglu_keep_the_type_of_their_input(dtype: torch.dtype) -> None:
    import_megatron()
    from glide_nemo.cpu.fused_swiglu import SwiGlu
    from glide_nemo.model.norm import Normalize

    x = torch.randn(2, 3, 8, dtype=dtype, requires_grad=True)
    for result in (SwiGlu.apply(x), Normalize.apply(x, torch.ones(8), 1e-5)):
        assert result.dtype == dtype
        (gradient,) = torch.autograd.grad(result.sum(), x)
        assert gradient.dtype == dtype and gradient.shape == x.shape
