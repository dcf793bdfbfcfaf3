"""The PEFT step: a run's LoRA adapters as the `peft` library reads them, beside the model that they were trained on.

Megatron adapts query, key and value as one matrix, and gate and up as one: there each pair of Hugging Face's has the
same A, and its own rows of B.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.export.intact import require_intact
from glide_nemo.export.llama_names import named
from glide_nemo.export.torch_dist import TorchDistCheckpoint
from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.model.iterations import latest_iteration
from glide_nemo.steps import run_step

if TYPE_CHECKING:
    import torch

FILE = "adapter_model.safetensors"
MATRICES = {
    "linear_qkv": "self_attention.linear_qkv",
    "linear_proj": "self_attention.linear_proj",
    "linear_fc1": "mlp.linear_fc1",
    "linear_fc2": "mlp.linear_fc2",
}


@dataclass
class PeftConfig:
    """`dtype` of the adapters: float32 is what they are trained in."""

    dtype: str = "float32"

    def check(self) -> None:
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise GlideError(f"unknown dtype '{self.dtype}': choose one of float32, bfloat16, float16")


def export_peft(config: PeftConfig, model: Artifact, out: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """Writes `adapter_config.json` and `adapter_model.safetensors` of the run that `model` is the merged export of.

    The base that they belong to is the export of the checkpoint which that run started from. Metrics: `recipe`, `base`
    (sha256 of that checkpoint), `dim`, `alpha`, `target_modules`, `parameters`.

    Raises GlideError where the run trained no adapters, or reads positions otherwise than its base.
    """
    config.check()
    checkpoint = model.input("checkpoint")
    lora = checkpoint.config.get("lora") or {}
    if not lora.get("dim") or not (checkpoint.path / "adapter").is_dir():
        raise GlideError(f"{checkpoint.path} trained no adapters: pass a run with lora.dim=8, or export with --to hf")
    architecture = GlideArchitecture(**checkpoint.metrics["architecture"])
    base = GlideArchitecture(**checkpoint.input("init_from").metrics["architecture"])
    for key in ("rotary_base", "rope_scaling"):
        ours, theirs = getattr(architecture, key), getattr(base, key)
        if ours != theirs:
            raise GlideError(
                f"the adapters of {checkpoint.path} belong to a base with {key}={ours}, and theirs has {theirs}, which "
                "PEFT cannot say: export the merged model with --to hf"
            )

    def write(draft: Draft) -> None:
        import torch
        from safetensors.torch import save_file

        require_intact(checkpoint, "adapter")
        stored = TorchDistCheckpoint(latest_iteration(checkpoint.path / "adapter"))
        found = dict(adapters(stored, architecture, lora["target_modules"]))
        found = {name: weight.to(getattr(torch, config.dtype)).contiguous() for name, weight in found.items()}
        save_file(found, draft.path / f".{FILE}.partial", metadata={"format": "pt"})
        os.replace(draft.path / f".{FILE}.partial", draft.path / FILE)
        modules = sorted({name.split(".")[-3] for name in found})
        stated = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": None,
            "r": lora["dim"],
            "lora_alpha": lora["alpha"],
            "lora_dropout": lora["dropout"],
            "target_modules": modules,
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
        }
        write_atomically(draft.path / "adapter_config.json", json.dumps(stated, indent=1) + "\n")
        draft.metrics = {
            "exporter": "peft",
            "recipe": checkpoint.metrics["recipe"],
            "base": checkpoint.record["inputs"]["init_from"]["sha256"],
            "dim": lora["dim"],
            "alpha": lora["alpha"],
            "target_modules": modules,
            "parameters": sum(weight.numel() for weight in found.values()),
        }
        draft.summary = f"LoRA of rank {lora['dim']}, {draft.metrics['parameters'] / 1e6:,.2f} M parameters"

    return run_step("peft", out, "export", config, {"model": model}, write, force=force)


def adapters(
    stored: TorchDistCheckpoint, architecture: GlideArchitecture, targets: list[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and weight of each A and B, as PEFT calls them."""
    for layer in range(architecture.num_layers):
        for target in targets:
            matrix = MATRICES[target]
            down = _read(stored, f"{matrix}.adapter.linear_in.weight", layer)
            up = _read(stored, f"{matrix}.adapter.linear_out.weight", layer)
            for name, rows in named(f"{matrix}.weight", up, architecture).items():
                at = f"base_model.model.model.layers.{layer}.{name.removesuffix('.weight')}"
                yield f"{at}.lora_A.weight", down.clone()  # safetensors refuses one tensor under two names
                yield f"{at}.lora_B.weight", rows


def _read(stored: TorchDistCheckpoint, part: str, layer: int) -> torch.Tensor:
    stacked, alone = f"decoder.layers.{part}", f"decoder.layers.{layer}.{part}"
    if stacked in stored.tensors:
        return stored.entry(stacked, (layer,))
    if alone in stored.tensors:
        return stored.entry(alone)
    raise GlideError(f"{stored.path} lacks {stacked}: pass the run that trained these adapters")
