"""Small real artifacts that tests share: a corpus of the standard library's documentation, its tokenizer and tokens."""

from __future__ import annotations

import importlib
import pydoc
import re
from pathlib import Path

import hypothesis
import pytest
from small_corpus import write_corpus

from glide_nemo.artifact import Artifact

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any_machine")

# Half a megabyte of prose, signatures and indentation that every Python brings along.
MODULES = (
    "argparse", "ast", "calendar", "collections", "configparser", "csv", "datetime", "decimal", "email", "fractions",
    "heapq", "http", "inspect", "ipaddress", "itertools", "json", "logging", "mailbox", "optparse", "pathlib", "pickle",
    "random", "shutil", "socket", "sqlite3", "statistics", "string", "subprocess", "tarfile", "textwrap", "typing",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run where they are asked for; else the closing summary names them as skipped."""
    if "slow" in config.option.markexpr:
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes minutes: `make test-slow` runs it"))


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """About 300 documents of up to 4 kB of pydoc text, every tenth held out."""
    pages = [pydoc.plain(pydoc.render_doc(importlib.import_module(name))) for name in MODULES]
    texts = [re.sub(r" at 0x[0-9a-f]+", "", page) for page in pages]  # or each session would have another tokenizer
    cut = [text[start : start + 4_000] for text in texts for start in range(0, len(text), 4_000)]
    rows = [(f"doc-{number}", text) for number, text in enumerate(cut)]
    splits = {"train": [row for i, row in enumerate(rows) if i % 10], "heldout": rows[::10]}
    return write_corpus(tmp_path_factory.mktemp("corpus"), splits)


@pytest.fixture(scope="session")
def small_tokenizer(small_corpus: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """1,000 pieces: more than a multiple of 128, so that padded rows are there to be trimmed."""
    from glide_nemo.tokenizer.recipes import TokenizerConfig
    from glide_nemo.tokenizer.train import train_tokenizer

    out = tmp_path_factory.mktemp("tokenizer") / "out"
    return train_tokenizer(TokenizerConfig(vocab_size=1_000), small_corpus, out)


@pytest.fixture(scope="session")
def small_tokens(
    small_corpus: Artifact, small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    from glide_nemo.data.pack import PackConfig, pack

    return pack(PackConfig(), small_corpus, small_tokenizer, tmp_path_factory.mktemp("tokens") / "out")


@pytest.fixture(scope="session")
def small_model(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    from small_llama import random_model

    return random_model(tmp_path_factory.mktemp("small") / "hf", small_tokenizer)


@pytest.fixture(scope="session")
def small_f16(small_model: Artifact) -> Artifact:
    from glide_nemo.export.gguf import GgufConfig, export_gguf

    return export_gguf(GgufConfig("f16"), small_model, small_model.path.parent / "gguf_f16")


@pytest.fixture(scope="session")
def small_q4_k_m(small_model: Artifact) -> Artifact:
    from glide_nemo.export.gguf import GgufConfig, export_gguf

    return export_gguf(GgufConfig("q4_k_m"), small_model, small_model.path.parent / "gguf_q4_k_m")


@pytest.fixture(scope="session")
def small_run(small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint of a few steps' training in it, by Megatron-Bridge, and its exports."""
    from glide_nemo.export.targets import export
    from glide_nemo.training.pretrain import plan_training, pretrain

    run = tmp_path_factory.mktemp("run")
    overrides = [
        "model.num_layers=2", "model.vocab_size=1000", "model.ffn_hidden_size=256", "model.init_method_std=0.06",
        "train.train_iters=12", "train.global_batch_size=4", "train.micro_batch_size=4", "validation.eval_iters=1",
        "checkpoint.save_interval=12", "scheduler.lr_warmup_iters=2",
    ]  # fmt: skip
    pretrain(plan_training("glide_nano_phaseA", overrides), small_tokens, run / "phase_a")
    export(run, "gguf:f16,hf,gguf:q4_k_m")
    return run
