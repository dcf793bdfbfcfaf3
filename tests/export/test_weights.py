"""Weights in one file or several are the same weights, and config.json says the same in both its forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_llama import SMALL

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import model_config
from glide_nemo.export.weights import HuggingFaceWeights, write_weights


def test_numbered_files_load_in_transformers_as_the_same_model(small_model: Artifact, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    weights = HuggingFaceWeights(small_model.path)
    stream = ((name, torch.from_numpy(weights.read(name))) for name in weights.shapes)
    total = write_weights(tmp_path, stream, max_shard_bytes=1_000_000)
    (tmp_path / "config.json").write_bytes((small_model.path / "config.json").read_bytes())
    assert len(list(tmp_path.glob("model-0*.safetensors"))) > 3
    assert json.loads((tmp_path / "model.safetensors.index.json").read_text())["metadata"]["total_size"] == total
    whole, numbered = (LlamaForCausalLM.from_pretrained(path).state_dict() for path in (small_model.path, tmp_path))
    assert all(torch.equal(whole[name], numbered[name]) for name in whole)


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    for name in (".tmpAbCdEf", ".shard-3.partial"):
        (tmp_path / name).write_bytes(b"half")
    write_weights(tmp_path, [("w", torch.ones(2))], 1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_bfloat16_is_read_without_loss(tmp_path: Path) -> None:
    weight = torch.randn(3, 5).bfloat16()
    write_weights(tmp_path, [("w", weight)], 1 << 20)
    assert torch.equal(torch.from_numpy(HuggingFaceWeights(tmp_path).read("w")), weight.float())


def test_both_forms_of_rope_are_written_and_agree(small_tokenizer: Artifact) -> None:
    stated = model_config(SMALL, 1_000, small_tokenizer.metrics["special"], "float32")
    assert stated["rope_theta"] == stated["rope_parameters"]["rope_theta"] == SMALL.rotary_base
    assert stated["rope_scaling"] is None and stated["rope_parameters"]["rope_type"] == "default"


def test_a_vocabulary_that_llama_cpp_mistakes_is_refused(small_tokenizer: Artifact) -> None:
    with pytest.raises(GlideError, match="a vocabulary of 32016"):
        model_config(SMALL, 32_016, small_tokenizer.metrics["special"], "float32")


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="no model"):
        HuggingFaceWeights(tmp_path)
