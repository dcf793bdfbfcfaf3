"""Each mistake at `glide pretrain` is told in one line, with exit status 2, before or without losing anything."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from glide_nemo import cli
from glide_nemo.artifact import Artifact, load
from glide_nemo.data.pack import PackConfig, pack
from glide_nemo.tokenizer.recipes import TokenizerConfig
from glide_nemo.tokenizer.train import train_tokenizer
from glide_nemo.training import pretrain as step

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `glide pretrain ...`, which must fail with one line; returns that line."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert cli.main(["pretrain", *arguments]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, errors
        return errors[0]

    return run


def test_an_unknown_recipe_names_the_nearest(refused: Refused) -> None:
    assert "did you mean 'glide_nano_phaseB'" in refused("--recipe", "glide_nano_faseB")


def test_an_unknown_key_names_the_nearest(refused: Refused) -> None:
    told = refused("--recipe", "glide_nano_phaseB", "train.train_iter=5")
    assert "unknown key 'train.train_iter': did you mean 'train.train_iters'" in told


@pytest.mark.parametrize(
    ("override", "needed"),
    [
        ("train.train_iters=many", "a whole number"),
        ("train.train_iters=1.5", "a whole number"),
        ("optimizer.lr=fast", "a number"),
        ("ddp.use_distributed_optimizer=3", "true or false"),
        ("train.train_iters=0", "1 or more"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_the_key_takes(refused: Refused, override: str, needed: str) -> None:
    told = refused("--recipe", "glide_nano_phaseB", override)
    assert override.partition("=")[0] in told and needed in told


def test_a_value_that_the_engine_refuses_is_one_line(refused: Refused, small_tokens: Artifact, tmp_path: Path) -> None:
    told = refused(
        "--recipe", "glide_nano_phaseB", "--tokens", str(small_tokens.path), "--out", str(tmp_path / "out"),
        "model.vocab_size=1000", "train.micro_batch_size=3",
    )  # fmt: skip
    assert "divisible" in told and "megatron.log" in told


def test_missing_tokens_and_a_missing_checkpoint_are_named(
    refused: Refused,
    small_tokens: Artifact,
    tmp_path: Path,
) -> None:
    nowhere = str(tmp_path / "nowhere")
    common = ("--recipe", "glide_nano_phaseB", "--out", str(tmp_path / "out"))
    assert f"no finished tokens, {nowhere}" in refused(*common, "--tokens", nowhere)
    told = refused(*common, "--tokens", str(small_tokens.path), "--from", nowhere)
    assert f"no finished checkpoint, {nowhere}" in told
    assert "a checkpoint is needed" in refused(
        *common, "--tokens", str(small_tokens.path), "--from", str(small_tokens.path)
    )
    assert not (tmp_path / "out").exists()


def test_tokens_of_another_vocabulary_are_refused(refused: Refused, small_tokens: Artifact, tmp_path: Path) -> None:
    told = refused("--recipe", "glide_nano_phaseB", "--tokens", str(small_tokens.path), "--out", str(tmp_path / "out"))
    assert "has a vocabulary of 4096" in told and "model.vocab_size=1000" in told


def test_tokens_of_another_tokenizer_than_the_checkpoints_are_refused(
    refused: Refused,
    small_corpus: Artifact,
    small_tokens: Artifact,
    uninterrupted: Artifact,
    tiny: tuple[str, ...],
    tmp_path: Path,
) -> None:
    other = train_tokenizer(TokenizerConfig(vocab_size=1_000, input_bytes=50_000), small_corpus, tmp_path / "other")
    tokens = pack(PackConfig(), small_corpus, other, tmp_path / "tokens")
    told = refused(
        "--recipe", "glide_nano_phaseB", "--tokens", str(tokens.path), "--out", str(tmp_path / "out"),
        "--from", str(uninterrupted.path), *tiny,
    )  # fmt: skip
    own = small_tokens.input("tokenizer").path.resolve()
    assert f"packed with the tokenizer {other.path}" in told and f"trained with {own}" in told
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_shape_is_refused(
    refused: Refused,
    small_tokens: Artifact,
    other_shape: Artifact,
    tiny: tuple[str, ...],
    tmp_path: Path,
) -> None:
    told = refused(
        "--recipe", "glide_nano_phaseB", "--tokens", str(small_tokens.path), "--out", str(tmp_path / "out"),
        "--from", str(other_shape.path), *tiny,
    )  # fmt: skip
    assert "its ffn_hidden_size is 128 and not 256" in told


def test_too_little_text_for_one_sequence_is_refused(
    refused: Refused,
    small_tokenizer: Artifact,
    tiny: tuple[str, ...],
    tmp_path: Path,
) -> None:
    from small_corpus import write_corpus

    corpus = write_corpus(tmp_path / "corpus", {"train": [("a", "A few words.")], "heldout": [("b", "Some more.")]})
    tokens = pack(PackConfig(), corpus, small_tokenizer, tmp_path / "tokens")
    out = tmp_path / "out"
    told = refused("--recipe", "glide_nano_phaseB", "--tokens", str(tokens.path), "--out", str(out), *tiny)
    assert "too little text, the train split" in told and "sequences of 256" in told


def test_an_out_that_cannot_be_written_is_refused(
    refused: Refused,
    small_tokens: Artifact,
    tiny: tuple[str, ...],
    tmp_path: Path,
) -> None:
    common = ("--recipe", "glide_nano_phaseB", "--tokens", str(small_tokens.path), *tiny)
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused(*common, "--out", str(tmp_path / "file"))
    assert str(tmp_path / "file") in refused(*common, "--out", str(tmp_path / "file" / "below"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "not GLiDE's" in refused(*common, "--out", str(tmp_path / "full"))
    assert "/proc/glide" in refused(*common, "--out", "/proc/glide")  # nobody may write there, root neither


def test_training_that_diverges_says_at_which_step(
    refused: Refused,
    small_tokens: Artifact,
    tiny: tuple[str, ...],
    tmp_path: Path,
) -> None:
    told = refused(
        "--recipe", "glide_nano_phaseB", "--tokens", str(small_tokens.path), "--out", str(tmp_path / "out"), *tiny,
        "optimizer.lr=1e30", "optimizer.min_lr=1e29",
    )  # fmt: skip
    written = (tmp_path / "out" / "loss.jsonl").read_text().splitlines()
    assert f"not finite at step {len(written) + 1}: lower optimizer.lr" in told


def test_a_disk_that_fills_while_a_checkpoint_is_saved_loses_nothing(
    refused: Refused, uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = ["--recipe", "glide_nano_phaseA", "--tokens", str(small_tokens.path), "--out", str(out), *tiny]
    with monkeypatch.context() as patch:
        patch.setattr(step.loop, "train", train_on_a_small_disk)
        told = refused(*command)
    assert f"cannot save a checkpoint in {out}" in told and "it goes on" in told
    assert cli.main(["pretrain", *command]) == 0
    assert load(out).sha256 == uninterrupted.sha256


train = step.loop.train


def train_on_a_small_disk(*args: object) -> object:
    """No file larger than a megabyte; a checkpoint has seven."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    return train(*args)


@pytest.mark.parametrize("damage", ["cut short", "one byte changed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used_once_it_is_gone(
    damage: str, refused: Refused, uninterrupted: Artifact, small_tokens: Artifact, tiny: tuple[str, ...],
    tmp_path: Path,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = ["--recipe", "glide_nano_phaseA", "--tokens", str(small_tokens.path), "--out", str(out), *tiny]
    shutil.copytree(uninterrupted.path, out)
    (out / "artifact.json").unlink()  # as if it had been killed before its end
    claim = {key: uninterrupted.record[key] for key in ("kind", "config_sha256", "inputs")}
    (out / ".draft.json").write_text(json.dumps(claim))
    newest = out / "checkpoints" / "iter_0000011"
    data = bytearray((newest / "__0_0.distcp").read_bytes())
    if damage == "cut short":
        del data[-1_000:]
    else:
        data[len(data) // 2] ^= 1  # amid the weights, where torch would not notice
    (newest / "__0_0.distcp").write_bytes(data)
    told = refused(*command)
    assert f"damaged checkpoint {newest}, __0_0.distcp" in told and "delete it" in told
    shutil.rmtree(newest)
    assert cli.main(["pretrain", *command]) == 0
    assert load(out).sha256 == uninterrupted.sha256


def test_a_damaged_checkpoint_to_start_from_is_refused(
    refused: Refused,
    uninterrupted: Artifact,
    small_tokens: Artifact,
    tiny: tuple[str, ...],
    tmp_path: Path,
) -> None:
    start = tmp_path / "start"
    shutil.copytree(uninterrupted.path, start)
    with open(start / "checkpoints" / "iter_0000011" / "__0_0.distcp", "r+b") as file:
        file.truncate(100_000)
    told = refused(
        "--recipe", "glide_nano_phaseB", "--tokens", str(small_tokens.path), "--out", str(tmp_path / "out"),
        "--from", str(start), *tiny,
    )  # fmt: skip
    assert f"damaged checkpoint {start}" in told


def test_the_3b_recipe_says_what_it_needs_and_which_one_fits_before_it_looks_at_its_inputs(refused: Refused) -> None:
    told = refused("--recipe", "glide3b_phaseB", "--tokens", "nowhere", "--out", "nowhere")
    if "this machine has" not in told:
        pytest.skip("this machine can train 3 billion parameters")
    assert "glide3b_phaseB needs 64 GPUs with" in told
    assert "run glide_nano_phaseB here" in told and "--dry-run" in told


def test_a_dry_run_prints_the_whole_config_and_what_was_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretrain", "--recipe", "glide3b_phaseB", "--dry-run", "train.train_iters=1000"]) == 0
    told = capsys.readouterr().out
    config, _, facts = told.partition("\nrecipe ")
    config = yaml.safe_load(config)
    assert config["model"]["num_layers"] == 30 and config["train"]["train_iters"] == 1_000
    assert config["scheduler"]["lr_decay_iters"] == 1_000, "the schedule follows the length of the run"
    assert {"optimizer", "ddp", "dataset", "checkpoint", "rng", "logger"} <= set(config)
    assert "3,173,833,728 (counted on the model as built)" in facts
    assert "FLOPs per token" in facts and "memory per device" in facts
    assert "64 GPUs of 80 GB" in facts


def test_the_list_has_a_line_for_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    from glide_nemo.recipes.recipe import recipe_names

    assert cli.main(["pretrain", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipe_names())
    assert all("M parameters: " in line for line in lines)
