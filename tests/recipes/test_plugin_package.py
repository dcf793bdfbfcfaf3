"""Another package adds a size and a recipe through entry points: installed as any package, listed and trained."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from glide_nemo import plugins
from glide_nemo.artifact import Artifact, load
from glide_nemo.errors import GlideError
from glide_nemo.recipes.recipe import recipe_names
from glide_nemo.training.worker import run_with_megatron

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-glide"
version = "1.0"

[project.entry-points."glide_nemo.architectures"]
acme = "acme_glide:acme"

[project.entry-points."glide_nemo.recipes"]
settle = "acme_glide:settle"

[tool.setuptools]
py-modules = ["acme_glide"]
"""

MODULE = '''
"""A size and a recipe of Acme's."""

from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.recipes.pretraining import Run, pretraining

RUNS = {
    "acme": Run(
        seq_length=64, global_batch_size=4, micro_batch_size=4, train_iters=4, lr=1e-3, min_lr=1e-4, warmup_iters=1,
        decay="linear", precision="fp32", save_interval=2, eval_interval=4, eval_iters=1,
    ),
}


def acme():
    return GlideArchitecture(
        name="acme", num_layers=1, hidden_size=64, ffn_hidden_size=128, num_attention_heads=2, num_query_groups=1,
        kv_channels=32, vocab_size=1_000, seq_length=64,
    )


def settle(size):
    """four steps, as Acme likes them"""
    recipe = pretraining("settle", size, RUNS)
    recipe.config.optimizer.weight_decay = 0.05
    return recipe
'''


def install(folder: Path, module: str) -> dict[str, str]:
    """Installs the package beside GLiDE, without a network; the environment of processes that see it."""
    package, site = folder / "package", folder / "site"
    package.mkdir(parents=True)
    (package / "pyproject.toml").write_text(PYPROJECT)
    (package / "acme_glide.py").write_text(module)
    command = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", site, package]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return os.environ | {"PYTHONPATH": str(site)}


@pytest.fixture(scope="module")
def with_plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return install(tmp_path_factory.mktemp("acme"), MODULE)


def glide(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glide_nemo", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_its_recipe_is_listed_at_its_size_and_nowhere_without_it(with_plugin: dict[str, str]) -> None:
    listed = glide(with_plugin, "pretrain", "--list")
    assert listed.returncode == 0, listed.stderr
    lines = dict(line.split(maxsplit=1) for line in (listed.stdout + listed.stderr).splitlines() if line.strip())
    assert re.fullmatch(r"0 M parameters: four steps, as Acme likes them", lines["glide_acme_settle"])
    assert set(recipe_names()) < set(lines)
    assert "glide_acme_settle" not in recipe_names(), "this process has it too"


def test_its_recipe_trains_as_one_of_glides_own(
    with_plugin: dict[str, str], small_tokens: Artifact, tmp_path: Path
) -> None:
    recipe = ("--recipe", "glide_acme_settle")
    done = glide(with_plugin, "pretrain", *recipe, "--tokens", small_tokens.path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    trained = load(tmp_path / "out", "checkpoint")
    assert trained.metrics["recipe"] == "glide_acme_settle"
    assert trained.metrics["architecture"]["hidden_size"] == 64
    assert trained.metrics["tokens"] == 4 * 4 * 64
    assert trained.config["optimizer"]["weight_decay"] == 0.05
    assert len((trained.path / "loss.jsonl").read_text().splitlines()) == 4


def refusals(phases: list[str], size: str, report: object) -> dict[str, str]:
    """What each phase says of a size that it has no run of. Called by a worker, which has Megatron imported."""
    told = {}
    for phase in phases:
        with pytest.raises(GlideError) as error:
            plugins.get("recipes", phase)(size)
        told[phase] = str(error.value)
    return told


def test_a_phase_without_a_run_of_a_size_says_so_in_one_line() -> None:
    phases = sorted({phase for phase, _ in recipe_names().values()})
    assert run_with_megatron(refusals, phases, "acme") == {
        phase: f"{phase} has no run of size 'acme': there are nano, 125m, 3b; register a recipe for it"
        for phase in phases
    }


def test_a_recipe_that_cannot_be_imported_is_one_line_that_names_its_package(tmp_path: Path) -> None:
    broken = install(tmp_path, "import no_such_module_of_acme\n")
    listed = glide(broken, "pretrain", "--list")
    assert listed.returncode == 2
    (line,) = [line for line in listed.stderr.splitlines() if line.strip()]
    assert line.startswith("error: cannot load the architecture 'acme' of the package acme-glide (No module named ")
    assert "Traceback" not in listed.stderr
