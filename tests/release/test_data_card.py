"""The data card says what the artifacts say, no more; the Hub reads it; nothing in an address becomes markup."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from small_release_corpus import HOSTILE_URL, release_corpus
from small_run import seal

from curator_pipelines.shards import write_shards
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.release.data_card import DataCardConfig, beside, write_data_card
from glide_nemo.release.distribution import by_octave, by_step, quantile
from glide_nemo.release.hub_metadata import hub_license


@pytest.fixture
def corpus(tmp_path: Path) -> Artifact:
    return release_corpus(tmp_path / "run" / "corpus")


def card(tmp_path: Path, *corpora: Artifact, config: DataCardConfig | None = None, measured: tuple = ()) -> str:
    made = write_data_card(config or DataCardConfig(), corpora, tmp_path / "card", measured, force=True)
    return (made.path / "README.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def test_the_hub_reads_its_metadata(corpus: Artifact, tmp_path: Path) -> None:
    made = write_data_card(DataCardConfig("Small"), [corpus], tmp_path / "card")
    data = DatasetCard.load(made.path / "README.md", ignore_metadata_errors=False).data
    assert data.language == ["en", "de"]
    assert data.license == ["cc-by-sa-4.0", "other"]
    assert data.license_name == "PSF-2.0"
    assert data.size_categories == ["n<1K"]
    assert data.task_categories == ["text-generation"]
    assert data.pretty_name == "Small"
    (config,) = data.configs
    assert [file["path"] for file in config["data_files"]] == ["train/*.parquet", "heldout/*.parquet"]


def test_every_figure_comes_from_the_ledgers(corpus: Artifact, tmp_path: Path) -> None:
    text = card(tmp_path, corpus)
    assert "100 documents, 25.2 kB" in text  # 5 + 10 + ... + 500 bytes
    assert "| books | 25 |" in section(text, "Sources")
    assert "| repeated paragraphs | 140 | 70.0 % | 5,000 B |" in section(text, "Curation")
    assert "| exact duplicates | 47 | 25.00 % | 2,300 B | 27.71 % |" in section(text, "Deduplication")
    assert "| near duplicates | 40 | 28.57 % |" in section(text, "Deduplication")
    assert "| repeated paragraphs | 1 | 0.71 % | 1,000 B | 16.67 % |" in section(text, "Deduplication")
    reasons = section(text, "Why documents left")
    assert "| quality | symbols | 4 | 200 B | 0.250 to 3.25 |" in reasons
    assert reasons.count("`quality0") == 3 and "`quality03`" not in reasons  # three examples of each reason
    assert "10 documents were left out at their owners' wish: domain 10" in section(text, "Opt-out")
    private = section(text, "Personal data and secrets")
    assert "| redact pii | email | 1,234 |" in private and "| redact secrets | aws key | 3 |" in private
    assert "lines" not in private and "| c4 | lines | 77 |" in section(text, "What else was counted")
    assert "| gsm8k | 3 | 2 | 70 % | 1 | 2 |" in section(text, "Contamination by benchmarks")
    spread = section(text, "Distributions")
    assert "| bytes | 100 | 25 | 125 | 250 | 375 | 475 |" in spread
    assert "| 128 | 256 | 26 |" in spread  # documents of 130 to 255 bytes
    assert "| toxicity | 100 | 0.0100 |" in spread
    assert "quality" not in spread  # no document has that score
    assert "| head | 50 |" in spread and "| tail | 50 |" in spread


def test_no_text_of_documents_items_or_those_who_opted_out_is_in_it(corpus: Artifact, tmp_path: Path) -> None:
    text = card(tmp_path, corpus)
    assert "wort" not in text and "SECRET SPAN" not in text and "private.example" not in text


def test_a_changed_artifact_changes_the_card(corpus: Artifact, tmp_path: Path) -> None:
    before = card(tmp_path, corpus)
    assert card(tmp_path, corpus) == before

    def more_mail(metrics: dict) -> None:
        metrics["counts"]["redact_pii"]["email"] = 98_765
        metrics["funnel"][-1]["documents"] = 99

    after = card(tmp_path, release_corpus(tmp_path / "other" / "corpus", more_mail))
    assert "98,765" in after and "98,765" not in before
    assert "| near duplicates | 99 | 49.5 % |" in after


def test_equal_artifacts_give_equal_bytes(corpus: Artifact, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "run", tmp_path / "copy" / "run")
    first = write_data_card(DataCardConfig(), [corpus], tmp_path / "a")
    second = write_data_card(DataCardConfig(), [corpus], tmp_path / "b")
    assert first.sha256 == second.sha256


def test_what_was_not_looked_for_is_said_to_be_so(tmp_path: Path) -> None:
    def bare(metrics: dict) -> None:
        del metrics["counts"]
        metrics["funnel"] = metrics["funnel"][:1]

    corpus = release_corpus(tmp_path / "corpus", bare)
    shutil.rmtree(corpus.path / "contamination")
    (corpus.path / "rejections" / "00000.parquet").unlink()
    text = card(tmp_path, corpus)
    assert "Not looked for" in section(text, "Personal data and secrets")
    assert "Not looked for" in section(text, "Contamination by benchmarks")
    assert "No opt-out list was applied" in section(text, "Opt-out")
    assert "No document did" in section(text, "Why documents left")


def test_what_was_looked_for_and_not_found_is_said_to_be_so(tmp_path: Path) -> None:
    def nothing_found(metrics: dict) -> None:
        metrics["counts"] = {}

    text = card(tmp_path, release_corpus(tmp_path / "corpus", nothing_found))
    assert "redact pii looked for them, and found none" in section(text, "Personal data and secrets")


def test_addresses_and_reasons_stay_text(corpus: Artifact, tmp_path: Path) -> None:
    text = card(tmp_path, corpus, config=DataCardConfig(name="a|b <b>*c*</b>\n# d\x1b[0m"))
    assert "\n# Owned" not in text and "\n# d" not in text and "\x1b" not in text
    assert HOSTILE_URL not in text
    rows = [line for line in text.splitlines() if line.startswith("| exact duplicate | `")]
    assert rows and all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)  # four cells
    assert all(row.count("`") == 4 for row in rows)
    assert "# a\\|b &lt;b>\\*c\\*" in text
    DatasetCard(text)


def test_several_corpora_are_configs_of_one_card(corpus: Artifact, tmp_path: Path) -> None:
    other = release_corpus(tmp_path / "german" / "corpus", count=50)
    text = card(tmp_path, corpus, other)
    assert "150 documents" in text and "in 2 corpora" in text
    assert [config["config_name"] for config in DatasetCard(text).data.configs] == ["run", "german"]
    assert "| german |" in section(text, "Provenance") and "Corpus german" in text


def test_fertility_is_stated_of_what_lies_beside(corpus: Artifact, tmp_path: Path) -> None:
    run = tmp_path / "run"
    split = {"tokens": 7_000, "bytes_per_token": 3.25, "tokens_per_word": 1.5, "byte_token_share": 0.01}
    tokenizer = seal(
        run / "tokenizer", "tokenizer", {"vocab_size": 4096, "fertility": {"train": split}}, "", corpus=corpus
    )
    seal(run / "stranger", "tokenizer", {"vocab_size": 1}, "")
    found = beside([corpus])
    assert [artifact.sha256 for artifact in found] == [tokenizer.sha256]
    row = "| tokenizer | run | train | 4,096 | 7,000 | 3.250 | 1.500 | 1.00 % |"
    assert row in section(card(tmp_path, corpus, measured=tuple(found)), "Tokenizer")


def test_its_numbers_are_metrics_for_the_report(corpus: Artifact, tmp_path: Path) -> None:
    made = write_data_card(DataCardConfig(), [corpus], tmp_path / "card")
    assert made.metrics["documents"] == 100
    (facts,) = made.metrics["corpora"]
    assert facts["sha256"] == corpus.sha256
    assert sum(facts["distributions"]["bytes"]["counts"]) == 100


def test_what_makes_no_card_is_refused_in_one_line(corpus: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "card"
    with pytest.raises(GlideError, match="no corpus"):
        write_data_card(DataCardConfig(), [], out)
    with pytest.raises(GlideError, match="given twice"):
        write_data_card(DataCardConfig(), [corpus, corpus], out)
    with pytest.raises(GlideError, match="measures no text"):
        write_data_card(DataCardConfig(), [corpus], out, [corpus])
    with pytest.raises(GlideError, match="is negative"):
        write_data_card(DataCardConfig(examples=-1), [corpus], out)
    (corpus.path / "train" / "00000.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(GlideError, match="cannot read the files") as error:
        write_data_card(DataCardConfig(), [corpus], out)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spdx", "hub"),
    [("CC-BY-SA-4.0", "cc-by-sa-4.0"), ("GPL-3.0-or-later", "gpl-3.0"), ("ODC-By-1.0", "odc-by"), ("", "unknown"),
     ("PSF-2.0", "other"), ("MIT OR Apache-2.0", "other"), ("LGPL-2.1-only", "lgpl-2.1")],
)  # fmt: skip
def test_licences_go_by_the_hubs_names(spdx: str, hub: str) -> None:
    assert hub_license(spdx) == hub


def test_bins_hold_what_falls_between_their_edges() -> None:
    spread = by_octave([(0, 1), (1, 1), (3, 2), (4, 1), (15, 1), (16, 1)])
    assert spread["edges"] == [1, 2, 4, 8, 16, 32] and spread["counts"] == [2, 2, 1, 1, 1]
    spread = by_step([(0.05, 1), (0.15, 2), (0.999, 1), (1.0, 1)])
    assert spread["edges"][0] == 0.05 and spread["counts"][:3] == [1, 0, 2] and spread["counts"][-1] == 2
    assert by_step([]) == {}


def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed() -> None:
    assert [quantile([(1, 1), (2, 2), (9, 1)], share) for share in (0.25, 0.26, 0.75, 0.76, 1.0)] == [1, 2, 2, 9, 9]


def test_a_corpus_in_json_lines_has_the_card_of_the_same_corpus_in_parquet(corpus: Artifact, tmp_path: Path) -> None:
    """But for the endings of its files; ids of 32 digits stay as they are."""
    expected = card(tmp_path, corpus)
    for folder in ("train", "heldout"):
        path = corpus.path / folder / "00000.parquet"
        table = pq.read_table(path)
        write_shards(corpus.path / folder, table.schema, iter(table.to_batches()), "jsonl.zst")
        path.unlink()
    shutil.rmtree(tmp_path / "card")
    again = card(tmp_path, corpus)
    assert "train/*.jsonl.zst" in again
    assert again.replace("jsonl.zst", "parquet") == expected
    (corpus.path / "train" / "00000.jsonl.zst").write_bytes(b"{}")
    shutil.rmtree(tmp_path / "card")
    with pytest.raises(GlideError, match="cannot read the files of"):
        card(tmp_path, corpus)
