"""The GGUF step: a Hugging Face directory of ours as one file for llama.cpp, as it is or quantized by llama.cpp."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact, Draft, load
from glide_nemo.errors import GlideError
from glide_nemo.export.gguf_file import FILE_TYPES, write_gguf
from glide_nemo.export.hf_config import read_config
from glide_nemo.export.importance import IMPORTANCE, measure_importance
from glide_nemo.export.intact import require_intact, require_space
from glide_nemo.export.llama_cpp_runtime import quantize
from glide_nemo.export.weights import HuggingFaceWeights
from glide_nemo.steps import run_step
from glide_nemo.training.lineage import pretraining_tokens

FILE = "model.gguf"
UNQUANTIZED = tuple(FILE_TYPES)
# Upper bounds in bits a weight, embeddings of small models (Q6_K, Q8_0) included: what the disk must have room for.
QUANTIZED = {"q8_0": 8.6, "q5_k_m": 6.7, "q4_k_m": 6.7, "iq4_nl": 6.7, "iq4_xs": 6.7}
CALIBRATED = ("q4_k_m", "iq4_nl", "iq4_xs")  # few enough bits that it matters which columns they are spent on
QUANTIZATIONS = (*UNQUANTIZED, *QUANTIZED)


@dataclass
class GgufConfig:
    """`quantization`: f32, f16, bf16, or 4 to 8 bits a weight made by llama.cpp (q8_0, q5_k_m, q4_k_m, iq4_nl, iq4_xs).

    Those of 4 bits are rounded by an importance matrix, measured on `calibration_tokens` of held-out text (0: without
    one): the checkpoint's own, or that in `calibration`, a directory of packed tokens.
    """

    quantization: str = "f16"
    calibration_tokens: int = 8_192
    calibration: str = ""

    def check(self) -> None:
        if self.quantization not in QUANTIZATIONS:
            raise GlideError(f"unknown quantization '{self.quantization}': choose one of {', '.join(QUANTIZATIONS)}")
        if self.calibration_tokens < 0:
            raise GlideError(f"cannot calibrate on calibration_tokens={self.calibration_tokens}: pass 0 or more")


def export_gguf(config: GgufConfig, model: Artifact, out: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """Writes `model.gguf` from a model artifact, tokenizer and chat template inside, and what it was calibrated on.

    Metrics: `recipe` (trained by), `quantization`, `bytes`, `bits_per_weight`, `tensors` (how many of each type),
    `calibration` (of the importance matrix: entries, tokens; None without one).

    Raises GlideError where the model says something that GGUF cannot, was changed, or the disk has no room.
    """
    config.check()
    inputs = {"model": model}
    if calibrated := config.quantization in CALIBRATED and config.calibration_tokens > 0:
        tokens = load(config.calibration, "tokens") if config.calibration else _own_tokens(model)
        if tokens is not None and config.calibration:
            inputs["calibration"] = tokens

    def write(draft: Draft) -> None:
        require_intact(model)
        final, partial = draft.path / FILE, draft.path / f".{FILE}.partial"
        bits, source = _bits_and_source(config.quantization, model.path)
        shapes = HuggingFaceWeights(model.path).shapes
        require_space(draft.path, sum(map(math.prod, shapes.values())) * bits // 8)
        calibration = None
        if config.quantization in UNQUANTIZED:
            write_gguf(model.path, partial, config.quantization)
        else:
            importance = None
            if calibrated and tokens is not None:
                importance = measure_importance(model.path, tokens, config.calibration_tokens)
                importance.write(draft.path / IMPORTANCE)
                calibration = importance.described()
            half = draft.path / f".{FILE}.{source}.partial"
            write_gguf(model.path, half, source)
            quantize(half, partial, config.quantization, importance)
            half.unlink()
        os.replace(partial, final)
        stated = {name: model.metrics[name] for name in ("recipe", "objective")}
        draft.metrics = stated | {"quantization": config.quantization, "calibration": calibration} | _describe(final)
        draft.summary = (
            f"{config.quantization.upper()}, {draft.metrics['bytes'] / 1e6:,.1f} MB, "
            f"{draft.metrics['bits_per_weight']:.1f} bits a weight"
        )
        if config.quantization in CALIBRATED:
            told = f"calibrated on {calibration['tokens']:,} tokens" if calibration else "not calibrated"
            draft.summary += f", {told}"

    return run_step(f"gguf {config.quantization}", out, "export", config, inputs, write, force=force)


def _bits_and_source(quantization: str, model: Path) -> tuple[int, str]:
    """Bits a weight that the disk needs for a moment, and the type that llama.cpp quantizes from."""
    if quantization in UNQUANTIZED:
        return (32 if quantization == "f32" else 16), quantization
    stated = read_config(model)
    source = "bf16" if (stated.get("dtype") or stated.get("torch_dtype")) == "bfloat16" else "f16"
    return math.ceil(16 + QUANTIZED[quantization]), source


def _own_tokens(model: Artifact) -> Artifact | None:
    """What the model's checkpoint was pretrained on, None for a model that came from elsewhere or lost its lineage."""
    try:
        return pretraining_tokens(model.input("checkpoint"))
    except GlideError:
        return None


def quantization_of(path: Path) -> str:
    """One of QUANTIZATIONS, as a GGUF file says of itself. GlideError for a file that is no GGUF or says otherwise."""
    import gguf

    try:
        field = gguf.GGUFReader(path).get_field("general.file_type")
    except (OSError, ValueError) as error:
        raise GlideError(f"cannot read {path} ({error}): pass a .gguf file") from error
    kind = gguf.LlamaFileType(field.contents()).name.lower() if field else "unknown"
    kind = kind.removeprefix("mostly_").removeprefix("all_")
    if kind not in QUANTIZATIONS:
        raise GlideError(f"{path} is {kind}: only {', '.join(QUANTIZATIONS)} can be certified")
    return kind


def _describe(path: Path) -> dict[str, Any]:
    """What is in a GGUF file, read from it."""
    import gguf

    tensors = gguf.GGUFReader(path).tensors
    weights = sum(int(tensor.n_elements) for tensor in tensors)
    return {
        "bytes": path.stat().st_size,
        "bits_per_weight": 8 * sum(int(tensor.n_bytes) for tensor in tensors) / weights,
        "tensors": dict(sorted(Counter(tensor.tensor_type.name for tensor in tensors).items())),
    }
