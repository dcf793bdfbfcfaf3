"""A Hugging Face directory as an unquantized GGUF file: what llama.cpp's own converter writes, and its refusals."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.errors import GlideError
from glide_nemo.export.gguf_refusals import refuse_other_models, refuse_other_tokenizers
from glide_nemo.export.hf_config import read_config
from glide_nemo.export.weights import HuggingFaceWeights
from glide_nemo.tokenizer import special
from glide_nemo.tokenizer.train import load_processor

if TYPE_CHECKING:
    import gguf
    import numpy

FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}


def write_gguf(model: Path, path: Path, kind: str = "f16") -> None:
    """Matrices in F32, F16 or BF16, norms in F32, with tokenizer and chat template. One tensor in memory at a time.

    Raises GlideError where config.json or the tokenizer says what a GGUF file cannot.
    """
    import gguf
    import numpy

    stated = read_config(model)
    refuse_other_models(stated, model)
    refuse_other_tokenizers(model)
    weights = HuggingFaceWeights(model)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    _add_architecture(writer, stated, kind)
    parameters = sum(map(math.prod, weights.shapes.values()))
    writer.add_size_label(gguf.size_label(parameters, 0, 0, 0))
    _add_tokenizer(writer, model)
    named = gguf_names(stated["num_hidden_layers"])
    matrix = gguf.GGMLQuantizationType[kind.upper()]
    for name, shape in weights.shapes.items():
        known = named(name)
        if known is None:
            raise GlideError(f"unknown tensor {name} in {model}: only GLiDE's own Llama models are exported")
        written = gguf.GGMLQuantizationType.F32 if len(shape) == 1 else matrix
        size = math.prod(shape) * gguf.GGML_QUANT_SIZES[written][1]
        writer.add_tensor_info(known, shape, numpy.dtype(numpy.float32), size, written)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, shape in weights.shapes.items():
        tensor = _in_rotary_pairs(name, weights.read(name), stated)
        writer.write_tensor_data(tensor if len(shape) == 1 else gguf.quantize(tensor, matrix))
    writer.close()
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def gguf_names(layers: int) -> Callable[[str], str | None]:
    """GGUF's name of a tensor by LlamaForCausalLM's; None for one that a Llama has not."""
    import gguf

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    return lambda name: names.get_name(name, try_suffixes=(".weight",))


def _add_architecture(writer: gguf.GGUFWriter, stated: dict[str, Any], kind: str) -> None:
    import gguf

    writer.add_name("GLiDE")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
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


def _in_rotary_pairs(name: str, tensor: numpy.ndarray, stated: dict[str, Any]) -> numpy.ndarray:
    """Query and key rows in the order llama.cpp rotates them, (0, 1), (2, 3)...; Hugging Face pairs the two halves."""
    heads = {"q_proj": stated["num_attention_heads"], "k_proj": stated["num_key_value_heads"]}.get(name.split(".")[-2])
    if heads is None:
        return tensor
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, tensor.shape[1])
    return halves.swapaxes(1, 2).reshape(tensor.shape)
