"""What is said of a blend is what Megatron-Core draws from it, and what makes no blend is refused in a line."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from glide_nemo.artifact import Artifact, create, load
from glide_nemo.data.blend import Part, blended, parse_parts
from glide_nemo.data.blend_explained import count_of, described, draws, explain
from glide_nemo.data.blend_file import read_blend_file
from glide_nemo.data.indexed import write_index
from glide_nemo.errors import GlideError
from glide_nemo.training.worker import run_with_megatron

SEQ_LENGTH = 32


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """Three sets of packed tokens of one tokenizer: 20,000, 5,000 and 1,000 tokens, in documents of 50."""
    import numpy

    root = tmp_path_factory.mktemp("sources")
    with create(root / "tokenizer", "tokenizer", {}) as draft:
        (draft.path / "tokenizer.json").write_text("{}")
    tokenizer = load(root / "tokenizer")
    found = []
    for name, count in (("web", 20_000), ("books", 5_000), ("code", 1_000)):
        with create(root / name, "tokens", {"name": name}, {"tokenizer": tokenizer}) as draft:
            numpy.arange(count, dtype="uint16").tofile(draft.path / "train.bin")
            write_index(draft.path / "train.idx", numpy.full(count // 50, 50, "<i4"), "uint16")
            draft.metrics["train"] = {"documents": count // 50, "tokens": count}
        found.append(load(root / name))
    return found


def write(path: Path, sources: list[dict[str, Any]] | Any, **more: Any) -> Path:
    path.write_text(json.dumps({"name": "mix", "sources": sources, **more}))
    return path


def drawn_by_megatron(folders: list[str], shares: list[float], sequences: int, cache: str, report: Any) -> list[int]:
    """Sequences of each dataset among the first that a real BlendedDataset gives, as a run reads them."""
    import numpy
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

    class Tokenizer:
        eod, pad, vocab_size, unique_identifiers = 1, 2, 65_000, {"tokenizer": "none"}

    config = GPTDatasetConfig(
        random_seed=1, sequence_length=SEQ_LENGTH, blend_per_split=[(folders, shares), None, None],
        path_to_cache=cache, tokenizer=Tokenizer(), reset_position_ids=False, reset_attention_mask=False,
        eod_mask_loss=False, mid_level_dataset_surplus=0.05,
    )  # fmt: skip
    builder = BlendedMegatronDatasetBuilder(GPTDataset, [sequences, None, None], lambda: True, config)
    train = builder.build()[0]
    read = [int(train[index]["dataset_id"]) for index in range(sequences)]
    return numpy.bincount(read, minlength=len(folders)).tolist()


@pytest.mark.parametrize("typed", [[0.7, 0.2, 0.1], [1.0, 1.0, 1.0], [0.55, 0.41, 0.04]])
def test_the_explained_sequences_are_those_that_megatron_core_draws(
    typed: list[float], sources: list[Artifact], tmp_path: Path
) -> None:
    parts = [Part(tokens, share) for tokens, share in zip(sources, typed, strict=True)]
    seen = explain(parts, 997 * SEQ_LENGTH, SEQ_LENGTH)
    folders = [str(tokens.path / "train") for tokens in sources]
    shares = [part.share for part in blended(parts)]
    drawn = run_with_megatron(drawn_by_megatron, folders, shares, 997, str(tmp_path))
    assert [row.sequences for row in seen] == drawn
    assert [row.tokens for row in seen] == [count * SEQ_LENGTH for count in drawn]


def test_each_source_gets_its_share_to_within_a_sequence_or_two() -> None:
    shares = [0.4, 0.3, 0.2, 0.05, 0.03, 0.02]
    for sequences in (1, 7, 100, 12_345):
        taken = draws(shares, sequences)
        assert sum(taken) == sequences
        assert all(abs(count - share * sequences) < 2 for count, share in zip(taken, shares, strict=True))


def test_a_trillion_tokens_take_seconds() -> None:
    draws([0.5, 0.5], 1)
    started = time.monotonic()
    assert sum(draws([0.6, 0.2, 0.1, 0.1], 10**12 // 8192)) == 10**12 // 8192
    assert time.monotonic() - started < 30


def test_epochs_are_tokens_seen_over_tokens_held_and_many_are_warned_of(sources: list[Artifact]) -> None:
    parts = [Part(sources[0], 0.5, "web"), Part(sources[2], 0.5, "code")]
    seen = explain(parts, 32_000, SEQ_LENGTH)
    assert [row.epochs for row in seen] == [0.8, 16.0]
    lines = list(described(seen, SEQ_LENGTH))
    assert "1,000 sequences of 32 tokens" in lines
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "code is read 16.0 times" in warning and "a share of 0.12 at most" in warning  # 4 x 1,000 of 32,000


def test_four_epochs_are_not_warned_of(sources: list[Artifact]) -> None:
    seen = explain([Part(sources[2])], 4_000, 8)
    assert seen[0].epochs == 4.0
    assert not [line for line in described(seen, 8) if line.startswith("warning")]


def test_a_file_of_weights_is_a_blend_wherever_it_lies(sources: list[Artifact], tmp_path: Path) -> None:
    path = tmp_path / "blend.yaml"
    web, books = (os.path.relpath(tokens.path, tmp_path) for tokens in sources[:2])
    write(path, [{"name": "web", "tokens": web, "weight": 0.75}, {"tokens": books, "weight": 0.25}])
    parts = blended(parse_parts([str(path)]))
    assert [(part.name, part.share) for part in parts] == [("web", 0.75), ("books", 0.25)]
    assert [part.tokens.sha256 for part in parts] == [tokens.sha256 for tokens in sources[:2]]


def test_epochs_become_shares_by_what_the_sources_hold(sources: list[Artifact], tmp_path: Path) -> None:
    listed = [{"name": tokens.path.name, "tokens": str(tokens.path), "epochs": epochs}
              for tokens, epochs in zip(sources, (1, 2, 4), strict=True)]  # fmt: skip
    parts = read_blend_file(write(tmp_path / "blend.json", listed))
    seen = explain(parts, 34_000, 8)  # 20,000 once, 5,000 twice, 1,000 four times
    assert [round(row.epochs, 2) for row in seen] == [1.0, 2.0, 4.0]


def test_a_file_may_be_one_part_of_a_blend(sources: list[Artifact], tmp_path: Path) -> None:
    path = tmp_path / "blend.yaml"
    write(path, [{"tokens": str(sources[0].path), "weight": 3}, {"tokens": str(sources[1].path), "weight": 1}])
    parts = blended(parse_parts([f"{path}=0.5", f"{sources[2].path}=0.5"]))
    assert [part.share for part in parts] == [0.375, 0.125, 0.5]


@pytest.mark.parametrize(
    ("sources_of", "more", "told"),
    [
        ([], {}, "no sources"),
        ("web", {}, "no sources"),
        (["web"], {}, "source 1 .* is no mapping"),
        ([{"name": "a", "weight": 1}], {}, "no tokens, source 1"),
        ([{"tokens": "web"}], {}, "neither weight and epochs, source 1"),
        ([{"tokens": "web", "weight": 1, "epochs": 1}], {}, "both weight and epochs"),
        ([{"tokens": "web", "weight": -1}], {}, "weight -1 is no positive number"),
        ([{"tokens": "web", "weight": "much"}], {}, "'much' is no positive number"),
        ([{"tokens": "web", "weight": True}], {}, "True is no positive number"),
        ([{"tokens": "web", "epochs": float("inf")}], {}, "is no positive number"),
        ([{"tokens": "web", "share": 1}], {}, "unknown key 'share'"),
        ([{"tokens": "web", "weight": 1}], {"tokens": 5}, "unknown key 'tokens'"),
        ([{"tokens": "nowhere", "weight": 1}], {}, "no finished tokens"),
        ([{"tokens": "web", "weight": 1}, {"tokens": "books", "epochs": 1}], {}, "weights and epochs mixed"),
        ([{"tokens": "web", "weight": 1}, {"tokens": "web", "weight": 1}], {}, "two sources are called 'web'"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_blend_is_refused_in_one_line(
    sources_of: Any, more: dict[str, Any], told: str, sources: list[Artifact]
) -> None:
    path = write(sources[0].path.parent / "bad.json", sources_of, **more)
    with pytest.raises(GlideError, match=told) as error:
        parse_parts([str(path)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "\x00", "- 1", "5", "", "a: b: c", "[" * 1_500])
def test_text_that_is_no_yaml_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "blend.yaml").write_text(text)
    with pytest.raises(GlideError) as error:
        parse_parts([str(tmp_path / "blend.yaml")])
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="no blend file"):
        parse_parts([str(tmp_path / "blend.yaml")])


def test_counts_are_read_as_people_write_them() -> None:
    counted = [count_of(text) for text in ("60B", "1.5T", "1e9", "4096", "20k")]
    assert counted == [60 * 10**9, 1_500 * 10**9, 10**9, 4096, 20_000]
    for text in ("", "many", "-5", "1e", "nan", "5 B", "٣"):
        with pytest.raises(GlideError, match="as a number of tokens"):
            count_of(text)


def test_tokens_that_two_parts_name_are_read_for_both(sources: list[Artifact]) -> None:
    web, books, _ = sources
    seen = explain([Part(web, 0.5), Part(books, 0.25), Part(books, 0.25, "again")], 40_000, SEQ_LENGTH)
    assert [round(row.epochs, 1) for row in seen] == [1.0, 4.0, 4.0]
    assert [round(row.tokens / row.held, 1) for row in seen] == [1.0, 2.0, 2.0]
    lines = list(described(seen, SEQ_LENGTH))
    assert "25,000" in lines[-2], "held is counted once"
    warned = list(described(explain([Part(books), Part(books)], 40_000, SEQ_LENGTH), SEQ_LENGTH))
    assert sum("warning" in line for line in warned) == 1 and "read 8.0 times" in warned[-1]
