"""ModelOpt on a CPU: a Hugging Face model of ours quantized to FP8, W4A16_AWQ or NVFP4, calibrated on held-out text."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import copy_atomically, write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.export.hf import TOKENIZER_FILES
from glide_nemo.export.hf_config import read_config, refuse_two_ropes
from glide_nemo.export.hugging_face_runtime import load_network
from glide_nemo.export.weights import MAX_SHARD_BYTES, write_weights
from glide_nemo.training.worker import run_apart

if TYPE_CHECKING:
    import numpy
    import torch
    from transformers import PreTrainedModel

RECORD = "hf_quant_config.json"  # where TensorRT-LLM and vLLM look for what ModelOpt has done
COPIED = (*TOKENIZER_FILES, "generation_config.json")


@dataclass(frozen=True)
class Algorithm:
    """One of ModelOpt's: its preset, how many weights of a row share a scale, and whether keys and values get FP8."""

    preset: str
    group_size: int  # FP8 has one scale a matrix; its kernels take dimensions that are multiples of 16
    fp8_kv_cache: bool


ALGORITHMS = {
    "fp8": Algorithm("FP8_DEFAULT_CFG", 16, fp8_kv_cache=True),
    "w4a16_awq": Algorithm("INT4_AWQ_CFG", 128, fp8_kv_cache=False),
    "nvfp4": Algorithm("NVFP4_DEFAULT_CFG", 16, fp8_kv_cache=True),
}


def refuse_what_is_not_said(model: Path, algorithm: str | None = None) -> dict[str, Any]:
    """config.json of a model that vLLM and TensorRT-LLM can serve as it is meant. GlideError for any other."""
    stated = read_config(model)
    required = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    for key, value in required.items():
        if stated.get(key) != value:
            raise GlideError(
                f"{key}={stated.get(key)} in {model}/config.json is no GLiDE model's: pass one with {value}"
            )
    scaling = stated["rope_scaling"]
    if "attention_factor" in (scaling or {}) | stated["rope_parameters"]:
        raise GlideError(f"attention_factor in {model}/config.json: TensorRT-LLM works it out otherwise, leave it out")
    refuse_two_ropes(stated, model)
    if algorithm:
        size = ALGORITHMS[algorithm].group_size
        for key in ("hidden_size", "intermediate_size"):
            if stated[key] % size:
                raise GlideError(
                    f"{algorithm} takes groups of {size}, {key}={stated[key]} of {model} is no multiple: use bf16"
                )
    return stated


def write_quantized(
    model: Path,
    algorithm: str,
    tokens_BS: numpy.ndarray,
    out: Path,
    log: Path,
    repack: Callable[[Iterator[tuple[str, torch.Tensor]]], Iterator[tuple[str, torch.Tensor]]] | None = None,
    stated_as: dict[str, Any] | None = None,
) -> None:
    """Writes a model quantized: packed weights, config.json, hf_quant_config.json, tokenizer, generation config.

    Of what ModelOpt writes only the weights and its record are kept. It rewrites config.json in a form of transformers
    5, without rope_theta and rope_scaling, and generation_config.json with one end of text where the model has two:
    those and the tokenizer are the model's own, byte for byte, but for config.json's `dtype` and
    `quantization_config`. Norms, embeddings and group scales are bfloat16, what runtimes compute with.

    `repack` turns the weights into another layout, which has no pre-quantization scales; `stated_as` is then
    config.json's quantization_config, and ModelOpt's record is left out.
    """
    stated = refuse_what_is_not_said(model, algorithm)
    with tempfile.TemporaryDirectory(prefix=".modelopt-", suffix=".partial", dir=out) as scratch:
        run_apart(quantize, model, algorithm, tokens_BS, repack is not None, Path(scratch), log=log)
        weights = _stored(Path(scratch))
        write_weights(out, repack(weights) if repack else weights, MAX_SHARD_BYTES)
        rewritten = json.loads((Path(scratch) / "config.json").read_text(encoding="utf-8"))
        if not repack:
            copy_atomically(Path(scratch) / RECORD, out / RECORD)
    stated |= {"dtype": "bfloat16", "torch_dtype": "bfloat16"}
    stated["quantization_config"] = stated_as or rewritten["quantization_config"]
    copy_beside_weights(model, out)
    write_atomically(out / "config.json", json.dumps(stated, indent=1) + "\n")


def copy_beside_weights(model: Path, out: Path) -> None:
    """The tokenizer with its chat template, and where generation stops."""
    for name in COPIED:
        copy_atomically(model / name, out / name)


def quantize(
    model: Path, algorithm: str, tokens_BS: numpy.ndarray, fold: bool, out: Path, report: Callable[[Any], None]
) -> None:
    """ModelOpt's own export; runs in a process of its own (`run_apart`), for it prints and patches torch."""
    network = quantized_network(model, algorithm, tokens_BS, fold=fold)
    import torch
    from modelopt.torch.export import export_hf_checkpoint

    with torch.no_grad():
        export_hf_checkpoint(network, export_dir=out)


def quantized_network(model: Path, algorithm: str, tokens_BS: numpy.ndarray, *, fold: bool) -> PreTrainedModel:
    """The model with ModelOpt's quantizers in it, calibrated: it computes in float32, rounding as the format does.

    `fold`: pre-quantization scales are multiplied into the matrix before, averaged over query heads that share keys.
    """
    import copy
    import sys

    # What ModelOpt has plugins for and a Llama does not need: a third of its imports' time.
    sys.modules.update(dict.fromkeys(("megatron", "wandb", "trl", "diffusers")))

    import modelopt.torch.quantization as modelopt
    import torch
    from modelopt.torch.export.quant_utils import fuse_prequant_to_linear

    chosen = ALGORITHMS[algorithm]
    config = copy.deepcopy(getattr(modelopt, chosen.preset))
    if chosen.fp8_kv_cache:
        config["quant_cfg"] += copy.deepcopy(modelopt.FP8_KV_CFG["quant_cfg"])
    network = load_network(model)

    def calibrate(network: torch.nn.Module) -> None:
        for tokens_S in tokens_BS:
            network(torch.from_numpy(tokens_S)[None], use_cache=False)

    with torch.no_grad():
        modelopt.quantize(network, config, calibrate)
        if algorithm == "fp8":
            _share_scales(network)
        if fold:
            fuse_prequant_to_linear(network, fuse_grouped_heads=True)
    return network


def _share_scales(network: torch.nn.Module) -> None:
    """One FP8 scale for matrices that runtimes fuse: they would take the largest, and round the others' weights again.

    ModelOpt does this itself for its other algorithms.
    """
    for layer in network.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for fused in ((attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)):
            largest = max(matrix.weight_quantizer.amax for matrix in fused)
            for matrix in fused:
                matrix.weight_quantizer.amax = largest.clone()


def _stored(scratch: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """What ModelOpt wrote, tensor by tensor in the order of their names, everything a runtime casts already cast."""
    import safetensors
    import torch

    for path in sorted(scratch.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                # Scalars are scales of whole matrices: runtimes keep them in float32.
                kept = tensor.dtype != torch.float32 or tensor.dim() == 0
                yield name, tensor if kept else tensor.to(torch.bfloat16)
