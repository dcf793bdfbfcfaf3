"""A small Llama with random weights as a model artifact: all that GGUF, llama.cpp and chat need, without training."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

from glide_nemo.artifact import Artifact, create, load
from glide_nemo.export.hf import TOKENIZER_FILES
from glide_nemo.export.hf_config import generation_config, model_config
from glide_nemo.export.weights import write_weights
from glide_nemo.model.architecture import GlideArchitecture

SMALL = GlideArchitecture(
    name="small", num_layers=2, hidden_size=256, ffn_hidden_size=512, num_attention_heads=4, num_query_groups=2,
    kv_channels=64, vocab_size=1_000, seq_length=128,
)  # fmt: skip


def random_model(out: Path, tokenizer: Artifact, architecture: GlideArchitecture = SMALL) -> Artifact:
    """Weights three times those of a fresh model, so that no two tokens are nearly as likely; exact in F16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    stated = model_config(architecture, architecture.vocab_size, tokenizer.metrics["special"], "float32")
    network = LlamaForCausalLM(LlamaConfig(**copy.deepcopy(stated) | {"initializer_range": 0.06}))
    weights = network.state_dict()
    del weights["lm_head.weight"]  # tied
    with create(out, "model", {"seed": 0}) as draft:
        write_weights(out, ((name, weight.half().float()) for name, weight in weights.items()), 1 << 30)
        (out / "config.json").write_text(json.dumps(stated))
        (out / "generation_config.json").write_text(json.dumps(generation_config(tokenizer.metrics["special"])))
        for name in TOKENIZER_FILES:
            shutil.copyfile(tokenizer.path / name, out / name)
        draft.metrics |= {"recipe": "glide_small_phaseA", "objective": "next_token"}
    return load(out)
