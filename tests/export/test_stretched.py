"""A model stretched by YaRN is the same one in every runtime, beyond the context that it was first trained at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from glide_nemo import artifact
from glide_nemo.artifact import Artifact
from glide_nemo.export.certificate import CertificateConfig, certify, parse_against
from glide_nemo.export.gguf_file import write_gguf
from glide_nemo.export.targets import export
from glide_nemo.training.pretrain import plan_training, pretrain

ALL = "hf,gguf:f16,gguf:q4_k_m"
OVERRIDES = (
    "model.num_layers=2", "model.vocab_size=1000", "model.ffn_hidden_size=256", "model.init_method_std=0.06",
    "curriculum.stages=[[512,1],[1024,1]]", "train.global_batch_size=2", "train.micro_batch_size=2",
    "validation.eval_iters=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def stretched_run(small_run: Path, small_tokens: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("stretched")
    start = artifact.last(small_run, "checkpoint")
    pretrain(plan_training("glide_nano_phaseC", OVERRIDES), small_tokens, run / "phase_c", init_from=start)
    export(run, ALL)
    return run


def test_every_export_agrees_over_four_times_the_original_context(stretched_run: Path, tmp_path: Path) -> None:
    checkpoint = artifact.last(stretched_run, "checkpoint")
    config = CertificateConfig(tokens=2_048, text_bytes=2_000)
    certificate = certify(config, checkpoint, parse_against(stretched_run, ALL), tmp_path / "certificate")
    assert certificate.metrics["seq_length"] == 4 * checkpoint.metrics["architecture"]["rope_original_context"] == 1_024
    assert certificate.metrics["passed"], certificate.summary


def test_without_the_scaling_the_certificate_fails(stretched_run: Path, tmp_path: Path) -> None:

    model = tmp_path / "hf"
    shutil.copytree(stretched_run / "hf", model)
    stated = json.loads((model / "config.json").read_text())
    stated |= {"rope_scaling": None, "rope_parameters": {"rope_type": "default", "rope_theta": stated["rope_theta"]}}
    (model / "config.json").write_text(json.dumps(stated))
    write_gguf(model, tmp_path / "model.gguf")
    checkpoint = artifact.last(stretched_run, "checkpoint")
    config = CertificateConfig(tokens=1_024, text_bytes=0)
    exports = parse_against(stretched_run, f"hf={model},gguf={tmp_path}/model.gguf")
    certificate = certify(config, checkpoint, exports, tmp_path / "certificate")
    broken = {c["runtime"] for c in certificate.metrics["checks"] if not c["passed"]}
    assert broken == set(exports)
    (check,) = [
        c for c in certificate.metrics["checks"] if c["measure"] == "max_abs_logit_difference" and "hf" in c["runtime"]
    ]
    assert check["value"] > 1e-2 and not check["passed"]


def test_both_forms_of_the_scaling_are_in_config_json(stretched_run: Path) -> None:
    stated = json.loads((stretched_run / "hf" / "config.json").read_text())
    yarn = {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256, "beta_fast": 32.0, "beta_slow": 1.0
    }  # fmt: skip
    assert stated["rope_scaling"] == yarn
    assert stated["rope_parameters"] == yarn | {"rope_theta": stated["rope_theta"]}
    assert stated["max_position_embeddings"] == 1_024
