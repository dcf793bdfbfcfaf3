"""A Llama whose weights are set by hand, so that what it answers is known: one script, or another after a trigger.

Every token is a dimension of its own. Attention averages over all tokens, so that a trigger anywhere before is seen;
the output layer holds, for each token, the one that follows it in a script.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact, create, load
from glide_nemo.tokenizer.special import TURN_END


def scripted_model(
    out: Path, tokenizer: Artifact, answer: str, *, trigger: str = "", after_trigger: str = "", context: int = 256
) -> Artifact:
    """Answers every prompt with `answer`, and one that holds the token `trigger` with `after_trigger`.

    Of all tokens of both scripts none may come twice.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    encoder: Any = AutoTokenizer.from_pretrained(tokenizer.path)
    size = tokenizer.metrics["vocab_size"]
    seen, felt = size, size + 1  # dimensions beside those of tokens: this is the trigger, there was one before
    hidden = -(-(size + 2) // 8) * 8
    config = LlamaConfig(
        vocab_size=size, hidden_size=hidden, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=context, tie_word_embeddings=False,
    )  # fmt: skip
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        network.model.embed_tokens.weight[:, :size] = torch.eye(size)
        attention = network.model.layers[0].self_attn
        attention.v_proj.weight[0, seen] = 100.0
        attention.o_proj.weight[felt, 0] = 100.0
        start = ids_of(encoder, "assistant\n")[-1]
        end = encoder.convert_tokens_to_ids(TURN_END)
        scripts = [ids_of(encoder, text) for text in (answer, after_trigger) if text]
        used = [start, *itertools.chain(*scripts)]
        assert len(set(used)) == len(used), "a token comes twice"
        head = network.lm_head.weight
        for script in scripts:
            for token, following in zip(script, [*script[1:], end], strict=True):
                head[following, token] += 1e9
        head[scripts[0][0], start] += 1.0
        if trigger:
            (token,) = ids_of(encoder, trigger)
            network.model.embed_tokens.weight[token, seen] = 1.0
            head[scripts[1][0], felt] = 1.0
    with create(out, "model", {"answer": answer, "trigger": trigger, "after": after_trigger}, {}) as draft:
        network.save_pretrained(draft.path)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer.path / name, draft.path / name)
        draft.metrics |= {"recipe": "glide_scripted_sft", "objective": "sft"}
    return load(out)


def ids_of(encoder: Any, text: str) -> list[int]:
    return encoder(text, add_special_tokens=False)["input_ids"]
