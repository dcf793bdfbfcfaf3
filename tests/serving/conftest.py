"""A real llama-server with a tiny model in it, shared by the tests that ask it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.export.gguf import FILE
from glide_nemo.serving.runtimes import llama_server
from glide_nemo.serving.serve import ServeConfig, served
from glide_nemo.serving.server import Server

NO_SERVER = "no llama-server here: `make serve-env` builds it"


@pytest.fixture(scope="session")
def served_f16(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file whose context is long enough to be interrupted in; skipped where nothing can serve it."""
    from small_llama import SMALL, random_model

    from glide_nemo.export.gguf import GgufConfig, export_gguf

    if llama_server() is None:
        pytest.skip(NO_SERVER)
    run = tmp_path_factory.mktemp("served")
    model = random_model(run / "hf", small_tokenizer, dataclasses.replace(SMALL, seq_length=2_048))
    return export_gguf(GgufConfig("f16"), model, run / "gguf_f16").path / FILE


@pytest.fixture(scope="session")
def server(served_f16: Path) -> Iterator[Server]:
    """That file behind the API. One thread, since two wait for each other where other processes work too."""
    with served(ServeConfig(served_f16, port=0, threads=1), beside=True) as running:
        running.wait_until_ready(120.0)
        yield running
