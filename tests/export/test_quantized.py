"""Quantized GGUF files: what is in them, what they cost, and that held-out text makes the 4-bit ones better."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from glide_nemo.artifact import Artifact, load
from glide_nemo.errors import GlideError
from glide_nemo.export.compare import compare
from glide_nemo.export.gguf import FILE, GgufConfig, export_gguf, quantization_of
from glide_nemo.export.importance import IMPORTANCE, measure_importance
from glide_nemo.export.logits import heldout_sequences, llama_cpp_logits


@pytest.fixture(scope="module")
def model(small_run: Path) -> Artifact:
    return load(small_run / "hf")


@pytest.fixture(scope="module")
def tokens_BS(small_tokens: Artifact) -> numpy.ndarray:
    return heldout_sequences(small_tokens.path, "uint16", 32, 128)


@pytest.fixture(scope="module")
def half(model: Artifact, tokens_BS: numpy.ndarray) -> list[numpy.ndarray]:
    """Logits of the F16 file, which llama.cpp measures its quantizations against."""
    return list(llama_cpp_logits(model.path.parent / "gguf_f16" / FILE, tokens_BS))


def divergence(export: Artifact, half: list[numpy.ndarray], tokens_BS: numpy.ndarray) -> float:
    return compare(half, llama_cpp_logits(export.path / FILE, tokens_BS), tokens_BS)["kl_divergence"]


@pytest.mark.parametrize(
    ("quantization", "kinds", "bits"),
    [
        ("f32", {"F32"}, (32, 32)),
        ("bf16", {"BF16", "F32"}, (16, 16.1)),
        ("q8_0", {"Q8_0", "F32"}, (8.4, 8.6)),
        ("q5_k_m", {"Q5_K", "Q6_K", "F32"}, (5, 6.5)),
        ("iq4_nl", {"IQ4_NL", "Q6_K", "F32"}, (4, 5.5)),
        ("iq4_xs", {"IQ4_XS", "Q6_K", "F32"}, (4, 5.5)),
    ],
)
def test_every_quantization_is_what_it_says_and_close(
    model: Artifact, half: list[numpy.ndarray], tokens_BS: numpy.ndarray, tmp_path: Path,
    quantization: str, kinds: set[str], bits: tuple[float, float],
) -> None:  # fmt: skip
    made = export_gguf(GgufConfig(quantization, calibration_tokens=1_024), model, tmp_path / "out")
    assert set(made.metrics["tensors"]) == kinds
    assert bits[0] <= made.metrics["bits_per_weight"] <= bits[1]
    assert quantization_of(made.path / FILE) == quantization
    assert divergence(made, half, tokens_BS) < 0.04
    assert not [path for path in made.path.iterdir() if "partial" in path.name]


@pytest.mark.parametrize("quantization", ["q4_k_m", "iq4_xs"])
def test_an_importance_matrix_from_held_out_text_brings_it_nearer(
    model: Artifact, half: list[numpy.ndarray], tokens_BS: numpy.ndarray, tmp_path: Path, quantization: str
) -> None:
    with_it = export_gguf(GgufConfig(quantization), model, tmp_path / "with")
    without = export_gguf(GgufConfig(quantization, calibration_tokens=0), model, tmp_path / "without")
    assert divergence(with_it, half, tokens_BS) < divergence(without, half, tokens_BS)
    assert with_it.metrics["calibration"] == {"dataset": "heldout", "entries": 14, "tokens": 8_192, "sequences": 64}
    assert without.metrics["calibration"] is None and "not calibrated" in without.summary
    assert not (without.path / IMPORTANCE).exists()


def test_the_matrix_is_the_mean_square_of_what_enters_each_matrix(model: Artifact, small_tokens: Artifact) -> None:
    """The first layer's own input, by hand: embedding, then RMSNorm."""
    import torch
    from safetensors.torch import load_file

    from glide_nemo.export.importance import _sequences

    found = measure_importance(model.path, small_tokens, 600)
    weights = load_file(model.path / "model.safetensors")
    tokens = torch.from_numpy(_sequences(small_tokens, 600, 128))
    assert found.tokens == tokens.numel() == 640
    embedded = weights["model.embed_tokens.weight"][tokens.flatten()].double()
    normed = embedded * (embedded.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    wanted = (normed * weights["model.layers.0.input_layernorm.weight"]).square().sum(0)
    for name in ("attn_q", "attn_k", "attn_v"):
        numpy.testing.assert_allclose(found.sums[f"blk.0.{name}.weight"], wanted, rtol=1e-4)


def test_the_matrix_does_not_depend_on_the_number_of_threads(model: Artifact, small_tokens: Artifact) -> None:
    import torch

    threads = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(measure_importance(model.path, small_tokens, 600).sums)
    torch.set_num_threads(threads)
    assert all(numpy.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_what_it_is_calibrated_on_is_not_what_a_certificate_compares(small_tokens: Artifact) -> None:
    from glide_nemo.export.importance import _sequences

    stream = numpy.memmap(small_tokens.path / "heldout.bin", "uint16", mode="r")
    compared = {row.tobytes() for row in heldout_sequences(small_tokens.path, "uint16", 32, 128)}
    calibrated = _sequences(small_tokens, 8_192, 128)
    assert len(stream) > 8_192 + 4_096
    assert not {row.tobytes() for row in calibrated} & compared


def test_the_matrix_is_kept_as_llama_cpps_own_tool_would_and_noted_in_the_file(model: Artifact, tmp_path: Path) -> None:
    import gguf

    made = export_gguf(GgufConfig("iq4_xs", calibration_tokens=600), model, tmp_path / "out")
    said = gguf.GGUFReader(made.path / FILE).fields
    noted = {name.removeprefix("quantize.imatrix."): said[name].contents() for name in said if "imatrix" in name}
    assert noted == {"file": IMPORTANCE, "dataset": "heldout", "entries_count": 14, "chunks_count": 5}
    kept = gguf.GGUFReader(made.path / IMPORTANCE)
    assert kept.fields["general.type"].contents() == "imatrix"
    assert kept.fields["imatrix.chunk_size"].contents() == 128
    tensors = {tensor.name: tensor.data for tensor in kept.tensors}
    for name in ("blk.0.attn_q.weight", "blk.1.ffn_down.weight"):
        assert tensors[f"{name}.in_sum2"].shape == (1, 256) and tensors[f"{name}.counts"].item() == 640


def test_given_text_calibrates_a_model_that_came_from_elsewhere(
    small_model: Artifact, small_tokens: Artifact, tmp_path: Path
) -> None:
    alone = export_gguf(GgufConfig("iq4_nl", 256), small_model, tmp_path / "alone")
    assert alone.metrics["calibration"] is None, "it names no checkpoint, so there is no held-out text to be had"
    config = GgufConfig("iq4_nl", 256, str(small_tokens.path))
    given = export_gguf(config, small_model, tmp_path / "given")
    assert given.metrics["calibration"]["tokens"] == 256
    assert given.input("calibration").sha256 == small_tokens.sha256
    assert export_gguf(config, small_model, tmp_path / "again").sha256 == given.sha256


def test_no_calibration_on_less_than_nothing(small_model: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="cannot calibrate on calibration_tokens=-1"):
        export_gguf(GgufConfig("q4_k_m", calibration_tokens=-1), small_model, tmp_path / "out")
