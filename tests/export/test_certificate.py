"""The certificate passes for exports of the trained model, and fails for every way of breaking one that we know of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from glide_nemo import artifact
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export.certificate import CertificateConfig, certify, parse_against, show
from glide_nemo.export.gguf_file import write_gguf
from glide_nemo.export.targets import export
from glide_nemo.export.weights import HuggingFaceWeights

ALL = "hf,gguf:f16,gguf:q4_k_m"
SMALL = CertificateConfig(tokens=1_024, text_bytes=20_000)


@pytest.fixture(scope="module")
def certificate(small_run: Path) -> Artifact:
    checkpoint = artifact.last(small_run, "checkpoint")
    return certify(SMALL, checkpoint, parse_against(small_run, ALL), small_run / "certificate")


def measures(certificate: Artifact, runtime: str) -> dict[str, dict[str, Any]]:
    return {check["measure"]: check for check in certificate.metrics["checks"] if check["runtime"] == runtime}


def test_exports_of_the_trained_model_pass(certificate: Artifact) -> None:
    assert certificate.metrics["passed"], certificate.summary
    assert certificate.metrics["tokens_compared"] == 1_024
    assert {check["runtime"] for check in certificate.metrics["checks"]} == set(ALL.split(","))


def test_hugging_face_agrees_with_megatron_in_float32(certificate: Artifact) -> None:
    check = measures(certificate, "hf")["max_abs_logit_difference"]
    assert check["against"] == "megatron" and check["bound"] == 1e-4
    assert check["value"] < 1e-4


def test_measures_get_worse_with_the_bits(certificate: Artifact) -> None:
    divergences = [measures(certificate, name)["kl_divergence"]["value"] for name in ALL.split(",")]
    assert divergences == sorted(divergences) and divergences[0] < divergences[2]


def test_every_tokenizer_was_compared_on_text(certificate: Artifact) -> None:
    for name in ALL.split(","):
        check = measures(certificate, name)["tokenizer_mismatches"]
        assert check["value"] == 0 and check["passed"]
    assert certificate.metrics["strings_compared"] > 50


def test_the_divergence_of_a_quantized_file_is_stated_against_the_f16_one_too(certificate: Artifact) -> None:
    stated = {
        check["against"]: check
        for check in certificate.metrics["checks"]
        if (check["runtime"], check["measure"]) == ("gguf:q4_k_m", "kl_divergence")
    }
    assert set(stated) == {"megatron", "gguf:f16"}
    assert stated["gguf:f16"]["value"] == pytest.approx(stated["megatron"]["value"], rel=0.1)
    assert stated["gguf:f16"]["bound"] == 0.032


def test_what_each_runtime_writes_is_compared_and_shown(
    certificate: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(certificate.metrics["continuations"]) == 3
    for row in certificate.metrics["continuations"]:
        assert set(row) == {"prompt", "megatron", *ALL.split(",")}
        assert row["hf"] == row["megatron"] and row["prompt"] and row["megatron"]
    assert measures(certificate, "hf")["greedy_agreement"]["value"] == 1
    assert measures(certificate, "gguf:f16")["greedy_agreement"]["value"] > 0.5
    show(certificate)
    assert "the likeliest token each time" in capsys.readouterr().out


def edit_config(model: Path, **keys: object) -> None:
    stated = json.loads((model / "config.json").read_text()) | keys
    (model / "config.json").write_text(json.dumps(stated))


def edit_weights(model: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(model / "model.safetensors")
    edit(weights)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def other_rope_base(model: Path) -> None:
    edit_config(model, rope_theta=20_000.0, rope_parameters={"rope_type": "default", "rope_theta": 20_000.0})


def other_norm_epsilon(model: Path) -> None:
    edit_config(model, rms_norm_eps=1e-2)


def swapped_heads(model: Path) -> None:
    def swap(weights: dict[str, torch.Tensor]) -> None:
        name = "model.layers.0.self_attn.q_proj.weight"
        weights[name] = torch.cat([weights[name][64:128], weights[name][:64], weights[name][128:]])

    edit_weights(model, swap)


def one_weight_in_a_thousand_zeroed(model: Path) -> None:
    def zero(weights: dict[str, torch.Tensor]) -> None:
        weights["model.layers.1.mlp.down_proj.weight"].view(-1)[::1000] = 0

    edit_weights(model, zero)


def untied_head(model: Path) -> None:
    """As where an output layer that is only a copy at first is trained on, or is left at its random values."""
    edit_config(model, tie_word_embeddings=False)

    def untie(weights: dict[str, torch.Tensor]) -> None:
        embedding = weights["model.embed_tokens.weight"]
        weights["lm_head.weight"] = embedding + 0.01 * torch.randn(embedding.shape)

    edit_weights(model, untie)


def no_number(model: Path) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["model.norm.weight"][0] = torch.nan

    edit_weights(model, spoil)


def tokenizer_off_by_one(model: Path) -> None:
    stored = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    last = max(stored["model"]["vocab"].values())
    normal = [piece for piece, i in stored["model"]["vocab"].items() if i > 300]
    for piece in normal:
        stored["model"]["vocab"][piece] = 301 + (stored["model"]["vocab"][piece] - 300) % (last - 300)
    (model / "tokenizer.json").write_text(json.dumps(stored), encoding="utf-8")


def padded_vocabulary(model: Path) -> None:
    edit_config(model, vocab_size=1_024)

    def pad(weights: dict[str, torch.Tensor]) -> None:
        rows = weights["model.embed_tokens.weight"]
        weights["model.embed_tokens.weight"] = torch.cat([rows, torch.zeros(24, rows.size(1))])

    edit_weights(model, pad)


BROKEN = {
    other_rope_base: "max_abs_logit_difference",
    other_norm_epsilon: "max_abs_logit_difference",
    swapped_heads: "max_abs_logit_difference",
    one_weight_in_a_thousand_zeroed: "max_abs_logit_difference",
    untied_head: "max_abs_logit_difference",
    no_number: "finite_logits",
    tokenizer_off_by_one: "tokenizer_mismatches",
    padded_vocabulary: "vocabulary_difference",
}
BROKEN_GGUF = (other_rope_base, swapped_heads)


@pytest.fixture(scope="module")
def certificate_of_broken_ones(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """All broken exports in one certificate: Megatron's logits are the same for all."""
    folder = tmp_path_factory.mktemp("broken")
    targets = []
    for damage in BROKEN:
        model = folder / damage.__name__
        shutil.copytree(small_run / "hf", model)
        damage(model)
        targets.append(f"hf={model}")
        if damage in BROKEN_GGUF:
            write_gguf(model, folder / f"{damage.__name__}.gguf")
            targets.append(f"gguf={folder / damage.__name__}.gguf")
    exports = parse_against(small_run, ",".join(targets))
    checkpoint = artifact.last(small_run, "checkpoint")
    return certify(SMALL, checkpoint, exports, folder / "certificate")


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_a_broken_hugging_face_export_fails(certificate_of_broken_ones: Artifact, damage: Callable) -> None:
    certificate = certificate_of_broken_ones
    assert not certificate.metrics["passed"] and certificate.summary.startswith("FAILED")
    (name,) = {c["runtime"] for c in certificate.metrics["checks"] if c["runtime"].endswith(f"/{damage.__name__}")}
    assert not measures(certificate, name)[BROKEN[damage]]["passed"]


@pytest.mark.parametrize("damage", BROKEN_GGUF, ids=lambda damage: damage.__name__)
def test_a_broken_gguf_fails(certificate_of_broken_ones: Artifact, damage: Callable) -> None:
    checks = certificate_of_broken_ones.metrics["checks"]
    (name,) = {check["runtime"] for check in checks if check["runtime"].endswith(f"/{damage.__name__}.gguf")}
    assert not measures(certificate_of_broken_ones, name)["max_abs_logit_difference"]["passed"]


def test_an_export_of_another_checkpoint_is_refused(small_run: Path, small_model: Artifact, tmp_path: Path) -> None:
    checkpoint = artifact.last(small_run, "checkpoint")
    model = artifact.load(small_run / "hf")
    model.record["inputs"]["checkpoint"]["sha256"] = "0" * 64
    with pytest.raises(GlideError, match="was made from another checkpoint"):
        certify(SMALL, checkpoint, {"hf": model}, tmp_path / "out")


def test_held_out_text_shorter_than_a_sequence_is_said(small_run: Path, tmp_path: Path) -> None:
    config = CertificateConfig(seq_length=10_000_000)
    with pytest.raises(GlideError, match="held-out tokens, 10000000 are needed"):
        certify(
            config, artifact.last(small_run, "checkpoint"), {"hf": artifact.load(small_run / "hf")}, tmp_path / "out"
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing to compare with"),
        ("onnx", "unknown target 'onnx'"),
        ("gguf:q8_0", r"no finished gguf:q8_0 in .*: make it with"),
        ("vllm=somewhere", "unknown runtime 'vllm'"),
        ("hf=nowhere", "no such hf export, nowhere"),
        ("gguf=nowhere.gguf", r"no such gguf export, nowhere\.gguf"),
    ],
)
def test_what_is_not_there_to_compare_is_named(small_run: Path, text: str, message: str) -> None:
    with pytest.raises(GlideError, match=message):
        parse_against(small_run, text)


def test_exports_are_found_from_the_checkpoint_too(small_run: Path) -> None:
    exports = parse_against(small_run / "phase_a", ALL)
    assert [found.path.name for found in exports.values()] == ["hf", "gguf_f16", "gguf_q4_k_m"]


def test_the_exported_model_is_the_checkpoint_without_the_padding(small_run: Path) -> None:
    model = artifact.load(small_run / "hf")
    weights = HuggingFaceWeights(model.path)
    assert weights.shapes["model.embed_tokens.weight"][0] == model.metrics["vocab_size"] == 1_000
    assert "lm_head.weight" not in weights.shapes
    count = sum(weights.read(name).size for name in weights.shapes)
    padding = 24 * model.metrics["architecture"]["hidden_size"]
    assert count == model.metrics["parameters"]
    assert count + padding == artifact.last(small_run, "checkpoint").metrics["parameters"]


def test_transformers_4_form_and_5_form_are_both_in_config_json(small_run: Path) -> None:
    stated = json.loads((small_run / "hf" / "config.json").read_text())
    assert stated["rope_theta"] == stated["rope_parameters"]["rope_theta"] == 10_000.0
    assert stated["dtype"] == stated["torch_dtype"] == "float32"


def test_a_lower_precision_is_certified_by_its_own_bounds(small_run: Path, tmp_path: Path) -> None:
    (model,) = export(small_run, "hf:bfloat16", out=tmp_path)
    certificate = certify(SMALL, artifact.last(small_run, "checkpoint"), {"hf": model}, tmp_path / "certificate")
    check = measures(certificate, "hf")["max_abs_logit_difference"]
    assert 1e-4 < check["value"] < check["bound"]
    assert model.metrics["dtype"] == "bfloat16" and model.path.name == "hf_bfloat16"
    assert certificate.metrics["passed"]


@pytest.mark.parametrize(
    ("targets", "overrides", "message"),
    [
        ("hf:int3", [], "unknown dtype 'int3'"),
        ("gguf:q9", [], "unknown quantization 'q9'"),
        ("hf", ["dtyp=float16"], "unknown key 'dtyp': did you mean 'dtype'"),
    ],
)
def test_an_unknown_variant_or_setting_is_refused(
    small_run: Path, tmp_path: Path, targets: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(GlideError, match=message):
        export(small_run, targets, overrides, tmp_path)
