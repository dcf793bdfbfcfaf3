"""The vLLM step: a Hugging Face directory as vLLM serves it, in bfloat16, FP8 or W4A16, with its launch file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.export import compressed_tensors
from glide_nemo.export.calibration_text import Calibration, calibration_sequences
from glide_nemo.export.modelopt import copy_beside_weights, refuse_what_is_not_said, write_quantized
from glide_nemo.export.weights import MAX_SHARD_BYTES, HuggingFaceWeights, write_weights
from glide_nemo.steps import run_step
from glide_nemo.training.lineage import pretraining_tokens

if TYPE_CHECKING:
    import torch

LAUNCH, OPTIONS = "serve.sh", "vllm.yaml"
# Variant by what ModelOpt is to do, and what vLLM calls the result.
VARIANTS = {"bf16": (None, None), "fp8": ("fp8", "modelopt"), "w4a16": ("w4a16_awq", "compressed-tensors")}


@dataclass
class VllmConfig:
    """`quantization`: bf16; fp8 (weights, activations, keys and values); w4a16 (4-bit integers in groups of 128).

    The last two are calibrated on `calibration_sequences` of held-out text, drawn by `seed`.
    """

    quantization: str = "bf16"
    calibration_sequences: int = 128
    calibration_length: int = 512
    seed: int = 0

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.calibration_sequences, self.calibration_length, self.seed)

    def check(self) -> None:
        if self.quantization not in VARIANTS:
            raise GlideError(f"unknown quantization '{self.quantization}': choose one of {', '.join(VARIANTS)}")
        self.calibration.check()


def export_vllm(config: VllmConfig, model: Artifact, out: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """Writes weights, config.json, tokenizer, `vllm.yaml` with the options of `vllm serve`, and `serve.sh`.

    Metrics: `exporter`, `recipe` (trained by), `objective`, `quantization`, `bytes` (of weights), `options`.

    Raises GlideError where config.json says something that vLLM would take otherwise.
    """
    config.check()
    algorithm, method = VARIANTS[config.quantization]
    stated = refuse_what_is_not_said(model.path, algorithm)

    def write(draft: Draft) -> None:
        if algorithm is None:
            _write_bfloat16(model.path, stated, draft.path)
        else:
            tokens = pretraining_tokens(model.input("checkpoint"))
            tokens_BS = calibration_sequences(config.calibration, tokens, stated["max_position_embeddings"])
            packed = {"repack": compressed_tensors.repack, "stated_as": compressed_tensors.CONFIG}
            layout = packed if method == "compressed-tensors" else {}
            write_quantized(model.path, algorithm, tokens_BS, draft.path, draft.logs / "modelopt.log", **layout)
        options = serve_options(stated["max_position_embeddings"], config.quantization)
        _write_launch(draft.path, options)
        size = sum(path.stat().st_size for path in draft.path.glob("model*.safetensors"))
        draft.metrics = {name: model.metrics[name] for name in ("recipe", "objective")}
        draft.metrics |= {"exporter": "vllm", "quantization": config.quantization, "bytes": size, "options": options}
        draft.summary = f"for vLLM, {config.quantization}, {size / 1e6:,.1f} MB{NOT_RUN[config.quantization]}"

    return run_step(f"vllm {config.quantization}", out, "export", config, {"model": model}, write, force=force)


NOT_RUN = {"bf16": "", "fp8": "; its FP8 kernels need a GPU and were not run", "w4a16": ""}


def serve_options(context: int, quantization: str) -> dict[str, Any]:
    """Arguments of `vllm serve`, as `--config` takes them in YAML. Those that vLLM 0.32 has by these names.

    No tool parser: the models are not trained to call tools. The chat template is in tokenizer_config.json and takes
    a message's content as one string. Sampling is what a request says, and not a default of the model's.
    """
    method = VARIANTS[quantization][1]
    return {
        "served-model-name": "glide",
        "host": "127.0.0.1",
        "dtype": "bfloat16",
        "max-model-len": context,
        "chat-template-content-format": "string",
        "generation-config": "auto",
        **({"quantization": method} if method else {}),
        **({"kv-cache-dtype": "fp8"} if quantization == "fp8" else {}),
    }


def _write_bfloat16(model: Path, stated: dict[str, Any], out: Path) -> None:
    import torch

    stored = HuggingFaceWeights(model)

    def weights() -> Iterator[tuple[str, torch.Tensor]]:
        for name in stored.shapes:
            yield name, torch.from_numpy(stored.read(name)).to(torch.bfloat16)

    write_weights(out, weights(), MAX_SHARD_BYTES)
    copy_beside_weights(model, out)
    content = stated | {"dtype": "bfloat16", "torch_dtype": "bfloat16"}
    write_atomically(out / "config.json", json.dumps(content, indent=1) + "\n")


def _write_launch(out: Path, options: dict[str, Any]) -> None:
    import yaml

    write_atomically(
        out / OPTIONS, "# Arguments of `vllm serve`; serve.sh passes them.\n" + yaml.safe_dump(options, sort_keys=False)
    )
    write_atomically(
        out / LAUNCH,
        "#!/bin/sh\n"
        "# Serves this directory with vLLM, on this machine alone. Further arguments win: ./serve.sh --port 9000\n"
        f'cd "$(dirname "$0")" && exec vllm serve . --config {OPTIONS} "$@"\n',
    )
    (out / LAUNCH).chmod(0o755)
