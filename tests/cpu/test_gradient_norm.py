"""The norm of gradients is that of fp64, where torch's own loses what is small beside the sum so far."""

from __future__ import annotations

import pytest
import torch

from glide_nemo.cpu.gradient_norm import CHUNK, norm


@pytest.fixture
def gradients() -> list[torch.Tensor]:
    """Of an embedding, of which few rows got large ones, of a matrix seen sideways, of a norm shorter than a chunk."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(1_000, 4_099, generator=generator) * 1e-3
    embedding[:10] *= 100
    return [embedding, torch.randn(300, 70, generator=generator).T, torch.randn(CHUNK // 2, generator=generator)]


def test_nothing_is_lost_in_a_large_buffer(gradients: list[torch.Tensor]) -> None:
    exact = sum(float(tensor.double().square().sum()) for tensor in gradients) ** 0.5
    assert norm(gradients) == pytest.approx(exact, rel=1e-7)
    embedding = gradients[0].flatten()
    exact = float(embedding.double().norm())
    assert norm([embedding]) == pytest.approx(exact, rel=1e-7)
    assert float(torch.norm(embedding)) != pytest.approx(exact, rel=1e-5), "torch.norm is exact now: drop the patch"


def test_it_does_not_depend_on_how_buffers_are_cut(gradients: list[torch.Tensor]) -> None:
    embedding = gradients[0].flatten()
    cut = list(embedding.split(1_234_567))
    assert norm(cut) == pytest.approx(norm([embedding]), rel=1e-7)


def test_no_gradients_have_no_length_and_infinite_ones_an_infinite_one() -> None:
    assert norm([]) == norm([torch.empty(0)]) == 0.0
    assert norm([torch.tensor([1.0, float("inf")])]) == float("inf")
