"""Curates WARC files and reads back what the corpus holds and what its ledger says left."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from curator_pipelines.curate import curate
from curator_pipelines.english import nano
from glide_nemo.artifact import Artifact
from glide_nemo.config import apply_overrides
from glide_nemo.crawl.crawl import CrawlConfig, crawl

CHANGE_TEXT = (
    "extract_html",
    "fix_text",
    "drop_repeated_blocks",
    "decontaminate",
    "redact_secrets",
    "redact_pii",
    "repeated_paragraphs",
)  # stages after which the same documents have other sizes


def curate_files(out: Path, files: Sequence[Path], *overrides: str) -> Artifact:
    """The nano corpus of WARC files, in this process unless overridden."""
    config = apply_overrides(nano(), ["workers=1", *overrides])
    return curate(config, crawl(CrawlConfig(), out.with_name(f"{out.name}.crawl"), warcs=files), out)


def split_of(corpus: Artifact, split: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted((corpus.path / split).glob("*.parquet"))])


def documents_of(corpus: Artifact) -> pd.DataFrame:
    return pd.concat([split_of(corpus, "train"), split_of(corpus, "heldout")], ignore_index=True)


def rejections_of(corpus: Artifact) -> pd.DataFrame:
    return split_of(corpus, "rejections")


def reason_by_url(corpus: Artifact) -> dict[str, str]:
    lost = rejections_of(corpus)
    return dict(zip(lost["url"], lost["reason"], strict=True))


def assert_balanced(corpus: Artifact) -> None:
    """Each page that came in was kept or is in the ledger, stage by stage, in documents and in bytes."""
    funnel: list[dict[str, Any]] = corpus.metrics["funnel"]
    lost = rejections_of(corpus)
    assert funnel[0]["stage"] == "crawled"
    for before, after in pairwise(funnel):
        gone = lost[lost["stage"] == after["stage"]]
        assert after["documents"] == before["documents"] - len(gone), after
        if after["stage"] not in CHANGE_TEXT:
            assert after["bytes"] == before["bytes"] - gone["bytes"].sum(), after
    assert set(lost["stage"]) <= {row["stage"] for row in funnel}
    kept = documents_of(corpus)
    assert funnel[0]["documents"] == len(kept) + len(lost)
    assert funnel[-1]["documents"] == len(kept)
    assert funnel[-1]["bytes"] == kept["text"].map(lambda text: len(text.encode())).sum()
    counted = {(row["stage"], row["reason"]): (row["documents"], row["bytes"]) for row in corpus.metrics["rejections"]}
    ledger = {key: (len(rows), rows["bytes"].sum()) for key, rows in lost.groupby(["stage", "reason"])}
    assert counted == ledger
    assert {name: split["documents"] for name, split in corpus.metrics["split"].items()} == {
        name: len(split_of(corpus, name)) for name in ("train", "heldout")
    }
