"""Which documents a step read: checked against the batches that the model was really given, and told on divergence."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from small_chat import sums, write_lines
from small_corpus import write_corpus

from glide_nemo import cli, corpus
from glide_nemo.artifact import Artifact, load
from glide_nemo.data.conversations import ConversationsConfig, pack_conversations
from glide_nemo.data.pack import PackConfig, pack
from glide_nemo.data.preferences import PreferencesConfig, pack_preferences
from glide_nemo.errors import GlideError
from glide_nemo.tokenizer.chat import SentencePieceEncoder, conversation_tokens
from glide_nemo.tokenizer.train import load_processor
from glide_nemo.training import loop
from glide_nemo.training.batch_documents import Document, documents_of, names, of_samples
from glide_nemo.training.divergence import documents_named
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.processes import run_processes
from glide_nemo.training.worker import run_with_megatron

RECIPE, BATCH, LENGTH = "glide_nano_phaseA", 4, 128
STEPS = ("train.train_iters=4", "train.micro_batch_size=2", "checkpoint.save_interval=4", "validation.eval_interval=4")
DIVERGING = ("optimizer.lr=1e30", "optimizer.min_lr=1e29")


def recording(name: str, overrides: Sequence[str], paths: loop.Paths, folder: Path, report: Any) -> None:
    """Trains, and writes the tokens of every micro batch that the model is given. Called by a worker."""
    from megatron.bridge.training import gpt_step

    get_batch, given = gpt_step.get_batch, []

    def watched(*arguments: Any, **settings: Any) -> Any:
        batch = get_batch(*arguments, **settings)
        given.append(batch[0].numpy().copy())
        return batch

    gpt_step.get_batch = watched
    loop.train(name, overrides, paths, report)
    numpy.save(folder / f"{os.environ.get('RANK', '0')}.npy", numpy.stack(given))


@pytest.fixture(scope="module")
def other_tokens(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    texts = [(f"other-{number}", f"Document {number}. " + "All about it. " * (number % 7 + 1)) for number in range(300)]
    folder = tmp_path_factory.mktemp("other_tokens")
    made = write_corpus(folder / "corpus", {"train": texts[:250], "heldout": texts[250:]})
    return pack(PackConfig(), made, small_tokenizer, folder / "out")


def paths_of(out: Path, tokens: Artifact, *blended_in: tuple[Path, float]) -> loop.Paths:
    (out / "logs").mkdir(parents=True, exist_ok=True)
    tokenizer = tokens.input("tokenizer").path.resolve()
    return loop.Paths(tokens.path.resolve(), tokenizer, out, blended_in=tuple(blended_in))


def tokens_in(document: Document) -> list[int]:
    """A document's tokens, as .bin and .idx have them."""
    index = (document.tokens / "train.idx").read_bytes()
    count = int(numpy.frombuffer(index, "<u8", 1, 18)[0])
    lengths = numpy.frombuffer(index, "<i4", count, 34)
    end = int(lengths[: document.number + 1].sum())
    return numpy.fromfile(document.tokens / "train.bin", "<u2")[end - lengths[document.number] : end].tolist()


def holds(documents: Sequence[Document], sequence: Sequence[int]) -> bool:
    """Whether the documents, end to end, hold the sequence and its last label, and it needs each of them."""
    parts = [tokens_in(document) for document in documents]
    whole = list(itertools.chain(*parts))
    latest_start = len(parts[0]) - 1
    earliest_end = len(whole) - len(parts[-1]) + 1
    return any(
        whole[at : at + len(sequence)] == list(sequence) and at + len(sequence) + 1 >= earliest_end
        for at in range(latest_start + 1)
    )


@pytest.mark.parametrize("blend", [False, True], ids=["one set of documents", "a blend"])
def test_the_documents_of_every_step_are_those_whose_tokens_the_model_was_given(
    blend: bool, small_tokens: Artifact, other_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    paths = paths_of(tmp_path / "out", small_tokens, *[(other_tokens.path.resolve(), 0.5)] * blend)
    overrides = (*tiny, *STEPS)
    run_with_megatron(recording, RECIPE, overrides, paths, tmp_path)
    micro_batches = numpy.load(tmp_path / "0.npy")
    used = set()
    for step in (1, 2, 3, 4):
        samples = range((step - 1) * BATCH, step * BATCH)
        found = run_with_megatron(of_samples, RECIPE, overrides, paths, step, samples)
        given = micro_batches[2 * step - 2 : 2 * step].reshape(BATCH, LENGTH)
        assert [holds(documents, sequence) for documents, sequence in zip(found, given, strict=True)] == [True] * BATCH
        assert not holds(found[0], given[1]), "documents that hold anything"
        used |= {document.tokens for documents in found for document in documents}
    assert len(used) == 1 + blend


def test_each_stage_of_a_curriculum_has_its_own_samples(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    paths = paths_of(tmp_path / "out", small_tokens)
    overrides = (*tiny, *STEPS, f"curriculum.stages=[[{LENGTH // 2},2],[{LENGTH},2]]")
    for step, batch, length in ((1, 2 * BATCH, LENGTH // 2), (3, BATCH, LENGTH)):  # the first of each stage
        run_with_megatron(recording, RECIPE, overrides, paths, tmp_path)
        given = numpy.load(tmp_path / "0.npy")[:2].reshape(batch, length)
        samples = range((step - 1) * batch, step * batch)
        found = run_with_megatron(of_samples, RECIPE, overrides, paths, step, samples)
        assert [holds(documents, sequence) for documents, sequence in zip(found, given, strict=True)] == [True] * batch


def test_data_parallel_ranks_that_diverge_name_the_documents_of_the_whole_batch(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = (*tiny, "train.micro_batch_size=2", "validation.eval_interval=11")
    run_processes(2, recording, RECIPE, overrides, paths_of(tmp_path / "out", small_tokens), tmp_path)
    diverging = paths_of(tmp_path / "diverging", small_tokens)
    log = tmp_path / "diverging" / "logs" / "megatron.log"
    with (
        pytest.raises(GlideError, match=r"lower optimizer\.lr, or look at what it read, doc-"),
        documents_named(RECIPE, (*overrides, *DIVERGING), diverging, log),
    ):
        run_processes(2, loop.train, RECIPE, (*overrides, *DIVERGING), diverging, log=log)
    stated = json.loads((tmp_path / "diverging" / "diverged.json").read_text())
    step = stated["step"]
    assert (stated["first_sample"], stated["samples"]) == ((step - 1) * BATCH, BATCH)
    samples = range((step - 1) * BATCH, step * BATCH)
    found = run_with_megatron(of_samples, RECIPE, overrides, diverging, step, samples)
    known = names(small_tokens, {document.number for documents in found for document in documents})
    assert stated["sequences"] == [[known[document.number] for document in documents] for documents in found]
    # Each rank had one micro batch in each step.
    given = [sequence for rank in (0, 1) for sequence in numpy.load(tmp_path / f"{rank}.npy")[step - 1]]
    assert len(given) == BATCH
    assert all(any(holds(documents, sequence) for sequence in given) for documents in found)
    assert all(any(holds(documents, sequence) for documents in found) for sequence in given)


def test_training_that_diverges_names_the_step_and_documents_of_the_corpus(
    small_corpus: Artifact, small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = ["pretrain", "--recipe", RECIPE, "--tokens", str(small_tokens.path), "--out", str(out), *tiny, *DIVERGING]
    assert cli.main(command) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    stated = json.loads((out / "diverged.json").read_text())
    step, ids = stated["step"], [document["id"] for document in stated["documents"]]
    assert told.startswith("error: training diverged") and f"not finite at step {step}: lower optimizer.lr" in told
    assert f"or look at what it read, {', '.join(ids[:3])} and {len(ids) - 3} more: {out / 'diverged.json'}" in told
    assert set(ids) <= {id_ for id_, _ in corpus.documents(small_corpus, "train")}
    assert {(out / document["tokens"]).resolve() for document in stated["documents"]} == {small_tokens.path.resolve()}
    assert len(stated["sequences"]) == BATCH and {id_ for ids in stated["sequences"] for id_ in ids} == set(ids)
    samples = range((step - 1) * BATCH, step * BATCH)
    paths = paths_of(out.resolve(), small_tokens)
    found = run_with_megatron(of_samples, RECIPE, (*tiny, *DIVERGING), paths, step, samples)
    order = [id_ for id_, _ in corpus.documents(small_corpus, "train")]
    assert stated["sequences"] == [[order[document.number] for document in documents] for documents in found]
    # With a rate to learn by, the same directory trains to its end and keeps no word of it.
    assert cli.main([*command[: -len(DIVERGING)], "train.train_iters=1", "--force"]) == 0
    assert not (out / "diverged.json").exists()


def test_fine_tuning_that_diverges_names_files_and_lines(
    small_tokenizer: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    data = write_lines(tmp_path / "sums.jsonl", sums(60))
    packed = pack_conversations(ConversationsConfig(seq_length=LENGTH), [data], small_tokenizer, tmp_path / "packed")
    plan = plan_training("glide_nano_sft", (*tiny, f"model.seq_length={LENGTH}", *DIVERGING))
    with pytest.raises(GlideError, match=r"or look at what it read, sums\.jsonl:\d+, sums\.jsonl:\d+, "):
        pretrain(plan, packed, tmp_path / "out")
    stated = json.loads((tmp_path / "out" / "diverged.json").read_text())
    assert len(stated["sequences"]) == BATCH
    assert {int(document["id"].partition(":")[2]) for document in stated["documents"]} <= set(range(1, 61))


def test_a_corpus_that_was_moved_does_not_hide_that_training_diverged(
    small_tokenizer: Artifact, tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"id-{number}", "Some words of it. " * 40) for number in range(60)]
    made = write_corpus(tmp_path / "corpus", {"train": rows[:40], "heldout": rows[40:]})
    tokens = pack(PackConfig(), made, small_tokenizer, tmp_path / "tokens")
    made.path.rename(tmp_path / "elsewhere")
    command = ["pretrain", "--recipe", RECIPE, "--tokens", str(tokens.path), "--out", str(tmp_path / "out")]
    assert cli.main([*command, *tiny, *DIVERGING]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "lower optimizer.lr; its documents cannot be named (no finished corpus" in told


def packed_samples(kind: str, directory: Path, dtype: str, pad: int, count: int, report: Any) -> list[Any]:
    """Samples of a training dataset with the numbers of their documents. Called by a worker."""
    from megatron.bridge.data.base import DatasetBuildContext

    if kind == "conversations":
        from glide_nemo.data.packed_dataset import PackedConversations

        provider = PackedConversations(seq_length=LENGTH, directory=str(directory), dtype=dtype)
    else:
        from glide_nemo.data.preference_dataset import PreferencePairs

        provider = PreferencePairs(seq_length=LENGTH, directory=str(directory), dtype=dtype, pad=pad)
    train, _, _ = provider.build_datasets(DatasetBuildContext(count, 1, 1))
    return [
        (train[sample]["tokens"].tolist(), [document.number for document in documents_of(train, sample, directory)])
        for sample in range(count)
    ]


def test_packed_conversations_are_named_by_file_and_line(small_tokenizer: Artifact, tmp_path: Path) -> None:
    files = [
        write_lines(tmp_path / "one.jsonl", ["not JSON", *sums(40)]),
        write_lines(tmp_path / "two.jsonl", ["", *sums(90)[40:]]),
    ]
    config = ConversationsConfig(seq_length=LENGTH, max_bad_share=0.5, batch_lines=16)
    packed = pack_conversations(config, files, small_tokenizer, tmp_path / "out")
    encoder = SentencePieceEncoder(load_processor(small_tokenizer.path))
    rows = packed.metrics["train"]["rows"]
    seen = []
    for tokens, numbers in run_with_megatron(
        packed_samples, "conversations", packed.path, packed.metrics["dtype"], 0, rows
    ):
        at, known = 0, names(packed, numbers)
        for place in (known[number] for number in numbers):
            name, _, line = place.partition(":")
            said = json.loads((tmp_path / name).read_text().splitlines()[int(line) - 1])["messages"]
            ids, _ = conversation_tokens(encoder, [(turn["role"], turn["content"]) for turn in said])
            assert tokens[at : at + len(ids)] == ids[: LENGTH - at]
            at += len(ids)
            seen.append(place)
    assert len(seen) == len(set(seen)) == packed.metrics["train"]["conversations"]
    assert {place.partition(":")[0] for place in seen} == {"one.jsonl", "two.jsonl"}


def test_preference_pairs_are_named_by_file_and_line(small_tokenizer: Artifact, tmp_path: Path) -> None:
    pairs = [{"prompt": f"Say {n}.", "chosen": f"It is {n}.", "rejected": f"Not {n}."} for n in range(30)]
    file = write_lines(tmp_path / "pairs.jsonl", ["not JSON", *map(json.dumps, pairs)])
    config = PreferencesConfig(seq_length=LENGTH, max_bad_share=0.5)
    packed = pack_preferences(config, [file], small_tokenizer, tmp_path / "out")
    processor = load_processor(small_tokenizer.path)
    count, pad = 2 * packed.metrics["train"]["pairs"], packed.metrics["pad"]
    samples = run_with_megatron(packed_samples, "pairs", packed.path, packed.metrics["dtype"], pad, count)
    for sample, (tokens, numbers) in enumerate(samples):
        (place,) = names(packed, numbers).values()
        assert place.startswith("pairs.jsonl:")
        pair = pairs[int(place.partition(":")[2]) - 2]
        text = processor.decode(tokens)
        assert pair["prompt"] in text and pair["rejected" if sample % 2 else "chosen"] in text
    assert load(packed.path).metrics["rejected"] == {"not JSON": 1}
