"""A corpus as the whole pipeline would leave it, in miniature: every ledger, every score, addresses that mean harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from glide_nemo.artifact import Artifact, create, load

HOSTILE_URL = "http://x.example/`|<script>alert(1)</script>\n# Owned"
FUNNEL = (
    ("crawled", 200, 9_000), ("opt_out", 190, 8_500), ("redact_pii", 190, 8_400), ("decontaminate", 188, 8_300),
    ("exact_duplicates", 141, 6_000), ("repeated_paragraphs", 140, 5_000), ("near_duplicates", 100, 4_000),
)  # fmt: skip


def documents(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{number:032x}",
            "text": "wort " * (number + 1),  # 5, 10, ... bytes
            "url": f"http://a.example/{number}",
            "source": "web" if number % 4 else "books",
            "language": "en" if number % 5 else "de",
            "license": "CC-BY-SA-4.0" if number % 2 else "PSF-2.0",
            "language_score": number / count,
            "perplexity": 100.0 + number,
            "perplexity_bucket": "head" if number < count // 2 else "tail",
            "quality": None,
            "toxicity": 0.01,
        }
        for number in range(count)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def release_corpus(
    out: Path, change: Callable[[dict[str, Any]], None] = lambda metrics: None, count: int = 100
) -> Artifact:
    """Documents, 10 of them held out. `change` alters the metrics before they are sealed."""
    with create(out, "corpus", {"pipeline": "curator_pipelines.english"}) as draft:
        rows = documents(count)
        write(out / "train" / "00000.parquet", rows[:-10])
        write(out / "heldout" / "00000.parquet", rows[-10:])
        lost = [("opt_out", "domain", 10), ("exact_duplicates", "exact_duplicate", 47),
                ("quality", "symbols", 4)]  # fmt: skip
        ledger = [
            {"id": f"{stage}{number:02}", "url": HOSTILE_URL if stage != "opt_out" else "http://private.example/",
             "stage": stage, "reason": reason, "score": 0.25 + number if stage == "quality" else None, "bytes": 50}
            for stage, reason, count in lost for number in range(count)
        ]  # fmt: skip
        write(out / "rejections" / "00000.parquet", ledger)
        write(
            out / "contamination" / "00000.parquet",
            [
                {"id": f"c{number}", "url": "http://a.example", "benchmark": "gsm8k", "item": str(number // 2),
                 "span": "SECRET SPAN", "overlap": 0.5 + number / 10, "removed": "passage" if number else "document"}
                for number in range(3)
            ],
        )  # fmt: skip
        metrics: dict[str, Any] = {
            "funnel": [{"stage": stage, "documents": count, "bytes": size} for stage, count, size in FUNNEL],
            "rejections": [{"stage": "quality", "reason": "symbols", "documents": 4, "bytes": 200}],
            "counts": {"redact_pii": {"email": 1_234, "iban": 2}, "redact_secrets": {"aws_key": 3},
                       "c4": {"lines": 77}},
            "split": {
                name: {"documents": len(part), "bytes": sum(len(row["text"]) for row in part)}
                for name, part in (("train", rows[:-10]), ("heldout", rows[-10:]))
            },
        }  # fmt: skip
        change(metrics)
        draft.metrics.update(metrics)
        draft.summary = "100 of 200 pages kept"
    return load(out)
