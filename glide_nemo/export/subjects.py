"""What a certificate is about: each export by name, how to run it, and the bounds that it must meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glide_nemo import artifact
from glide_nemo.artifact import Artifact, file_sha256
from glide_nemo.errors import GlideError
from glide_nemo.export import bounds
from glide_nemo.export.gguf import FILE, quantization_of
from glide_nemo.export.targets import Target, parse_targets


@dataclass(frozen=True)
class Subject:
    """An export under test. `artifact` is None for a directory or file that the user named."""

    name: str
    runtime: str  # hf or gguf
    path: Path  # Hugging Face directory or .gguf file
    limits: Mapping[str, bounds.Bound]
    artifact: Artifact | None
    quantization: str | None = None  # of a GGUF file
    weights: str = "trained"  # of the checkpoint that it was made from, or their average: ema

    @property
    def digest(self) -> str:
        """sha256 of the files that are tested."""
        if self.path.is_file():
            return file_sha256(self.path)
        files = sorted(path for path in self.path.iterdir() if path.suffix in (".json", ".safetensors"))
        listed = "".join(f"{path.name} {file_sha256(path)}\n" for path in files)
        return hashlib.sha256(listed.encode()).hexdigest()


def parse_against(run: str | Path, text: str) -> dict[str, Path | Artifact]:
    """`hf,gguf:f16` as the exports of a run by that name; `hf=DIR` and `gguf=FILE` as the paths they give.

    `run` is a run directory, or that of a checkpoint in one. Raises GlideError for an export that is not there.
    """
    run = Path(run)
    if (run / artifact.RECORD).exists():
        run = run.parent
    exports: dict[str, Path | Artifact] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, named, path = item.partition("=")
        exports[item] = _named(name, Path(path)) if named else _of_run(run, parse_targets(item)[0])
    if not exports:
        raise GlideError("nothing to compare with: pass --against hf,gguf:f16")
    return exports


def subject(name: str, export: Path | Artifact, checkpoint: Artifact) -> Subject:
    """An export by its name in the certificate. GlideError where it was made from another checkpoint."""
    if isinstance(export, Artifact):
        model = export if export.kind == "model" else export.input("model")
        if model.record["inputs"]["checkpoint"]["sha256"] != checkpoint.sha256:
            raise GlideError(f"{export.path} was made from another checkpoint than {checkpoint.path}: export it again")
    weights = model.config.get("weights", "trained") if isinstance(export, Artifact) else "trained"
    known = export if isinstance(export, Artifact) else None
    path = export.path if isinstance(export, Artifact) else export
    if path.is_dir() and (path / "config.json").exists():
        return Subject(name, "hf", path, _hugging_face_limits(path, checkpoint), known, weights=weights)
    file = path / FILE if path.is_dir() else path
    kind = quantization_of(file)
    return Subject(name, "gguf", file, bounds.GGUF[kind], known, kind, weights)


def _hugging_face_limits(path: Path, checkpoint: Artifact) -> Mapping[str, bounds.Bound]:
    """Exact where the weights have the type they were trained in, else what rounding to theirs allows."""
    trained = "bfloat16" if checkpoint.config.get("mixed_precision") else "float32"
    stated = json.loads((path / "config.json").read_text(encoding="utf-8"))
    if packed := stated.get("quantization_config"):
        # compressed-tensors names no algorithm: of ours there is one
        return bounds.PACKED[packed.get("quant_algo", "W4A16_AWQ")]
    dtype = stated.get("dtype") or stated.get("torch_dtype") or "float32"
    if dtype not in bounds.HUGGING_FACE:
        raise GlideError(f"no bounds for weights in {dtype}, {path}: export them in {', '.join(bounds.HUGGING_FACE)}")
    return bounds.FLOAT32 if dtype == trained else bounds.HUGGING_FACE[dtype]


def _named(name: str, path: Path) -> Path:
    needed = {"hf": path / "config.json", "gguf": path}.get(name)
    if needed is None:
        raise GlideError(f"unknown runtime '{name}': write hf=DIR or gguf=FILE")
    if not needed.is_file():
        raise GlideError(f"no such {name} export, {path}: hf takes a directory with config.json, gguf a .gguf file")
    return path


def _of_run(run: Path, target: Target) -> Artifact:
    """The newest finished export of a run that is what a target says."""
    for found in reversed(artifact.in_run(run)):
        variant = next(iter(found.config.values()), None)  # an exporter's first setting
        exporter = "hf" if found.kind == "model" else found.metrics.get("exporter", "gguf")
        if found.kind in ("model", "export") and exporter == target.exporter and target.variant in (None, variant):
            return found
    name = target.directory.replace("_", ":", 1)
    raise GlideError(f"no finished {name} in {run}: make it with `glide export {run} --to {name}`")
