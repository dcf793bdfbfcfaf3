"""Which file of a run, model directory or .gguf to talk to, in which runtime, and whether it was trained to chat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glide_nemo import artifact
from glide_nemo.artifact import RECORD, Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export.gguf import FILE
from glide_nemo.tokenizer.chat import ON_TURNS

PREFERRED = ("q4_k_m", "f16")


@dataclass(frozen=True)
class Found:
    """`path` is a .gguf file for the runtime llama_cpp, a Hugging Face directory for transformers."""

    path: Path
    runtime: str
    chat: bool  # trained on turns; otherwise it continues text


def find(model: Path, runtime: str = "auto") -> Found:
    """What to load for `glide chat MODEL`: a run, an artifact in one, a Hugging Face directory or a .gguf file.

    Of a run, llama.cpp's Q4_K_M, else F16, else the Hugging Face directory in transformers, unless `runtime` says.
    Raises GlideError where there is none.
    """
    if model.is_file() and model.suffix == ".gguf":
        return _fitting(Found(model, "llama_cpp", chat=False), runtime)
    if not model.is_dir():
        raise GlideError(f"no such model, {model}: pass a run, a model directory or a .gguf file")
    if (model / RECORD).exists():
        return _fitting(_of_artifact(artifact.load(model)), runtime)
    if (model / "config.json").exists():
        return _fitting(Found(model, "transformers", chat=False), runtime)
    made = [found for found in artifact.in_run(model) if found.kind == "model" or _is_gguf(found)]
    for found in sorted(made, key=_preference):
        if runtime in ("auto", _of_artifact(found).runtime):
            return _of_artifact(found)
    wanted = "" if runtime == "auto" else f" for {runtime}"
    raise GlideError(f"no exported model{wanted} in {model}: make one with `glide export {model}`")


def find_packed(model: Path, runtime: str) -> Found | None:
    """A directory that an exporter packed for one server, where that is the runtime: only it can load the weights."""
    if not (model / RECORD).exists():
        return None
    made = artifact.load(model)
    return Found(made.path, runtime, _is_chat(made)) if made.metrics.get("exporter") == runtime else None


def _of_artifact(found: Artifact) -> Found:
    if _is_gguf(found):
        return Found(found.path / FILE, "llama_cpp", _is_chat(found))
    if found.kind == "model":
        return Found(found.path, "transformers", _is_chat(found))
    said = f"an export for {found.metrics['exporter']}" if found.kind == "export" else f"a {found.kind}"
    raise GlideError(f"{found.path} is {said}, no model to talk to: pass the run it is in")


def _is_gguf(found: Artifact) -> bool:
    return found.kind == "export" and (found.path / FILE).exists()  # others are for servers


def _is_chat(found: Artifact) -> bool:
    return found.metrics["objective"] in ON_TURNS


def _preference(found: Artifact) -> int:
    quantization = found.metrics.get("quantization")
    return PREFERRED.index(quantization) if quantization in PREFERRED else len(PREFERRED)


def _fitting(found: Found, runtime: str) -> Found:
    if runtime in ("auto", found.runtime):
        return found
    raise GlideError(f"{found.path} is for {found.runtime}, not for {runtime}: leave --runtime out, or pass a run")
