"""Weights read tensor by tensor from a checkpoint are those that Megatron-Bridge converts, whatever the layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest

from glide_nemo import artifact
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export.llama_names import llama_weights
from glide_nemo.export.torch_dist import TorchDistCheckpoint
from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.model.iterations import latest_iteration
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import run_with_megatron


def bridged(checkpoints: Path, architecture: GlideArchitecture, report: Any) -> dict[str, numpy.ndarray]:
    """By Megatron-Core's own load of the whole model and Megatron-Bridge's own mapping."""
    from bridge_weights import hugging_face_config, hugging_face_weights

    from glide_nemo.model.bridge import loaded_model

    with loaded_model(checkpoints) as model:
        config = hugging_face_config(architecture, architecture.seq_length)
        return {name: weight.detach().numpy().copy() for name, weight in hugging_face_weights(model, config)}


def assert_equal(checkpoint: Artifact) -> None:
    architecture = GlideArchitecture(**checkpoint.metrics["architecture"])
    wanted = run_with_megatron(bridged, checkpoint.path / "checkpoints", architecture)
    assert numpy.array_equal(wanted.pop("lm_head.weight"), wanted["model.embed_tokens.weight"])
    stored = TorchDistCheckpoint(latest_iteration(checkpoint.path / "checkpoints"))
    found = {name: weight.numpy() for name, weight in llama_weights(stored, architecture, architecture.vocab_size)}
    assert set(found) == set(wanted)
    for name, weight in wanted.items():
        assert numpy.array_equal(found[name], weight), name


def test_weights_are_those_that_megatron_bridge_converts(small_run: Path) -> None:
    assert_equal(artifact.last(small_run, "checkpoint"))


@pytest.mark.parametrize("layout", ["tensor", "pipeline"])
def test_a_checkpoint_of_two_processes_is_read_in_one(layout: str, small_tokens: Artifact, tmp_path: Path) -> None:
    overrides = [
        "model.num_layers=2", "model.vocab_size=1000", "model.ffn_hidden_size=256", "train.train_iters=2",
        "train.global_batch_size=2", "train.micro_batch_size=1", "validation.eval_iters=1",
        "checkpoint.save_interval=2", f"model.{layout}_model_parallel_size=2",
    ]  # fmt: skip
    assert_equal(pretrain(plan_training("glide_nano_phaseA", overrides), small_tokens, tmp_path / "out"))


def iteration_of(small_run: Path) -> Path:
    return latest_iteration(artifact.last(small_run, "checkpoint").path / "checkpoints")


def test_a_part_of_a_tensor_is_put_together_from_what_holds_it(small_run: Path) -> None:
    stored = TorchDistCheckpoint(iteration_of(small_run))
    name = "decoder.layers.mlp.linear_fc1.weight"  # gate and up are saved apart
    layers, rows, columns = stored.tensors[name].shape
    whole = stored.read(name, (0, 0, 0), (layers, rows, columns))
    part = stored.read(name, (1, rows // 2 - 3, 5), (1, 6, 7))
    assert part.equal(whole[1:2, rows // 2 - 3 : rows // 2 + 3, 5:12])


def test_what_was_read_is_freed_with_its_last_reader(small_run: Path) -> None:
    """A cycle that holds a region keeps gigabytes until the collector comes by."""
    import gc
    import weakref

    stored = TorchDistCheckpoint(iteration_of(small_run))
    gc.disable()
    try:
        region = stored.read("decoder.final_layernorm.weight", (0,), (256,))
        kept = weakref.ref(region)
        del region
        assert kept() is None
    finally:
        gc.enable()


def test_a_layer_that_is_no_llamas_is_named(small_run: Path) -> None:
    stored = TorchDistCheckpoint(iteration_of(small_run))
    architecture = GlideArchitecture(**artifact.last(small_run, "checkpoint").metrics["architecture"])
    stored.tensors["output_layer.weight"] = stored.tensors["embedding.word_embeddings.weight"]
    with pytest.raises(GlideError, match=r"holds output_layer\.weight, which a Llama with tied embeddings"):
        list(llama_weights(stored, architecture, 1_000))
    del stored.tensors["output_layer.weight"], stored.tensors["decoder.layers.mlp.linear_fc2.weight"]
    with pytest.raises(GlideError, match="lacks a weight of layer 0"):
        list(llama_weights(stored, architecture, 1_000))


def test_damaged_files_are_named(small_run: Path, tmp_path: Path) -> None:
    copied = tmp_path / "iter_0000012"
    shutil.copytree(iteration_of(small_run), copied)
    stored = TorchDistCheckpoint(copied)
    for path in copied.glob("*.distcp"):
        path.write_bytes(path.read_bytes()[:1_000])
    with pytest.raises(GlideError, match=r"cannot read embedding.word_embeddings.weight in .*damaged"):
        stored.read("embedding.word_embeddings.weight", (0, 0), (1_000, 256))
    (copied / ".metadata").write_bytes(b"no")
    with pytest.raises(GlideError, match=r"cannot read .*\.metadata"):
        TorchDistCheckpoint(copied)
