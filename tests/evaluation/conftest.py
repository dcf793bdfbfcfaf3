"""A Llama of 100 thousand parameters that has learnt nothing, exported as the export step does."""

from __future__ import annotations

import shutil

import pytest

from glide_nemo.artifact import Artifact, create, load
from glide_nemo.evaluation.evaluate import EvaluationConfig
from glide_nemo.evaluation.subject import Subject

CONTEXT = 64


@pytest.fixture(scope="session")
def tiny_model(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    out = tmp_path_factory.mktemp("model") / "hf"
    config = LlamaConfig(
        vocab_size=small_tokenizer.metrics["vocab_size"], hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), create(out, "model", {"size": "tiny"}, {}) as draft:
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(draft.path)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(small_tokenizer.path / name, draft.path / name)
        draft.metrics["objective"] = "next_token"
    return load(out)


@pytest.fixture
def small_config() -> EvaluationConfig:
    config = EvaluationConfig()
    config.bits_per_byte.max_bytes = 6_000
    config.bits_per_byte.max_document_bytes = 1_500
    config.bits_per_byte.unigram_bytes = 50_000
    config.continuation.items = 12
    config.continuation.context_characters = 80
    config.continuation.continuation_characters = 40
    config.samples.prompts = ["Return a"]
    config.samples.max_new_tokens = 8
    return config


@pytest.fixture
def subject(tiny_model: Artifact, small_corpus: Artifact, small_config: EvaluationConfig, tmp_path) -> Subject:  # noqa: ANN001
    return Subject(model=tiny_model, corpus=small_corpus, config=small_config, out=tmp_path)
