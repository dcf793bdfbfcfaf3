"""The GGUF step: a Hugging Face directory of ours as one file for llama.cpp, in F16 or quantized."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import Artifact, Draft
from glide_nemo.errors import GlideError
from glide_nemo.export.llama_cpp_runtime import quantize
from glide_nemo.export.weights import HuggingFaceWeights
from glide_nemo.steps import run_step
from glide_nemo.tokenizer import special
from glide_nemo.tokenizer.train import load_processor

if TYPE_CHECKING:
    import gguf
    import numpy

FILE = "model.gguf"
QUANTIZATIONS = ("f16", "q4_k_m")
# What GGUF can say of YaRN. `attention_factor` is not among it: llama.cpp works it out from the factor.
YARN = {"rope_type", "factor", "original_max_position_embeddings", "beta_fast", "beta_slow"}


@dataclass
class GgufConfig:
    """`quantization`: f16, or q4_k_m (4 to 6 bits a weight, made from F16 by llama.cpp itself)."""

    quantization: str = "f16"

    def check(self) -> None:
        if self.quantization not in QUANTIZATIONS:
            raise GlideError(f"unknown quantization '{self.quantization}': choose one of {', '.join(QUANTIZATIONS)}")


def export_gguf(config: GgufConfig, model: Artifact, out: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """Writes `model.gguf` from a model artifact, with tokenizer and chat template inside.

    Metrics: `recipe` (trained by), `quantization`, `bytes`, `bits_per_weight`, `tensors` (how many of each type).

    Raises GlideError where config.json says something that is not written here.
    """
    config.check()

    def write(draft: Draft) -> None:
        final, half = draft.path / FILE, draft.path / f".{FILE}.f16.partial"
        write_f16(model.path, half)
        if config.quantization == "f16":
            os.replace(half, final)
        else:
            partial = draft.path / f".{FILE}.partial"
            quantize(half, partial, config.quantization)
            os.replace(partial, final)
            half.unlink()
        stated = {name: model.metrics[name] for name in ("recipe", "objective")}
        stated |= {"quantization": config.quantization}
        draft.metrics = stated | _describe(final)
        draft.summary = (
            f"{config.quantization.upper()}, {draft.metrics['bytes'] / 1e6:,.1f} MB, "
            f"{draft.metrics['bits_per_weight']:.1f} bits a weight"
        )

    return run_step(f"gguf {config.quantization}", out, "export", config, {"model": model}, write, force=force)


def write_f16(model: Path, path: Path) -> None:
    """GGUF as llama.cpp's own converter writes it: matrices in F16, norms in F32. One tensor in memory at a time."""
    import gguf

    stated = json.loads((model / "config.json").read_text(encoding="utf-8"))
    _refuse_what_is_not_written(stated, model)
    weights = HuggingFaceWeights(model)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    _add_architecture(writer, stated)
    _add_tokenizer(writer, model)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, stated["num_hidden_layers"])
    for name, shape in weights.shapes.items():
        dtype = _dtype(shape)
        known = names.get_name(name, try_suffixes=(".weight",))
        if known is None:
            raise GlideError(f"unknown tensor {name} in {model}: only GLiDE's own Llama models are exported")
        writer.add_tensor_info(known, shape, dtype, math.prod(shape) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, shape in weights.shapes.items():
        tensor = _in_rotary_pairs(name, weights.read(name), stated)
        writer.write_tensor_data(tensor.astype(_dtype(shape)))
    writer.close()
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _refuse_what_is_not_written(stated: dict[str, Any], model: Path) -> None:
    """GlideError for a config.json whose meaning would be lost on the way."""
    required = {
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
    }
    for key, value in required.items():
        if stated.get(key) != value:
            found = stated.get(key)
            raise GlideError(f"cannot write {key}={found} of {model}/config.json as GGUF: export a model with {value}")
    scaling = stated["rope_scaling"]
    if scaling is not None and (scaling.get("rope_type") != "yarn" or set(scaling) - YARN):
        raise GlideError(
            f"cannot write rope_scaling={scaling} of {model}/config.json as GGUF: export a model with YaRN or without"
        )
    if stated["rope_parameters"] != {"rope_theta": stated["rope_theta"]} | (scaling or {"rope_type": "default"}):
        raise GlideError(f"rope_theta and rope_parameters in {model}/config.json disagree: export the model again")


def _add_architecture(writer: gguf.GGUFWriter, stated: dict[str, Any]) -> None:
    import gguf

    writer.add_name("GLiDE")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(stated["max_position_embeddings"])
    writer.add_embedding_length(stated["hidden_size"])
    writer.add_block_count(stated["num_hidden_layers"])
    writer.add_feed_forward_length(stated["intermediate_size"])
    writer.add_head_count(stated["num_attention_heads"])
    writer.add_head_count_kv(stated["num_key_value_heads"])
    writer.add_key_length(stated["head_dim"])
    writer.add_value_length(stated["head_dim"])
    writer.add_rope_dimension_count(stated["head_dim"])
    writer.add_rope_freq_base(stated["rope_theta"])
    if yarn := stated["rope_scaling"]:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(yarn["factor"])
        writer.add_rope_scaling_orig_ctx_len(yarn["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(yarn["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(yarn["beta_slow"])
    writer.add_layer_norm_rms_eps(stated["rms_norm_eps"])
    writer.add_vocab_size(stated["vocab_size"])


def _add_tokenizer(writer: gguf.GGUFWriter, model: Path) -> None:
    """SentencePiece's pieces, scores and types, under the name that llama.cpp calls its algorithm by: `llama`."""
    import gguf

    processor = load_processor(model)
    ids = range(processor.piece_size())
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([processor.id_to_piece(i).encode() for i in ids])
    writer.add_token_scores([processor.get_score(i) for i in ids])
    kinds = (
        (processor.is_unknown, gguf.TokenType.UNKNOWN),
        (processor.is_control, gguf.TokenType.CONTROL),
        (processor.is_byte, gguf.TokenType.BYTE),
    )
    writer.add_token_types([next((kind for has, kind in kinds if has(i)), gguf.TokenType.NORMAL) for i in ids])
    writer.add_bos_token_id(processor.eos_id())
    writer.add_eos_token_id(processor.eos_id())
    writer.add_unk_token_id(processor.unk_id())
    writer.add_pad_token_id(processor.pad_id())
    writer.add_eot_token_id(processor.piece_to_id(special.TURN_END))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)
    writer.add_chat_template(special.CHAT_TEMPLATE)


def _dtype(shape: Sequence[int]) -> numpy.dtype:
    import numpy

    return numpy.dtype(numpy.float32 if len(shape) == 1 else numpy.float16)


def _in_rotary_pairs(name: str, tensor: numpy.ndarray, stated: dict[str, Any]) -> numpy.ndarray:
    """Query and key rows in the order llama.cpp rotates them, (0, 1), (2, 3)...; Hugging Face pairs the two halves."""
    heads = {"q_proj": stated["num_attention_heads"], "k_proj": stated["num_key_value_heads"]}.get(name.split(".")[-2])
    if heads is None:
        return tensor
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, tensor.shape[1])
    return halves.swapaxes(1, 2).reshape(tensor.shape)


def quantization_of(path: Path) -> str:
    """`f16` or `q4_k_m`, as a GGUF file says of itself. GlideError for a file that is no GGUF or says otherwise."""
    import gguf

    try:
        field = gguf.GGUFReader(path).get_field("general.file_type")
    except (OSError, ValueError) as error:
        raise GlideError(f"cannot read {path} ({error}): pass a .gguf file") from error
    kind = gguf.LlamaFileType(field.contents()).name.removeprefix("MOSTLY_").lower() if field else "unknown"
    if kind not in QUANTIZATIONS:
        raise GlideError(f"{path} is {kind}: only {' and '.join(QUANTIZATIONS)} can be certified")
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
