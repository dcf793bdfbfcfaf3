"""GGUF files hold the same tokenizer and compute the same model as the Hugging Face directory they were made from."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy
import pytest

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, create, load
from glide_nemo.errors import GlideError
from glide_nemo.export.compare import compare
from glide_nemo.export.encoders import hugging_face_encoder, llama_cpp_encoder, mismatches
from glide_nemo.export.gguf import FILE, GgufConfig, export_gguf, quantization_of
from glide_nemo.export.llama_cpp_runtime import opened
from glide_nemo.export.logits import heldout_sequences, hugging_face_logits, llama_cpp_logits
from glide_nemo.tokenizer import special
from glide_nemo.tokenizer.agreement import ADVERSARIAL


@pytest.fixture(scope="module")
def texts(small_corpus: Artifact) -> list[str]:
    return [*ADVERSARIAL, *(text for _, text in corpora.documents(small_corpus, "heldout"))]


@pytest.fixture(scope="module")
def tokens_BS(small_tokens: Artifact) -> numpy.ndarray:
    return heldout_sequences(small_tokens.path, "uint16", 8, 128)


def test_llama_cpp_tokenizes_as_sentencepiece_does(
    small_f16: Artifact, small_tokenizer: Artifact, texts: list[str]
) -> None:
    with llama_cpp_encoder(small_f16.path / FILE) as encode:
        assert mismatches(small_tokenizer.path, encode, texts) == 0


def test_transformers_tokenizes_as_sentencepiece_does(
    small_model: Artifact, small_tokenizer: Artifact, texts: list[str]
) -> None:
    with hugging_face_encoder(small_model.path) as encode:
        assert mismatches(small_tokenizer.path, encode, texts) == 0


def test_mismatches_are_counted(small_tokenizer: Artifact) -> None:
    assert mismatches(small_tokenizer.path, lambda text: [0], ["a", "b", ""]) == 3


def test_f16_computes_what_hugging_face_computes(
    small_model: Artifact, small_f16: Artifact, tokens_BS: numpy.ndarray
) -> None:
    expected = numpy.stack(list(hugging_face_logits(small_model.path, tokens_BS)))
    measured = compare(expected, llama_cpp_logits(small_f16.path / FILE, tokens_BS), tokens_BS)
    assert measured["max_abs_logit_difference"] < 2e-3 * abs(expected).max()  # F16 has 11 bits
    assert measured["kl_divergence"] < 1e-4
    assert measured["top1_agreement"] > 0.99  # random weights come close to ties more often than trained ones


def test_a_context_stretched_by_yarn_is_the_same_one_in_llama_cpp(
    small_tokenizer: Artifact, small_tokens: Artifact, tmp_path: Path
) -> None:
    from small_llama import SMALL, random_model

    original = SMALL.seq_length
    model = random_model(tmp_path / "hf", small_tokenizer, SMALL.stretched(4 * original))
    written = export_gguf(GgufConfig("f16"), model, tmp_path / "gguf")
    tokens_BS = heldout_sequences(small_tokens.path, "uint16", 2, 4 * original)
    expected = numpy.stack(list(hugging_face_logits(model.path, tokens_BS)))
    found = numpy.stack(list(llama_cpp_logits(written.path / FILE, tokens_BS)))
    for part in (slice(None, original), slice(original, None)):  # within the original context, and beyond
        measured = compare(expected[:, part], iter(found[:, part]), tokens_BS[:, part])
        assert measured["max_abs_logit_difference"] < 2e-3 * abs(expected).max()
        assert measured["kl_divergence"] < 1e-4
    stated = json.loads((model.path / "config.json").read_text())
    assert stated["rope_scaling"]["factor"] == stated["rope_parameters"]["factor"] == 4.0
    assert stated["rope_theta"] == stated["rope_parameters"]["rope_theta"]
    assert "attention_factor" not in stated["rope_scaling"] | stated["rope_parameters"]


def test_f16_writes_the_same_greedy_continuation_as_hugging_face(small_model: Artifact, small_f16: Artifact) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model.path)
    network = AutoModelForCausalLM.from_pretrained(small_model.path)
    prompt = tokenizer("def parse(text):").input_ids
    expected = network.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=40, eos_token_id=None)[0]
    with opened(small_f16.path / FILE, 128) as model:
        stream = model.generate(prompt, temp=0.0, repeat_penalty=1.0)
        found = [token for _, token in zip(range(40), stream, strict=False)]
    assert found == expected[len(prompt) :].tolist()


def test_q4_k_m_is_made_of_k_quants_and_close_to_the_model(
    small_model: Artifact, small_q4_k_m: Artifact, tokens_BS: numpy.ndarray
) -> None:
    assert {"Q4_K", "Q6_K", "F32"} == set(small_q4_k_m.metrics["tensors"])
    assert 4 < small_q4_k_m.metrics["bits_per_weight"] < 7
    expected = hugging_face_logits(small_model.path, tokens_BS)
    found = llama_cpp_logits(small_q4_k_m.path / FILE, tokens_BS)
    # Random weights lose more than trained ones. An export with swapped rows agrees on a thousandth of the tokens.
    assert compare(expected, found, tokens_BS)["top1_agreement"] > 0.5


def test_the_file_says_how_it_is_to_be_used(small_f16: Artifact, small_tokenizer: Artifact) -> None:
    ids = small_tokenizer.metrics["special"]
    with opened(small_f16.path / FILE, 128) as model:
        said = model.metadata
        assert said["tokenizer.chat_template"] == special.CHAT_TEMPLATE
        assert said["tokenizer.ggml.add_bos_token"] == said["tokenizer.ggml.add_space_prefix"] == "false"
        assert model.token_eos() == ids[special.END_OF_TEXT]
        assert model.tokenize(special.TURN_END.encode(), add_bos=False, special=True) == [ids[special.TURN_END]]
    assert quantization_of(small_f16.path / FILE) == "f16"


def test_equal_models_give_equal_files(small_model: Artifact, small_q4_k_m: Artifact, tmp_path: Path) -> None:
    again = export_gguf(GgufConfig("q4_k_m"), small_model, tmp_path / "again")
    assert again.sha256 == small_q4_k_m.sha256
    assert not [name for name in os.listdir(again.path) if "partial" in name]


def test_an_unknown_quantization_is_refused(small_model: Artifact, tmp_path: Path) -> None:
    with pytest.raises(
        GlideError, match=r"unknown quantization 'q5_0': choose one of f32, f16, bf16, q8_0, q5_k_m, q4_k_m"
    ):
        export_gguf(GgufConfig("q5_0"), small_model, tmp_path / "out")


def changed(model: Artifact, out: Path, **keys: object) -> Artifact:
    """A copy of a model with other values in config.json."""
    with create(out, "model", {"copy": True}) as draft:
        for entry in model.record["files"]:
            shutil.copyfile(model.path / entry["path"], out / entry["path"])
        stated = json.loads((out / "config.json").read_text()) | keys
        (out / "config.json").write_text(json.dumps(stated))
        draft.metrics = model.metrics
    return load(out)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "cannot write rope_scaling="),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.0}}, "cannot write rope_scaling="),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_theta and rope_parameters .* disagree"),
        ({"attention_bias": True}, "cannot write attention_bias=True"),
        ({"rope_theta": 1.0}, "rope_theta and rope_parameters .* disagree"),
    ],
)
def test_a_config_that_cannot_be_said_in_gguf_is_refused(
    small_model: Artifact, tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    with pytest.raises(GlideError, match=message):
        export_gguf(GgufConfig(), changed(small_model, tmp_path / "model", **keys), tmp_path / "out")


def test_damaged_weights_are_named(small_model: Artifact, tmp_path: Path) -> None:
    model = changed(small_model, tmp_path / "model")
    os.truncate(model.path / "model.safetensors", 1_000)
    with pytest.raises(GlideError, match=r"cannot read .*model\.safetensors"):
        export_gguf(GgufConfig(), model, tmp_path / "out")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"no")
    with pytest.raises(GlideError, match="cannot read"):
        quantization_of(tmp_path / "model.gguf")
    with pytest.raises(GlideError, match=r"llama.cpp cannot load"), opened(tmp_path / "model.gguf", 8):
        pass
