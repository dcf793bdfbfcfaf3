"""A quantized Hugging Face directory computed on a CPU as its files say: weights, activations, keys and values.

No GPU kernel is run: matrices are unpacked to float32, and what enters them is rounded where the format rounds it.
That tests everything that an export can get wrong, and nothing of a runtime's own kernels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import read_config
from glide_nemo.export.packed import to_fp8, to_nvfp4, unpack

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ATTENTION = "glide_fp8_kv_cache"


def quantization_config(path: Path) -> dict[str, Any] | None:
    """What a directory's config.json says of how its weights are packed; None where they are not."""
    return read_config(path).get("quantization_config")


def load_quantized(path: Path) -> PreTrainedModel:
    """The model of a directory that `glide export` quantized. GlideError where a part of a matrix is missing."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    stored = _read(path)
    weights, inputs, caches = {}, {}, {}
    for module, parts in stored.items():
        try:
            weights[f"{module}.weight"] = unpack(parts)
        except (KeyError, RuntimeError) as error:
            raise GlideError(f"{module} in {path} cannot be unpacked ({error}): export the model again") from error
        inputs[module] = {name: parts[name].float() for name in ("input_scale", "pre_quant_scale") if name in parts}
        inputs[module]["two_levels"] = "weight_scale_2" in parts
        caches |= {
            f"{module.rpartition('.')[0]}.{name}": parts[name] for name in ("k_scale", "v_scale") if name in parts
        }
    stated = read_config(path)
    del stated["quantization_config"]
    config = LlamaConfig(**stated | {"dtype": "float32", "torch_dtype": "float32"})
    network = LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights).eval()
    for module, scales in inputs.items():
        if "input_scale" in scales or "pre_quant_scale" in scales:
            network.get_submodule(module).register_forward_pre_hook(_rounding(**scales))
    if caches:
        _round_caches(network, caches)
    return network


def _read(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of every module, by the last part of their names."""
    import safetensors

    found: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for file_path in sorted(path.glob("model*.safetensors")):
        with safetensors.safe_open(file_path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118, it is no dictionary
                module, _, part = name.rpartition(".")
                found[module][part] = file.get_tensor(name)
    return found


def _rounding(
    two_levels: bool, input_scale: torch.Tensor | None = None, pre_quant_scale: torch.Tensor | None = None
) -> Callable[[Any, tuple[torch.Tensor]], tuple[torch.Tensor]]:
    """What happens to the input of a matrix before it is multiplied."""

    def rounded(module: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        (values,) = inputs
        if pre_quant_scale is not None:
            values = values * pre_quant_scale
        if input_scale is not None:
            values = to_nvfp4(values, input_scale) if two_levels else to_fp8(values, input_scale)
        return (values,)

    return rounded


def _round_caches(network: PreTrainedModel, scales: dict[str, torch.Tensor]) -> None:
    """Keys, rotated, and values are read back as a cache in FP8 holds them."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def attention(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **named: Any
    ) -> Any:
        key, value = to_fp8(key, module.k_scale), to_fp8(value, module.v_scale)
        return sdpa_attention_forward(module, query, key, value, *rest, **named)

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    network.set_attn_implementation(ATTENTION)
    for name, scale in scales.items():
        module, _, part = name.rpartition(".")
        network.get_submodule(module).register_buffer(part, scale)
