"""Bad input to an export: one line that names it, and nothing half-written under a final name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from glide_nemo import artifact
from glide_nemo.artifact import Artifact, load
from glide_nemo.cli import main
from glide_nemo.errors import GlideError
from glide_nemo.export import intact
from glide_nemo.export.gguf import GgufConfig, export_gguf
from glide_nemo.export.gguf_file import write_gguf
from glide_nemo.export.hf import HfConfig, export_hf
from glide_nemo.export.intact import require_space
from glide_nemo.export.targets import export
from glide_nemo.export.weights import HuggingFaceWeights


def one_line(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 2
    said = capsys.readouterr().err
    (error,) = [line for line in said.splitlines() if not line.startswith(("hf", "  "))]  # what was under way
    assert error.startswith("error: "), said
    return error


def test_a_directory_that_is_no_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    assert "no finished checkpoint" in one_line(capsys, "export", str(tmp_path))
    with pytest.raises(GlideError, match=r"no readable config\.json"):
        write_gguf(tmp_path, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


@pytest.fixture
def copied(small_run: Path, tmp_path: Path) -> Path:
    """A run of one's own to damage; what it was made from lies where it lay."""
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    for record in run.glob("*/artifact.json"):
        stated = json.loads(record.read_text())
        for entry in stated["inputs"].values():
            lies = small_run / record.parent.name / entry["path"]
            if not lies.resolve().is_relative_to(small_run.resolve()):
                entry["path"] = os.path.relpath(lies.resolve(), record.parent)
        record.write_text(json.dumps(stated))
    return run


def test_a_checkpoint_that_is_not_as_it_was_written_is_not_exported(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file, *_) = sorted((copied / "phase_a" / "checkpoints").rglob("*.distcp"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-8] + b"\0\0\0\0\0\0\0\1")
    said = one_line(capsys, "export", str(copied), "--to", "hf", "--out", str(copied / "new"))
    assert f"{file.name} is not as " in said and "artifact.json lists it" in said
    assert not list((copied / "new").rglob("*.safetensors"))
    file.unlink()
    assert f"{file.name} is missing" in one_line(
        capsys, "export", str(copied), "--to", "hf", "--out", str(copied / "new")
    )


def test_weights_that_are_not_as_they_were_written_become_no_gguf(copied: Path) -> None:
    weights = copied / "hf" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # a valid file of another model
    weights.write_bytes(content)
    with pytest.raises(GlideError, match=r"model\.safetensors is not as .*artifact\.json lists it"):
        export_gguf(GgufConfig("bf16"), load(copied / "hf"), copied / "out")
    assert not (copied / "out" / "model.gguf").exists()


def test_the_disk_is_asked_before_anything_is_written(
    small_run: Path, small_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_space(tmp_path, 1_000)
    with pytest.raises(GlideError, match=r"no space for 1,000,000,000\.0 GB, the disk of .* has .* GB free"):
        require_space(tmp_path, 10**18)
    monkeypatch.setattr(intact, "SPARE", 1e12)  # as if this disk were that much smaller
    with pytest.raises(GlideError, match="no space for"):
        export_hf(HfConfig(), artifact.last(small_run, "checkpoint"), tmp_path / "hf")
    with pytest.raises(GlideError, match="no space for"):
        export_gguf(GgufConfig("q8_0"), small_model, tmp_path / "gguf")
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.gguf*"))


def test_an_export_that_is_there_is_only_replaced_with_force(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = export(small_run, "hf:float16", out=tmp_path)
    said = one_line(
        capsys, "export", str(small_run), "--to", "hf:float16", "max_shard_bytes=1000", "--out", str(tmp_path)
    )
    assert "already holds a finished model" in said
    assert load(first.path).sha256 == first.sha256
    (again,) = export(small_run, "hf:float16", ["max_shard_bytes=1000000"], tmp_path, force=True)
    assert len(list(again.path.glob("model-0*.safetensors"))) > 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "hf").write_text("mine")
    assert "is a file" in one_line(capsys, "export", str(small_run), "--to", "hf", "--out", str(tmp_path / "other"))


def normaliser(model: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString((model / "tokenizer.model").read_bytes())
    proto.normalizer_spec.name, proto.normalizer_spec.precompiled_charsmap = "nmt_nfkc", b"rules"
    (model / "tokenizer.model").write_bytes(proto.SerializeToString())


def dummy_prefix(model: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString((model / "tokenizer.model").read_bytes())
    proto.normalizer_spec.add_dummy_prefix = True
    (model / "tokenizer.model").write_bytes(proto.SerializeToString())


def lower_case(model: Path) -> None:
    stated = json.loads((model / "tokenizer.json").read_text())
    stated["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, stated["normalizer"]]}
    (model / "tokenizer.json").write_text(json.dumps(stated))


def mistaken_vocabulary(model: Path) -> None:
    stated = json.loads((model / "config.json").read_text()) | {"vocab_size": 32_016}
    (model / "config.json").write_text(json.dumps(stated))


def pickled(model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"anything")


def no_tokenizer(model: Path) -> None:
    (model / "tokenizer.model").unlink()


SAID = {
    normaliser: "has normalization nmt_nfkc, which GGUF cannot say",
    dummy_prefix: "has a dummy prefix",
    lower_case: r"has the normalizer .*Lowercase.* in tokenizer\.json",
    mistaken_vocabulary: "a vocabulary of 32016, .*makes llama.cpp take the model for another",
    pickled: r"pickled weights, .*pytorch_model\.bin, run code",
    no_tokenizer: r"no tokenizer\.model in",
}


@pytest.mark.parametrize("change", SAID, ids=lambda change: change.__name__)
def test_what_gguf_cannot_say_is_refused(small_model: Artifact, tmp_path: Path, change: Callable[[Path], None]) -> None:
    model = tmp_path / "hf"
    shutil.copytree(small_model.path, model)
    change(model)
    with pytest.raises(GlideError, match=SAID[change]):
        write_gguf(model, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


def test_half_written_shards_are_named(small_model: Artifact, tmp_path: Path) -> None:
    from glide_nemo.export.weights import write_weights

    whole = HuggingFaceWeights(small_model.path)
    write_weights(tmp_path, ((name, whole.tensor(name)) for name in whole.shapes), 1_000_000)
    last = sorted(tmp_path.glob("model-0*.safetensors"))[-1]
    os.truncate(last, last.stat().st_size // 2)
    with pytest.raises(GlideError, match=f"cannot read .*{last.name}"):
        HuggingFaceWeights(tmp_path)
    last.unlink()
    with pytest.raises(GlideError, match=f"lacks {last.name}, which holds"):
        HuggingFaceWeights(tmp_path)
