"""A Hugging Face Llama becomes a Megatron checkpoint and the same directory again, bit for bit; others are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_llama import SMALL, random_model

from glide_nemo.artifact import Artifact, file_sha256, load
from glide_nemo.cli import main
from glide_nemo.errors import GlideError
from glide_nemo.export.from_hugging_face import import_hugging_face
from glide_nemo.export.hugging_face_runtime import load_network
from glide_nemo.export.import_config import architecture_of_config
from glide_nemo.export.targets import export
from glide_nemo.training.lineage import tokenizer_of


def exported(checkpoint: Artifact, targets: str = "hf") -> Path:
    (model,) = export(checkpoint.path.parent, targets)
    return model.path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_stretched_model_comes_back_to_the_bit(small_tokenizer: Artifact, tmp_path: Path, dtype: torch.dtype) -> None:
    model = random_model(tmp_path / "hf", small_tokenizer, SMALL.stretched(512)).path
    if dtype != torch.float32:
        weights = {name: weight.to(dtype) for name, weight in load_file(model / "model.safetensors").items()}
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
        name = str(dtype).removeprefix("torch.")
        stated = json.loads((model / "config.json").read_text()) | {"dtype": name, "torch_dtype": name}
        (model / "config.json").write_text(json.dumps(stated))
    checkpoint = import_hugging_face(model, tmp_path / "run")
    assert checkpoint.metrics["architecture"]["rope_original_context"] == SMALL.seq_length
    assert checkpoint.metrics["architecture"]["num_query_groups"] == 2
    assert tokenizer_of(checkpoint).metrics["special"] == small_tokenizer.metrics["special"]
    again = exported(checkpoint)
    before, after = (load_file(path / "model.safetensors") for path in (model, again))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert after[name].dtype == weight.dtype and torch.equal(after[name], weight), name
    assert json.loads((again / "config.json").read_text()) == json.loads((model / "config.json").read_text())
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert file_sha256(again / name) == file_sha256(model / name)


def plain_llama(out: Path) -> Path:
    """As transformers writes one: more heads than query groups, a vocabulary to pad, no tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=333, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=True, rope_theta=5_000.0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(out)
    return out


def test_a_llama_that_transformers_wrote_computes_the_same_after_the_round_trip(tmp_path: Path) -> None:
    model = plain_llama(tmp_path / "plain")
    checkpoint = import_hugging_face(model, tmp_path / "run")
    assert checkpoint.metrics["architecture"]["vocab_size"] == 333
    assert not (tmp_path / "run" / "tokenizer").exists()
    ids = torch.arange(40)[None]
    before, after = (load_network(path)(ids).logits for path in (model, exported(checkpoint)))
    assert torch.equal(before, after)


def test_the_older_form_of_positions_is_read() -> None:
    shape = {
        "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 96,
        "num_attention_heads": 4, "vocab_size": 10, "max_position_embeddings": 128, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True, "rope_theta": 500.0,
    }  # fmt: skip
    assert architecture_of_config(shape, Path("m")).rotary_base == 500.0
    yarn = {"type": "yarn", "factor": 4.0}
    found = architecture_of_config(shape | {"rope_scaling": yarn}, Path("m"))
    assert (found.rope_scaling_factor, found.rope_original_context, found.num_query_groups) == (4.0, 32, 4)
    newer = {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}
    assert architecture_of_config(shape | newer, Path("m")).rotary_base == 7.0


def pickled(model: Path) -> None:
    torch.save({}, model / "pytorch_model.bin")


def untied(model: Path) -> None:
    config(model, tie_word_embeddings=False)


def output_layer(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def other_architecture(model: Path) -> None:
    config(model, model_type="gpt2")


def attention_factor(model: Path) -> None:
    yarn = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32, "attention_factor": 1.0}
    config(model, rope_parameters=yarn | {"rope_theta": 1.0})


def other_shape(model: Path) -> None:
    config(model, intermediate_size=128)


def cut_short(model: Path) -> None:
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[:-100])


def one_file_missing(model: Path) -> None:
    names = list(load_file(model / "model.safetensors"))
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    placed = dict.fromkeys(names, "model-00001-of-00002.safetensors") | {
        "model.last": "model-00002-of-00002.safetensors"
    }
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


def no_config(model: Path) -> None:
    (model / "config.json").unlink()


def config(model: Path, **keys: object) -> None:
    stated = json.loads((model / "config.json").read_text()) | keys
    (model / "config.json").write_text(json.dumps(stated))


REFUSED = {
    pickled: "pickled weights, .*pytorch_model.bin, run code",
    untied: "tie_word_embeddings=False: pass a Llama with tie_word_embeddings=True",
    output_layer: "has an output layer of its own",
    other_architecture: "model_type=gpt2",
    attention_factor: "cannot import .* with rope_scaling=",
    other_shape: r"is of shape \(64, 96\) and not \(64, 128\)",
    cut_short: "cannot read .*model.safetensors",
    one_file_missing: "lacks model-00002-of-00002.safetensors",
    no_config: "no readable config.json",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_llama(tmp_path_factory.mktemp("plain") / "hf")


@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
def test_what_is_no_such_llama_is_refused_in_one_line(
    plain: Path, tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "hf"
    shutil.copytree(plain, model)
    damage(model)
    with pytest.raises(GlideError, match=REFUSED[damage]):
        import_hugging_face(model, tmp_path / "run")
    assert main(["import", str(model), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert not list((tmp_path / "run").glob("*/artifact.json"))


def test_a_run_is_not_overwritten_without_force(plain: Path, small_model: Artifact, tmp_path: Path) -> None:
    first = import_hugging_face(plain, tmp_path / "run")
    with pytest.raises(GlideError, match="already holds a finished checkpoint"):
        import_hugging_face(small_model.path, tmp_path / "run")
    assert load(first.path).sha256 == first.sha256
