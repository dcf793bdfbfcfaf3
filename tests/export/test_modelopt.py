"""Quantized exports mean what ModelOpt computed, keep the model's own config and tokenizer, and are close to it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_llama import SMALL, random_model

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export import compressed_tensors, packed
from glide_nemo.export.calibration_text import Calibration, calibration_sequences
from glide_nemo.export.compare import compare
from glide_nemo.export.hf import TOKENIZER_FILES
from glide_nemo.export.logits import heldout_sequences, hugging_face_logits
from glide_nemo.export.modelopt import quantized_network, refuse_what_is_not_said, write_quantized
from glide_nemo.export.quantized_runtime import load_quantized
from glide_nemo.training.worker import run_apart

ALGORITHMS = ("fp8", "w4a16_awq", "nvfp4")
REPACKED = "w4a16_awq in words"
CONTEXT = 2 * SMALL.seq_length  # stretched by YaRN, so that losing its keys would show


@pytest.fixture(scope="module")
def model(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Exact in bfloat16: a last bit lost in a norm can round an activation of four bits the other way."""
    made = random_model(tmp_path_factory.mktemp("model") / "hf", small_tokenizer, SMALL.stretched(CONTEXT))
    weights = {name: weight.bfloat16().float() for name, weight in load_file(made.path / "model.safetensors").items()}
    save_file(weights, made.path / "model.safetensors", metadata={"format": "pt"})
    return made


@pytest.fixture(scope="module")
def calibration_BS(small_tokens: Artifact) -> numpy.ndarray:
    return calibration_sequences(Calibration(8, CONTEXT), small_tokens, CONTEXT)


@pytest.fixture(scope="module")
def tokens_BS(small_tokens: Artifact) -> numpy.ndarray:
    return heldout_sequences(small_tokens.path, "uint16", 4, CONTEXT)


def make(model: Path, calibration_BS: numpy.ndarray, name: str, out: Path) -> Path:
    out.mkdir()
    words = {"repack": compressed_tensors.repack, "stated_as": compressed_tensors.CONFIG}
    layout: dict[str, Any] = words if name == REPACKED else {}
    write_quantized(model, name.split()[0], calibration_BS, out, out.parent / "modelopt.log", **layout)
    return out


@pytest.fixture(scope="module", params=[*ALGORITHMS, pytest.param(REPACKED, marks=pytest.mark.slow)])
def exported(
    request: pytest.FixtureRequest,
    model: Artifact,
    calibration_BS: numpy.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("quantized")
    return request.param, make(model.path, calibration_BS, request.param, folder / "out")


def fake_quantized(
    model: Path, name: str, calibration_BS: numpy.ndarray, tokens_BS: numpy.ndarray, report: Callable
) -> numpy.ndarray:
    """Logits of ModelOpt's simulation, scales averaged over matrices with the same input as its export does it."""
    network = quantized_network(model, name.split()[0], calibration_BS, fold=name == REPACKED)
    from modelopt.torch.export.unified_export_hf import requantize_resmooth_fused_llm_layers

    with torch.no_grad():
        requantize_resmooth_fused_llm_layers(network)
        return numpy.stack([network(torch.from_numpy(tokens_S)[None]).logits[0].numpy() for tokens_S in tokens_BS])


def dequantized(path: Path, report: Callable) -> dict[str, torch.Tensor]:
    """NVFP4 matrices as ModelOpt unpacks them."""
    from modelopt.torch.quantization.qtensor import NVFP4QTensor

    stored, matrices = load_file(path / "model.safetensors"), {}
    for name in [name.removesuffix("_scale_2") for name in stored if name.endswith("_scale_2")]:
        shape = torch.Size((stored[name].size(0), 2 * stored[name].size(1)))
        scales = {"scale": stored[f"{name}_scale"], "double_scale": stored[f"{name}_scale_2"]}
        packed_matrix = NVFP4QTensor(shape, torch.float32, stored[name])
        matrices[name] = packed_matrix.dequantize(torch.float32, block_sizes={-1: 16}, **scales).numpy()
    return matrices


def test_the_files_mean_what_modelopt_computed(
    exported: tuple[str, Path], model: Artifact, calibration_BS: numpy.ndarray, tokens_BS: numpy.ndarray, tmp_path: Path
) -> None:
    """What is left are AWQ's scales in bfloat16, and values half way that a last bit rounds the other way."""
    name, path = exported
    log = tmp_path / "log"
    if name == "nvfp4":  # ModelOpt simulates its activations on a GPU alone
        network = load_quantized(path)
        for matrix, expected in run_apart(dequantized, path, log=log).items():
            numpy.testing.assert_allclose(network.get_parameter(matrix).detach().numpy(), expected, rtol=1e-6)
        return
    expected = run_apart(fake_quantized, model.path, name, calibration_BS, tokens_BS, log=log)
    source = numpy.stack(list(hugging_face_logits(model.path, tokens_BS)))
    between = compare(expected, hugging_face_logits(path, tokens_BS), tokens_BS)["kl_divergence"]
    of_format = compare(source, iter(expected), tokens_BS)["kl_divergence"]
    assert between < 0.03 * of_format


def test_what_is_not_quantized_is_the_models_own(exported: tuple[str, Path], model: Artifact) -> None:
    _, path = exported
    stated, own = (json.loads((folder / "config.json").read_text()) for folder in (path, model.path))
    changed = {key for key in stated if stated[key] != own.get(key)}
    assert changed == {"dtype", "torch_dtype", "quantization_config"}
    assert stated["rope_scaling"]["factor"] == stated["rope_parameters"]["factor"] == 2.0
    for name in (*TOKENIZER_FILES, "generation_config.json"):
        assert (path / name).read_bytes() == (model.path / name).read_bytes()
    assert not [entry for entry in path.iterdir() if "partial" in entry.name]


def test_matrices_that_runtimes_fuse_share_their_scales(exported: tuple[str, Path]) -> None:
    name, path = exported
    weights = load_file(path / "model.safetensors")
    part = {"fp8": "weight_scale", "nvfp4": "weight_scale_2"}.get(name)
    for layer, fused in itertools.product(range(2), (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))):
        block = "self_attn" if "q_proj" in fused else "mlp"
        scales = [weights.get(f"model.layers.{layer}.{block}.{matrix}.{part}") for matrix in fused]
        assert part is None or len({float(scale) for scale in scales}) == 1


def rescaled(path: Path, out: Path, part: str, factor: int) -> Path:
    """A copy with every scale of a kind in the first layer so many times as large."""
    shutil.copytree(path, out)
    weights = load_file(out / "model.safetensors")
    touched = [name for name in weights if "layers.0." in name and name.endswith(f".{part}")]
    assert touched
    for name in touched:
        weights[name] = (weights[name].float() * factor).to(weights[name].dtype)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


# Values in FP8 are floating-point numbers: only a scale that lets them fall to zero costs them bits.
FACTORS = {
    "fp8": {"weight_scale": 2, "v_scale": 2**20}, "w4a16_awq": {"weight_scale": 2, "pre_quant_scale": 2},
    "nvfp4": {"weight_scale": 2, "weight_scale_2": 2}, REPACKED: {"weight_scale": 2},
}  # fmt: skip


def test_a_wrong_scale_shows(
    exported: tuple[str, Path], model: Artifact, tokens_BS: numpy.ndarray, tmp_path: Path
) -> None:
    name, path = exported
    source = numpy.stack(list(hugging_face_logits(model.path, tokens_BS)))

    def divergence(directory: Path) -> float:
        return compare(source, hugging_face_logits(directory, tokens_BS), tokens_BS)["kl_divergence"]

    intact = divergence(path)
    for part, factor in FACTORS[name].items():
        assert divergence(rescaled(path, tmp_path / part, part, factor)) > 1.3 * intact, part


@pytest.mark.slow
def test_the_same_model_and_text_give_the_same_bytes(
    exported: tuple[str, Path], model: Artifact, calibration_BS: numpy.ndarray, tmp_path: Path
) -> None:
    name, path = exported
    again = make(model.path, calibration_BS, name, tmp_path / "again")
    for entry in path.iterdir():
        assert (again / entry.name).read_bytes() == entry.read_bytes()


def test_integers_and_scales_stay_the_same_in_the_other_layout() -> None:
    torch.manual_seed(0)
    stored = {"weight": torch.randint(0, 256, (8, 256), dtype=torch.uint8), "weight_scale": torch.rand(16, 2)}
    parts = {name.partition(".")[2]: tensor for name, tensor in compressed_tensors.repack(iter(_named(stored)))}
    assert parts["weight_packed"].shape == (16, 32) and parts["weight_shape"].tolist() == [16, 256]
    assert torch.equal(packed.unpack(parts), packed.unpack(stored))


LIBRARY = "compressed-tensors==0.20.0"
CHECK = """
import sys, torch
from compressed_tensors.compressors.pack_quantized import unpack_from_int32
from compressed_tensors.quantization import QuantizationConfig
from glide_nemo.export import compressed_tensors
from safetensors.torch import load_file
parts = load_file(sys.argv[1])
values = unpack_from_int32(parts["weight_packed"], 4, torch.Size(parts["weight_shape"].tolist()))
assert torch.equal(values, parts["values"].to(values.dtype))
stated = QuantizationConfig.model_validate(compressed_tensors.CONFIG)
assert stated.format == "pack-quantized" and stated.config_groups["group_0"].weights.group_size == 128
"""


@pytest.mark.slow
def test_compressed_tensors_itself_reads_the_other_layout(tmp_path: Path) -> None:
    """Its wheel is pure Python: unpacked on the path of a child, it need not be installed."""
    got = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", LIBRARY, "-d", tmp_path],
        capture_output=True, text=True,
    )  # fmt: skip
    if got.returncode:
        pytest.skip(f"{LIBRARY} cannot be had: {got.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "library", "zip")
    torch.manual_seed(0)
    stored = {"weight": torch.randint(0, 256, (8, 256), dtype=torch.uint8), "weight_scale": torch.ones(16, 2)}
    parts = {name.partition(".")[2]: tensor for name, tensor in compressed_tensors.repack(iter(_named(stored)))}
    save_file(parts | {"values": packed.unpack(stored)}, tmp_path / "parts.safetensors")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'library'}:{Path(__file__).parents[2]}"}
    command = [sys.executable, "-c", CHECK, tmp_path / "parts.safetensors"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def _named(parts: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    return ((f"matrix.{name}", tensor) for name, tensor in parts.items())


def test_values_on_the_grid_of_a_format_are_kept_and_ties_go_to_even() -> None:
    grid = torch.tensor([*packed.E2M1, *(-value for value in packed.E2M1)])
    assert torch.equal(packed.to_nvfp4(grid, torch.tensor(1.0)), grid)
    halfway = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0, -0.25, -0.75, *[0.0] * 6])
    assert packed.to_nvfp4(halfway, torch.tensor(1.0)).tolist()[:10] == [0, 1, 1, 2, 2, 4, 4, 6, 0, -1]
    assert packed.to_fp8(torch.tensor([448.0, 1e4, 17.0, 19.0]), torch.tensor(1.0)).tolist() == [448, 448, 16, 20]


def test_calibration_leaves_out_what_a_certificate_compares_on(small_tokens: Artifact) -> None:
    length = 128
    calibration_BS = calibration_sequences(Calibration(10_000, length), small_tokens, length)
    compared_BS = heldout_sequences(small_tokens.path, "uint16", 4_096 // length, length)
    stream = numpy.memmap(small_tokens.path / "heldout.bin", "uint16", mode="r")
    assert len(calibration_BS) == (len(stream) - compared_BS.size) // length
    assert not {row.tobytes() for row in calibration_BS} & {row.tobytes() for row in compared_BS}
    again, other = (calibration_sequences(Calibration(4, length, seed), small_tokens, length) for seed in (0, 1))
    assert (again == calibration_BS[:4]).all() and (other != again).any()


def with_config(model: Artifact, out: Path, **keys: Any) -> Path:
    out.mkdir()
    stated = json.loads((model.path / "config.json").read_text()) | keys
    (out / "config.json").write_text(json.dumps(stated))
    return out


@pytest.mark.parametrize(
    ("keys", "algorithm", "message"),
    [
        ({"intermediate_size": 320}, "w4a16_awq", "takes groups of 128, intermediate_size=320"),
        ({"hidden_size": 264}, "nvfp4", "takes groups of 16, hidden_size=264"),
        ({"rope_scaling": {"rope_type": "yarn", "attention_factor": 1.0}}, "fp8", "attention_factor"),
        ({"rope_scaling": None}, None, "disagree"),
        ({"attention_bias": True}, None, "attention_bias=True"),
        ({"model_type": "qwen2"}, None, "model_type=qwen2"),
    ],
)
def test_what_a_target_cannot_say_is_refused(
    model: Artifact, tmp_path: Path, keys: dict[str, Any], algorithm: str | None, message: str
) -> None:
    with pytest.raises(GlideError, match=message):
        refuse_what_is_not_said(with_config(model, tmp_path / "model", **keys), algorithm)
