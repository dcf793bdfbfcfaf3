"""The TensorRT-LLM step: a Hugging Face directory of ours quantized by ModelOpt, with two files of serving options."""

from __future__ import annotations

import os
from dataclasses import dataclass

from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.export.calibration_text import Calibration, calibration_sequences
from glide_nemo.export.modelopt import ALGORITHMS, refuse_what_is_not_said, write_quantized
from glide_nemo.export.tensorrt_llm_options import MIRRORED_RELEASE, low_latency, throughput, write_options
from glide_nemo.steps import run_step
from glide_nemo.training.lineage import pretraining_tokens

LOW_LATENCY, THROUGHPUT, NOTES = "low_latency.yaml", "throughput.yaml", "README.md"
# What the format needs of a GPU to be computed in it (NVIDIA's support matrix of TensorRT-LLM).
GPUS = {"fp8": "Ada or Hopper", "w4a16_awq": "Ampere", "nvfp4": "Blackwell"}


@dataclass
class TensorRtLlmConfig:
    """`quantization`: fp8 or nvfp4, both with keys and values in FP8, or w4a16_awq.

    Calibrated on `calibration_sequences` of held-out text, drawn by `seed`.
    """

    quantization: str = "fp8"
    calibration_sequences: int = 128
    calibration_length: int = 512
    seed: int = 0

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.calibration_sequences, self.calibration_length, self.seed)

    def check(self) -> None:
        if self.quantization not in ALGORITHMS:
            raise GlideError(f"unknown quantization '{self.quantization}': choose one of {', '.join(ALGORITHMS)}")
        self.calibration.check()


def export_tensorrt_llm(
    config: TensorRtLlmConfig, model: Artifact, out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """Writes packed weights, config.json, hf_quant_config.json, tokenizer, `low_latency.yaml`, `throughput.yaml`.

    TensorRT-LLM's PyTorch backend serves the directory as it is: `trtllm-serve DIR --config DIR/low_latency.yaml`.
    Metrics: `exporter`, `recipe` (trained by), `objective`, `quantization`, `bytes` (of weights), `calibrated_on`
    (tokens), `mirrored_release` (of the options), `executed` (False: no kernel of TensorRT-LLM was run).

    Raises GlideError where the format or TensorRT-LLM cannot say the model exactly.
    """
    config.check()
    stated = refuse_what_is_not_said(model.path, config.quantization)
    context = stated["max_position_embeddings"]

    def write(draft: Draft) -> None:
        tokens = pretraining_tokens(model.input("checkpoint"))
        tokens_BS = calibration_sequences(config.calibration, tokens, context)
        write_quantized(model.path, config.quantization, tokens_BS, draft.path, draft.logs / "modelopt.log")
        write_options(low_latency(context), draft.path / LOW_LATENCY, "One to eight requests at a time, each soon.")
        write_options(throughput(context), draft.path / THROUGHPUT, "Many requests, most tokens a second.")
        write_atomically(draft.path / NOTES, notes(config.quantization))
        size = sum(path.stat().st_size for path in draft.path.glob("model*.safetensors"))
        draft.metrics = {name: model.metrics[name] for name in ("recipe", "objective")} | {
            "exporter": "tensorrt_llm",
            "quantization": config.quantization,
            "bytes": size,
            "calibrated_on": int(tokens_BS.size),
            "mirrored_release": MIRRORED_RELEASE,
            "executed": False,
        }
        draft.summary = (
            f"for TensorRT-LLM, {config.quantization}, {size / 1e6:,.1f} MB; its kernels need a GPU, not run"
        )

    return run_step(f"tensorrt_llm {config.quantization}", out, "export", config, {"model": model}, write, force=force)


def notes(quantization: str) -> str:
    """README.md of the directory."""
    return f"""# For TensorRT-LLM, {quantization}

    trtllm-serve . --config {LOW_LATENCY}     # one to eight requests at a time
    trtllm-serve . --config {THROUGHPUT}      # many

Quantized by ModelOpt on a CPU. `glide certify` unpacks the weights and computes with them and with the stated scales of
activations, keys and values, on a CPU. **Not executed when this was written**, because it takes an NVIDIA GPU:
TensorRT-LLM itself, its {quantization} kernels ({GPUS[quantization]} or later), CUDA graphs, NGram drafting, and so
any speed. The options' keys are those of TensorRT-LLM {MIRRORED_RELEASE}.
"""
