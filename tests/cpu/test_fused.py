"""The backend's fused functions compute what Megatron's own unfused ones do, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from glide_nemo.cpu.kernels import compiled, fits
from glide_nemo.training.worker import run_with_megatron

Case = tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor], Sequence[torch.Tensor]]


def differences(names: Sequence[str], report: Callable) -> dict[str, float]:
    """The greatest relative difference of each function's result and gradients from Megatron's, in fp32."""
    from megatron.core.models.common.embeddings import rope_utils
    from megatron.core.transformer import mlp

    from glide_nemo.cpu.fused_cross_entropy import CrossEntropy
    from glide_nemo.model import layer_spec
    from glide_nemo.model.norm import RmsNorm

    torch.manual_seed(0)
    sequence, batch, heads, width, vocabulary = 150, 3, 4, 22, 45  # no multiple of what a processor does at once
    angles = torch.rand(sequence, 1, 1, width // 2).repeat(1, 1, 1, 2) * 6
    target = torch.randint(vocabulary, (sequence, batch))

    def turned_by_hand(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        return (x * angles.cos() + torch.cat((-second, first), -1) * angles.sin()) * 1.14

    def normalize(norm: RmsNorm, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        del norm.weight
        norm.weight = weight
        return norm(x)

    def attention_by_hand(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        key, value = (each.repeat_interleave(2, dim=2) for each in (key, value))
        scores = torch.einsum("ibnh,jbnh->bnij", query, key) / width**0.5
        seen = torch.ones(sequence, sequence, dtype=torch.bool).tril()
        return torch.einsum("bnij,jbnh->ibnh", scores.masked_fill(~seen, -torch.inf).softmax(-1), value)

    cases: dict[str, Case] = {
        "rotary": (
            lambda x: rope_utils._apply_rotary_pos_emb_bshd(x, angles, mscale=1.14),
            turned_by_hand,
            [torch.randn(sequence, batch, heads, width * 3)[..., width : width * 2]],  # as a split projection is
        ),
        "swiglu": (
            lambda x: mlp.bias_swiglu_impl(x, None, False, False),
            lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
            [torch.randn(sequence, batch, width)],
        ),
        "cross_entropy": (
            lambda x: CrossEntropy.apply(x, target),
            lambda x: F.cross_entropy(x.flatten(0, 1), target.flatten(), reduction="none").view(sequence, batch),
            [torch.randn(sequence, batch, vocabulary) * 5],
        ),
        "norm": (
            lambda x, weight: normalize(RmsNorm(width, eps=1e-5), x, weight),
            lambda x, weight: F.rms_norm(x, (width,), weight, 1e-5),
            [torch.randn(sequence, batch, width), torch.rand(width)],
        ),
        "attention": (
            lambda query, key, value: layer_spec.causal_attention(query, key, value, 0.0, None),
            attention_by_hand,
            [
                torch.randn(sequence, batch, number, width * 3)[..., width : width * 2]
                for number in (heads, heads // 2, heads // 2)
            ],
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


NAMES = ("rotary", "swiglu", "cross_entropy", "norm", "attention")


def test_each_equals_the_composed_form_in_result_and_gradients() -> None:
    found = run_with_megatron(differences, NAMES)
    assert found.keys() == set(NAMES)
    assert max(found.values()) < 1e-6, found


def without_kernels(names: Sequence[str], report: Callable) -> dict[str, float]:
    compiled.cache_clear()
    torch.backends.cpu.get_cpu_capability = lambda: "NEVER BUILT"
    assert not fits(torch.ones(1))
    return differences([name for name in names if name != "cross_entropy"], report)


def test_a_machine_without_compiled_kernels_computes_the_same() -> None:
    assert max(run_with_megatron(without_kernels, NAMES).values()) < 1e-6


def test_this_machine_has_compiled_kernels_which_take_fp32_alone() -> None:
    assert fits(torch.ones(1)) and not fits(torch.ones(1, dtype=torch.bfloat16))


def not_finite(report: Callable) -> list[bool]:
    from glide_nemo.cpu.fused_cross_entropy import CrossEntropy
    from glide_nemo.model.layer_spec import causal_attention

    logits = torch.zeros(2, 1, 40)
    logits[1, 0, 3] = torch.nan
    loss = CrossEntropy.apply(logits, torch.zeros(2, 1, dtype=torch.int64))
    query, key, value = torch.ones(3, 64, 1, 1, 16)
    query[7] = torch.nan
    context = causal_attention(query, key, value, 0.0, None)
    return [*loss.flatten().isfinite().tolist(), *context[6:9, 0, 0, 0].isfinite().tolist()]


def test_what_is_not_finite_shows_where_it_is_and_nowhere_else() -> None:
    assert run_with_megatron(not_finite) == [True, False, True, False, True]


def summed_gradients(report: Callable) -> dict[str, float]:
    """How far two backward passes' sum is from that of a weight which has no buffer, and whether one was used."""
    from megatron.core.tensor_parallel.layers import LinearWithGradAccumulationAndAsyncCommunication as Linear

    torch.manual_seed(0)
    x, grad = torch.randn(50, 2, 30), torch.randn(50, 2, 20)
    alone, summed = (torch.nn.Parameter(torch.ones(20, 30)) for _ in range(2))
    summed.main_grad, summed.grad_added_to_main_grad = torch.zeros(20, 30), False
    for weight in (alone, summed):
        for _ in range(2):
            Linear.apply(x, weight, None, False, False, False, None, 0, None, 1).backward(grad)
    expected = alone.grad.abs().max()
    return {
        "difference": float((summed.main_grad - alone.grad).abs().max() / expected),
        "fused": float(summed.grad_added_to_main_grad),
    }


def test_a_weights_gradient_is_added_to_its_sum_where_it_has_one() -> None:
    found = run_with_megatron(summed_gradients)
    assert found["difference"] < 1e-6 and found["fused"] == 1.0, found
