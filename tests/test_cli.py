"""The command line as a user meets it: one line for what is wrong, exit status 2, and answers at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from glide_nemo.artifact import create
from glide_nemo.cli import main, split_arguments

ROOT = Path(__file__).parents[1]


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a command says that exits with 2: one line."""
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1, said.err
    return said.err


def test_help_answers_in_under_half_a_second() -> None:
    took = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "glide_nemo", "--help"], capture_output=True, text=True)
        took.append(time.perf_counter() - started)
        assert done.returncode == 0 and "quickstart" in done.stdout
    assert min(took) < 0.5, took


def test_the_scripts_are_the_commands(tmp_path: Path) -> None:
    script = subprocess.run(
        [sys.executable, ROOT / "recipes/tokenizer.py", "--list"], capture_output=True, text=True, cwd=tmp_path
    )
    command = subprocess.run(
        [sys.executable, "-m", "glide_nemo", "tokenizer", "--list"], capture_output=True, text=True, cwd=tmp_path
    )
    assert script.returncode == command.returncode == 0
    assert script.stdout == command.stdout and "nano" in script.stdout and "3b" in script.stdout


@pytest.mark.parametrize("command", ["quickstart", "crawl", "curate", "tokenizer", "pretrain"])
def test_list_names_every_recipe_with_one_line_each(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_dry_run_prints_the_config_with_overrides_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["curate", "--dry-run", "quality.min_words=7", "--out", "corpus"]) == 0
    assert '"min_words": 7' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_out_is_an_option_and_an_override(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("")
    for argv in (["--out", str(tmp_path)], [f"out={tmp_path}"]):
        assert "not GLiDE's" in refused(capsys, "crawl", *argv)


def test_an_override_may_stand_anywhere_and_an_option_keeps_its_value() -> None:
    arguments, overrides = split_arguments(["certify", "RUN", "--against", "hf=DIR", "tokens=9", "--force", "a.b=x=y"])
    assert arguments == ["certify", "RUN", "--against", "hf=DIR", "--force"]
    assert overrides == ["tokens=9", "a.b=x=y"]


ERRORS = {
    "unknown recipe": (["curate", "--recipe", "englisch", "--out", "o"], "unknown recipe 'englisch'"),
    "unknown key": (["curate", "--out", "o", "quality.min_wrds=3"], "did you mean 'quality.min_words'"),
    "key of another section": (["curate", "--out", "o", "min_words=3"], "did you mean 'quality.min_words'"),
    "wrong type": (["tokenizer", "--out", "o", "vocab_size=large"], "vocab_size"),
    "no out": (["crawl"], "no --out"),
    "no corpus": (["tokenizer", "--out", "o"], "no --corpus"),
    "missing corpus": (["tokenizer", "--out", "o", "--corpus", "nowhere"], "no finished corpus, nowhere"),
    "nothing to curate": (["curate", "--out", "o"], "pass --warc FILE... or --crawl DIR"),
    "missing WARC": (["curate", "--out", ".", "--warc", "nowhere.warc"], "nowhere.warc"),
    "missing crawl": (["curate", "--out", "o", "--crawl", "nowhere"], "no finished crawl, nowhere"),
    "missing tokenizer": (["tokens", "--out", "o", "--corpus", "corpus", "--tokenizer", "x"], "no finished tokenizer"),
    "another kind": (["tokens", "--out", "o", "--corpus", "corpus", "--tokenizer", "corpus"], "is a corpus, a tokeniz"),
    "no run": (["report", "nowhere"], "no run directory nowhere"),
    "no run to evaluate": (["evaluate", "nowhere"], "no run directory nowhere"),
    "no checkpoint to export": (["export", "."], "no finished checkpoint"),
    "no run to certify": (["certify", "nowhere"], "nowhere"),
    "no model to chat with": (["chat", "nowhere"], "no such model, nowhere"),
    "nothing exported to chat with": (["chat", "."], "no exported model"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input_is_one_line_with_what_to_do(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with create("corpus", "corpus", {}):
        pass
    argv, expected = ERRORS[case]
    assert expected in refused(capsys, *argv)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"], "it has written something"


def test_an_unwritable_directory_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Even root cannot make a directory in /proc."""
    assert "/proc" in refused(capsys, "crawl", "--out", "/proc/glide")
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, "crawl", "--out", str(tmp_path / "file" / "under"))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from glide_nemo.errors import GlideError

    with pytest.raises(GlideError):
        main(["report", str(tmp_path), "--debug"])


def test_a_reader_that_leaves_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m glide_nemo curate --dry-run | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stdout == "{\n" and done.stderr == ""
