"""`glide doctor`: what this machine has, what each missing piece falls back to, and which recipes run here.

Nothing heavy is imported: versions come from package metadata, GPUs from NVML, so that the answer is there at once. A
probe that fails says so in its row; the others go on.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glide_nemo import plugins
from glide_nemo.errors import GlideError
from glide_nemo.model.architecture import architecture
from glide_nemo.planning.fit import check_fit
from glide_nemo.planning.machine import Machine, this_machine
from glide_nemo.planning.memory import GB, Layout
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.recipes.pretraining import Run
from glide_nemo.recipes.recipe import recipe_names
from glide_nemo.serving.runtimes import llama_server, vllm_python

PROBE_SECONDS = 1.0  # that a compiler may take to say its version


@dataclass(frozen=True)
class Piece:
    """Something a machine may have: how to look for it, and what happens without it."""

    name: str
    look: Callable[[], str | None]  # its version or size, None where it is not here
    without: str


@dataclass(frozen=True)
class Finding:
    name: str
    found: str | None
    note: str  # what it falls back to where it was not found


def doctor(console: Console | None = None) -> None:
    """Prints two tables: the pieces, and the recipes."""
    console = console or Console(highlight=False)
    machine = this_machine()
    console.print(pieces_table([find(piece) for piece in pieces(machine)]))
    console.print()
    console.print(recipes_table(machine))


def pieces(machine: Machine) -> list[Piece]:
    """Everything that is looked for, in the order shown."""
    return [
        Piece("Python", _python, "GLiDE needs Python 3.12: `make setup` finds one or says where to get it"),
        Piece("CPU", lambda: f"{machine.cores} cores, {platform.machine()}", ""),
        Piece("memory", lambda: f"{machine.memory_gb:.0f} GB", ""),
        Piece("disk free here", _disk, "free some: an environment takes 7 GB, a run below 1 GB"),
        Piece("GPU", lambda: _gpus(machine), "training runs on the CPU in fp32 over gloo, at nano size"),
        Piece("PyTorch", _torch, "nothing trains: `make setup` installs it"),
        Piece("Megatron-Core", lambda: _package("megatron-core"), "nothing trains: `make setup` installs it"),
        Piece("Megatron-Bridge", lambda: _package("megatron-bridge"), "nothing trains: `make setup` installs it"),
        Piece(
            "Transformer Engine",
            lambda: _package("transformer-engine", "transformer-engine-torch"),
            "Megatron-Core's own layers with PyTorch's attention; no FP8",
        ),
        Piece("Apex", lambda: _package("apex"), "PyTorch's own norms and Adam"),
        Piece(
            "FlashAttention",
            lambda: _package("flash-attn", "flash-attn-3"),
            "PyTorch's scaled_dot_product_attention",
        ),
        Piece("NCCL", lambda: _package("nvidia-nccl-cu13", "nvidia-nccl-cu12"), "gloo, on the CPU"),
        Piece("NeMo-Curator", lambda: _package("nemo-curator"), "nothing is curated: `make setup` installs it"),
        Piece("Ray", lambda: _package("ray"), "curation runs in local processes (executor=local, the default)"),
        Piece("C++ compiler", lambda: _program("g++", "c++", "clang++"), "llama.cpp cannot be built: no GGUF checks"),
        Piece("compiled kernels", _kernels, "training on the CPU composes them of torch's operations: 10 % slower"),
        Piece("CMake", lambda: _program("cmake"), "the build of llama.cpp brings its own"),
        Piece(
            "llama.cpp",
            lambda: _package("llama-cpp-python"),
            "no Q4_K_M and no GGUF certificate; chat and evaluation use transformers",
        ),
        Piece("llama-server", lambda: "yes" if llama_server() else None, "no `glide serve` of GGUF: `make serve-env`"),
        Piece("vLLM", lambda: "yes" if vllm_python() else None, "llama.cpp serves; for CPUs: `make serve-env`"),
        Piece("SLURM", lambda: _program("sbatch"), "recipes run on this machine alone"),
    ]


def find(piece: Piece) -> Finding:
    """Looks for a piece. A probe that fails on an odd machine is a finding too."""
    try:
        found = piece.look()
    except Exception as error:
        return Finding(piece.name, None, f"cannot tell: {str(error) or type(error).__name__}".splitlines()[0])
    return Finding(piece.name, found, "" if found else piece.without)


def pieces_table(findings: list[Finding]) -> Table:
    table = _table("This machine", "piece", "found", "without it")
    for finding in findings:
        found = Text(finding.found, "green") if finding.found else Text("–", "dim")
        table.add_row(finding.name, found, Text(finding.note, "dim" if finding.note else ""))
    return table


def recipes_table(machine: Machine) -> Table:
    """Every recipe, the memory it needs on each device, and whether that is here."""
    table = _table("Recipes", "recipe", "needs", "runs here")
    for name, (phase, size) in recipe_names().items():
        try:
            needs, reason = recipe_fit(name, phase, size, machine)
            verdict = Text("no", "yellow") if reason else Text("yes", "green")
        except Exception as error:
            needs, verdict = "", Text(f"cannot tell: {error}", "dim")
        table.add_row(name, needs, verdict)
    return table


def recipe_fit(name: str, phase: str, size: str, machine: Machine) -> tuple[str, str | None]:
    """What a recipe needs in words, and why it does not run here, None where it does.

    Raises GlideError for a recipe that does not state its runs as numbers (`RUNS` beside its function).
    """
    run = getattr(inspect.getmodule(plugins.get("recipes", phase)), "RUNS", {}).get(size)
    if run is None:
        raise GlideError("see `--dry-run`")
    plan = _plan(name, size, run)
    memory = plan.memory.total / GB
    gpus = "1 GPU" if run.gpus == 1 else f"{run.gpus} GPUs"
    needs = f"{gpus}, {memory:.0f} GB each" if run.gpus else f"{memory:.1f} GB, no GPU"
    try:
        check_fit(plan, machine)
    except GlideError as error:
        return needs, str(error)
    return needs, None


def _plan(name: str, size: str, run: Run) -> TrainingPlan:
    """The plan of a recipe without overrides, from its numbers alone: the full config would import Megatron."""
    return TrainingPlan(
        name=name,
        overrides=(),
        config={},
        architecture=architecture(size),
        layout=Layout(
            gpus=max(run.gpus, 1),
            tensor=run.tensor_model_parallel_size,
            pipeline=run.pipeline_model_parallel_size,
            micro_batch_size=run.micro_batch_size,
            mixed_precision=run.precision != "fp32",
        ),
        gpus=run.gpus,
        gpu_gb=0.0,
        continues=None,
        train_iters=run.train_iters,
        global_batch_size=run.global_batch_size,
        seq_length=run.seq_length,
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table


def _python() -> str | None:
    version = platform.python_version()
    return version if version.startswith("3.12.") else None


def _disk() -> str:
    return f"{shutil.disk_usage(Path.cwd()).free / GB:,.0f} GB"


def _gpus(machine: Machine) -> str | None:
    return ", ".join(f"{name} ({memory:.0f} GB)" for name, memory in machine.gpus) or None


def _torch() -> str | None:
    """Version and build, the latter read from torch/version.py: importing torch takes seconds."""
    version = _package("torch")
    spec = importlib.util.find_spec("torch")
    if version is None or spec is None or spec.origin is None:
        return version
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    cuda = re.search(r"^cuda[^=]*= *'([\d.]+)'", text, re.MULTILINE)
    return f"{version}, {f'CUDA {cuda.group(1)}' if cuda else 'CPU'} build"


def _kernels() -> str | None:
    """The processor's instructions that glide_nemo/cpu/kernels.cpp was compiled for."""
    built = sorted((Path(__file__).parent / "cpu").glob("_kernels_*.so"))
    return ", ".join(path.name.split(".")[0].removeprefix("_kernels_").upper() for path in built) or None


def _package(*names: str) -> str | None:
    """The version of the first of these distributions that is installed."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _program(*names: str) -> str | None:
    """The version that the first of these programs on the PATH states, or its path where it states none."""
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        return None
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=PROBE_SECONDS, env=os.environ | {"LC_ALL": "C"}
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    version = re.search(r"\d+(\.\d+)+", said)
    return f"{Path(path).name} {version.group()}" if version else path
