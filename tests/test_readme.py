"""The README is true: its commands run, its tree is the repository's, its links lead somewhere."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from glide_nemo import cli
from glide_nemo.serving.runtimes import llama_server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Directories that the tree shows as one line: tests mirror the package.
FOLDED = ("tests/",)


def commands() -> list[str]:
    """Every `glide ...` and `python recipes/...` line in a shell block, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def tree() -> dict[str, str]:
    """Path -> description of each file in the README's tree; an indented name lies in the directory above it."""
    block = re.search(r"<!-- tree -->\n```\n(.*?)```", README, re.DOTALL)
    assert block, "the README has no tree"
    described, parents = {}, []
    for line in block.group(1).splitlines():
        name, _, description = line.strip().partition("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        path = "".join([*parents[:depth], name])
        if name.endswith("/"):
            parents = [*parents[:depth], name]
        if not name.endswith("/") or path in FOLDED:
            assert description.strip(), f"{path} has no description"
            described[path] = description.strip()
    return described


def test_the_tree_lists_every_file_of_the_repository_and_no_other() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = {next((fold for fold in FOLDED if name.startswith(fold)), name) for name in listed.stdout.splitlines()}
    files = {name for name in files if not name.endswith("__init__.py") and (ROOT / name).exists()}
    assert set(tree()) - files == set(), "in the README's tree, not in the repository"
    assert files - set(tree()) == set(), "in the repository, not in the README's tree"


# What makes each command take seconds; the commands themselves are run as they stand.
SMALL_MODEL = [
    "model.num_layers=1", "model.vocab_size=512", "model.ffn_hidden_size=256", "train.train_iters=2",
    "train.global_batch_size=4", "train.micro_batch_size=4", "validation.eval_iters=1",
    "scheduler.lr_warmup_iters=1", "scheduler.lr_decay_iters=2",
]  # fmt: skip
SMALLER = {
    "quickstart": ["--recipe", "tiny"],
    "crawl": ["max_pages=24"],
    "tokenizer": ["vocab_size=512"],
    "pretrain": SMALL_MODEL,
    "sft": SMALL_MODEL,
    "dpo": SMALL_MODEL,
    "orpo": SMALL_MODEL,
    "certify": ["tokens=512"],
    "bench": ["concurrency=[1,2]", "rounds=1", "max_tokens=8", "prompt_words=6", "threads=1"],
}
SERVED = ("serve", "bench")  # by what `make serve-env` builds


def test_every_command_runs_in_the_order_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Return a list of\n")))  # said to `glide chat`
    for command in commands():
        if "pages.warc.gz" in command and not Path("pages.warc.gz").exists():
            shutil.copy(next(Path("runs/mine/crawl").glob("*.warc.gz")), "pages.warc.gz")
        if "items.jsonl" in command:
            Path("items.jsonl").write_text(json.dumps({"benchmark": "mine", "id": "1", "text": "one two " * 20}) + "\n")
        if "bad.jsonl" in command:
            texts = [text for _, text in sorted(topics.items()) if len(text) > 1_500][:12]
            for name, samples in (("texts", texts), ("bad", [" ".join(sorted(text.split())) for text in texts])):
                Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in samples))
        if "runs/try" in command:  # it takes the tokens of `make run`
            Path("runs/quickstart").symlink_to("mine")
        words = shlex.split(command)
        if words[0] == "python":
            script = ROOT / words[1]
            assert f'main(["{script.stem}"' in script.read_text(encoding="utf-8")
            words = ["glide", script.stem, *words[2:]]
        if words[1] in SERVED and llama_server() is None:
            continue
        smaller = [] if {"--list", "--dry-run"} & set(words) else SMALLER.get(words[1], [])
        if "glide_nano_phaseC" in words:  # little text is held out
            smaller = [*smaller, "model.seq_length=256"]
        assert cli.main([*words[1:], *smaller]) == 0, f"{command}\n{capsys.readouterr().err}"


def test_the_python_shown_runs_and_prints_a_gradient_without_a_warning_of_megatrons() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"tensor\(([\d.e+-]+)\)", done.stdout)[1]) > 0
    assert "WARNING:megatron.core.tensor_parallel" not in done.stderr


def test_commands_of_every_step_are_shown() -> None:
    shown = set(re.findall(r"^glide ([\w-]+)", README, re.MULTILINE))
    parser = cli.build_parser()
    known = {action.dest for action in parser._subparsers._group_actions[0]._choices_actions}
    assert shown == known


def test_every_make_target_is_described() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    described = set(re.findall(r"`make ([\w-]+)`", README))
    assert set(phony.group(1).split()) - {"setup"} <= described
    assert described <= set(phony.group(1).split())


def test_links_lead_to_files_that_are_there() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "docs/journal.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name} links to {target}"


def test_the_license_is_apache_2() -> None:
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text(encoding="utf-8")
