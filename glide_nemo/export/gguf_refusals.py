"""What a GGUF file cannot say of a Hugging Face model or its tokenizer, refused by name before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import YARN, refuse_two_ropes
from glide_nemo.tokenizer.huggingface import SPACE
from glide_nemo.tokenizer.recipes import MISTAKEN_SIZES


def refuse_other_models(stated: dict[str, Any], model: Path) -> None:
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
    if stated["vocab_size"] in MISTAKEN_SIZES:
        raise GlideError(
            f"a vocabulary of {stated['vocab_size']}, {model}, makes llama.cpp take the model for another one: "
            "train another tokenizer"
        )
    scaling = stated["rope_scaling"]
    if scaling is not None and (scaling.get("rope_type") != "yarn" or set(scaling) - YARN):
        raise GlideError(
            f"cannot write rope_scaling={scaling} of {model}/config.json as GGUF: export a model with YaRN or without"
        )
    refuse_two_ropes(stated, model)


def refuse_other_tokenizers(model: Path) -> None:
    """GlideError for a tokenizer that changes text before it cuts it, which llama.cpp would not do."""
    from sentencepiece import sentencepiece_model_pb2

    if not (model / "tokenizer.model").exists():
        raise GlideError(f"no tokenizer.model in {model}: only models with a SentencePiece tokenizer become GGUF")
    proto = sentencepiece_model_pb2.ModelProto.FromString((model / "tokenizer.model").read_bytes())
    spec = proto.normalizer_spec
    other = [
        f"normalization {spec.name}" if spec.precompiled_charsmap else "",
        "a dummy prefix" if spec.add_dummy_prefix else "",
        "removal of extra whitespace" if spec.remove_extra_whitespaces else "",
    ]
    stated = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["normalizer"]
    if stated != {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}:
        other.append(f"the normalizer {json.dumps(stated)[:80]} in tokenizer.json")
    if said := ", ".join(filter(None, other)):
        raise GlideError(
            f"the tokenizer in {model} has {said}, which GGUF cannot say: train one with `glide tokenizer`"
        )
