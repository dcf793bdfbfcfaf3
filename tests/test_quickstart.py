"""The whole road as a stranger takes it, with every real part, at a size that takes seconds a step."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glide_nemo.artifact import KINDS, RECORD, in_run, load
from glide_nemo.quickstart import _quality_model, tiny

STEPS = (
    "crawl", "packages", "reference", "ngrams", "benchmarks", "candidates", "classifier", "corpus",
    "tokenizer", "tokens", "questions", "pairs",
    "phase_a", "phase_b", "phase_b_hf", "phase_b_evaluation", "phase_c", "phase_c_hf", "phase_c_evaluation",
    "sft.conversations", "sft", "dpo.pairs", "dpo", "hf", "gguf_f16", "gguf_q4_k_m", "certificate", "evaluation",
    "data_card", "report",
)  # fmt: skip
PHASES = {"phase_a": "phaseA", "phase_b": "phaseB", "phase_c": "phaseC", "sft": "sft", "dpo": "dpo"}
LINES = {name: f"glide_nano_{recipe}" for name, recipe in PHASES.items()} | {
    "packages": "crawl", "reference": "curate", "ngrams": "perplexity-model", "benchmarks": "decontam fetch",
    "candidates": "curate", "classifier": "quality-classifier", "corpus": "curate",
    "sft.conversations": "conversations", "dpo.pairs": "preferences", "data_card": "data card",
    "phase_b_hf": "hf", "phase_c_hf": "hf", "phase_b_evaluation": "evaluate", "phase_c_evaluation": "evaluate",
    "evaluation": "evaluate",
}  # fmt: skip


def command(run: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "glide_nemo", "quickstart", "--recipe", "tiny", "--out", str(run), *arguments]


def quickstart(run: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(run, *arguments), capture_output=True, text=True, timeout=900)


def digests(run: Path) -> dict[str, str]:
    """Of every step but the crawl, whose WARC has the time of each page, and the report, which has those of steps."""
    return {name: load(run / name).sha256 for name in STEPS if name not in ("crawl", "report")}


BESIDE_THE_ROAD = {"speed"}  # made only where they are asked for


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run, and what it printed."""
    run = tmp_path_factory.mktemp("road") / "run"
    done = quickstart(run)
    assert done.returncode == 0, done.stderr
    return run, done.stderr


def test_every_step_leaves_an_artifact_made_from_the_one_before(finished: tuple[Path, str]) -> None:
    run, _ = finished
    assert sorted(path.name for path in run.iterdir()) == sorted(STEPS)
    artifacts = {artifact.path.name: artifact for artifact in in_run(run)}
    assert {artifact.kind for artifact in artifacts.values()} == set(KINDS) - BESIDE_THE_ROAD
    known = {artifact.sha256 for artifact in artifacts.values()}
    for name, artifact in artifacts.items():
        assert all(entry["sha256"] in known for entry in artifact.record["inputs"].values()), name
    before = {"phase_b": "phase_a", "phase_c": "phase_b", "sft": "phase_c", "dpo": "sft"}
    assert {name: artifacts[name].input("init_from").path.name for name in before} == before
    assert artifacts["certificate"].input("checkpoint").sha256 == artifacts["dpo"].sha256
    assert artifacts["certificate"].metrics["passed"] is True


def test_the_last_lines_say_where_the_report_lies_the_key_figures_and_what_it_writes(
    finished: tuple[Path, str],
) -> None:
    run, said = finished
    bits, pretrained = (load(run / name).metrics["bits_per_byte"] for name in ("evaluation", "phase_c_evaluation"))
    end = said[said.rindex("done in") :]
    report = re.search(r"report +(\S+report\.html)", end)
    assert report and Path(report[1]).resolve() == (run / "report/report.html").resolve()
    assert f"{pretrained['model']:.2f} bits a byte pretrained, {bits['model']:.2f} fine-tuned" in end
    assert "certificate  passed" in end
    assert load(run / "evaluation").metrics["samples"][0]["prompt"] in end
    assert "glide chat" in end


def test_a_second_run_reuses_every_step_and_says_so(finished: tuple[Path, str]) -> None:
    run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run.glob(f"*/{RECORD}")}
    again = quickstart(run)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("reused") == len(STEPS)
    assert {path: path.stat().st_mtime_ns for path in run.glob(f"*/{RECORD}")} == before


def test_a_changed_setting_does_again_what_depends_on_it_and_nothing_else(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    done = quickstart(run, "evaluation.samples.max_new_tokens=3")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\w+): settings or inputs have changed", done.stderr, re.MULTILINE) == ["evaluate", "report"]
    assert done.stderr.count("reused") == len(STEPS) - 2


def test_every_step_is_a_command_of_its_own_with_the_same_result(finished: tuple[Path, str], tmp_path: Path) -> None:
    """Those that need no training: their directories in another place have the digests of the quickstart's."""
    run, _ = finished
    for name, arguments in {
        "tokenizer": ["tokenizer", "--corpus", run / "corpus", "vocab_size=512"],
        "tokens": ["tokens", "--corpus", run / "corpus", "--tokenizer", run / "tokenizer"],
    }.items():
        step = [sys.executable, "-m", "glide_nemo", *map(str, arguments), "--out", str(tmp_path / name)]
        done = subprocess.run(step, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert load(tmp_path / name).sha256 == load(run / name).sha256


def test_a_crawl_too_small_for_a_classifier_does_without_one(
    finished: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0] / "candidates", tmp_path / "candidates")
    config = tiny()
    config.classifier.min_samples = 1_000
    reference, pages = (load(finished[0] / name) for name in ("reference", "crawl"))
    assert _quality_model(config, reference, pages, tmp_path) == ""
    said = capsys.readouterr().err
    assert re.search(r"candidates.*\n +quality classifier: skipped, \d+ samples are fewer than 1000", said)
    assert not (tmp_path / "classifier").exists()


def test_the_report_is_one_file_that_asks_no_network(finished: tuple[Path, str]) -> None:
    page = (finished[0] / "report/report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "<script" not in page
    for name in STEPS[:-1]:
        assert load(finished[0] / name).sha256[:12] in page, f"no digest of {name}"


def _run_until(run: Path, step: str, delay: float) -> None:
    """Starts the quickstart, and kills it `delay` seconds after it says that a step begins."""
    with subprocess.Popen(command(run), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for line in process.stderr:
            if line.strip() == step:
                time.sleep(delay)
                os.kill(process.pid, signal.SIGKILL)
                break
        else:
            pytest.fail(f"ended before {step}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_in_every_step_the_road_ends_where_the_uninterrupted_one_does(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for name in STEPS[:-1]:
        if (run / name / RECORD).exists():
            continue  # it was done within the half second after the step before it had begun
        _run_until(run, LINES.get(name, name.replace("_", " ", 1)), delay=0.5)
    done = quickstart(run)
    assert done.returncode == 0, done.stderr
    assert digests(run) == digests(finished[0])
    losses = [(run / name / "loss.jsonl").read_text() for name in PHASES]
    assert losses == [(finished[0] / name / "loss.jsonl").read_text() for name in PHASES]
    assert all(json.loads(line)["loss"] > 0 for text in losses for line in text.splitlines())
