"""`glide doctor` on this machine and on odd ones."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from rich.console import Console

from glide_nemo import doctor
from glide_nemo.planning.machine import Machine
from glide_nemo.recipes.recipe import recipe_names

LAPTOP = Machine(gpus=(), cores=2, memory_gb=16.0)


def told(machine: Machine) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(doctor.pieces_table([doctor.find(piece) for piece in doctor.pieces(machine)]))
    console.print(doctor.recipes_table(machine))
    return console.file.getvalue()


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(name))


def test_every_recipe_has_a_verdict_and_only_those_that_fit_run_here() -> None:
    text = told(LAPTOP)
    assert all(row(text, name) for name in recipe_names())
    assert row(text, "glide_nano_phaseB").split()[-1] == "yes"
    assert row(text, "glide3b_phaseB").split()[-1] == "no"


def test_a_machine_with_64_large_gpus_runs_the_3b_recipes() -> None:
    cluster = Machine(gpus=(("H100", 85.0),) * 64, cores=128, memory_gb=2_000.0)
    assert row(told(cluster), "glide3b_phaseB").split()[-1] == "yes"
    small = Machine(gpus=(("T4", 16.0),) * 64, cores=128, memory_gb=2_000.0)
    assert row(told(small), "glide3b_phaseB").split()[-1] == "no"


def test_a_missing_piece_names_what_it_falls_back_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = told(LAPTOP)
    assert "no GGUF checks" in row(text, "C++ compiler")
    assert "on this machine alone" in row(text, "SLURM")
    assert "CPU in fp32 over gloo" in row(text, "GPU")


def test_a_compiler_that_hangs_or_fails_is_still_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.2)
    with tempfile.TemporaryDirectory() as name:  # a path short enough for a cell of the table
        folder = Path(name)
        monkeypatch.setenv("PATH", name)
        for tool, body in {"g++": "exec /bin/sleep 5", "cmake": "exit 3"}.items():
            (folder / tool).write_text(f"#!/bin/sh\n{body}\n")
            (folder / tool).chmod(0o755)
        text = told(LAPTOP)
    assert str(folder / "g++") in row(text, "C++ compiler")
    assert str(folder / "cmake") in row(text, "CMake")


def test_a_probe_that_fails_is_a_finding_and_not_a_traceback() -> None:
    finding = doctor.find(doctor.Piece("disk", lambda: str(Path("/no/such/place").stat()), "nothing"))
    assert finding.found is None
    assert "cannot tell: [Errno 2]" in finding.note


def test_it_answers_within_two_seconds_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.process_time(); from glide_nemo.doctor import doctor; doctor();"
        "print('heavy', [m for m in ('torch', 'megatron', 'transformers', 'ray', 'llama_cpp') if m in sys.modules]);"
        "print('seconds', time.process_time() - start)"
    )
    started = time.monotonic()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "heavy []" in said
    # Processor time: the wall clock of a machine that runs other tests says nothing.
    assert float(said.split("seconds")[-1]) < 2.0, time.monotonic() - started
