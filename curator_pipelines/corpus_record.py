"""The account of a curation: the two ledgers as parquet, the funnel and what stages counted as metrics."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.config import CurationConfig
from curator_pipelines.ledger import CONTAMINATION, COUNTS, FUNNEL, REJECTIONS, Rejection
from curator_pipelines.stages.hold_out import HELDOUT, TRAIN
from curator_pipelines.stages.partition_files import record_path
from curator_pipelines.stages.write_corpus import CONTAMINATION_SCHEMA, LEDGER_SCHEMA, write_shards
from glide_nemo.artifact import Draft
from glide_nemo.errors import GlideError

TOP = 4  # reasons that an error names


def conclude_corpus(
    config: CurationConfig, draft: Draft, batch: DocumentBatch, work: Path, partitions: int, seconds: float
) -> None:
    """Writes `rejections/` and fills the draft's metrics and summary.

    Raises GlideError where the WARC files held no page, or fewer than two documents are left.
    """
    records = [json.loads(record_path(work, index).read_text(encoding="utf-8")) for index in range(partitions)]
    lost = [Rejection(*row) for record in records for row in record[REJECTIONS]] + list(batch._metadata[REJECTIONS])
    funnel = _funnel(records, batch)
    reasons = _reasons(lost)
    _refuse_nothing(funnel, reasons, _sum(record["records"] for record in records), batch.num_items)
    lost.sort(key=lambda row: (row.id, row.stage, row.reason, row.url))
    _write_ledger(draft.path / REJECTIONS, LEDGER_SCHEMA, map(dataclasses.astuple, lost))
    contaminated = sorted(tuple(row) for record in records for row in record[CONTAMINATION])
    _write_ledger(draft.path / CONTAMINATION, CONTAMINATION_SCHEMA, contaminated)

    left = batch.to_pandas()
    splits = {
        split: {"documents": len(chosen), "bytes": int(chosen["bytes"].sum())}
        for split, chosen in ((name, left[left["split"] == name]) for name in (TRAIN, HELDOUT))
    }
    stage_seconds = _sum(record["seconds"] for record in records)
    stage_seconds.update({stats.stage_name: stats.process_time for stats in batch._stage_perf})
    draft.metrics.update(
        funnel=funnel,
        rejections=reasons,
        counts=_counts([*(record[COUNTS] for record in records), batch._metadata[COUNTS]]),
        contaminated=len({id_ for id_, *_ in contaminated}),
        split=splits,
        records=_sum(record["records"] for record in records),
        documents_per_second=round(funnel[0]["documents"] / seconds, 1),
        seconds=round(seconds, 1),
        stage_seconds={name: round(value, 2) for name, value in stage_seconds.items()},
        executor=config.executor,
        partitions=partitions,
    )
    total = sum(split["bytes"] for split in splits.values())
    draft.summary = (
        f"{len(left):,} of {funnel[0]['documents']:,} pages kept, {total / 1e6:,.1f} MB of text, "
        f"{splits[HELDOUT]['documents']:,} held out"
    )


def _write_ledger(folder: Path, schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> None:
    named = [dict(zip(schema.names, row, strict=True)) for row in rows]
    write_shards(folder, schema, iter(pa.Table.from_pylist(named, schema).to_batches()))


def _counts(counted: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """What each stage counted, summed over the partitions and sorted."""
    total: dict[str, Counter] = {}
    for of_stages in counted:
        for stage, counts in of_stages.items():
            total.setdefault(stage, Counter()).update(counts)
    return {stage: dict(sorted(counts.items())) for stage, counts in sorted(total.items())}


def _funnel(records: list[dict[str, Any]], batch: DocumentBatch) -> list[dict[str, Any]]:
    """What is left after each stage; the quality filters are one stage, as their reasons are listed by themselves."""
    documents, size = Counter(), Counter()
    order: dict[str, None] = {}
    for record in records:
        for stage, count, bytes_ in record[FUNNEL]:
            order.setdefault(stage)
            documents[stage] += count
            size[stage] += bytes_
    for stage, count, bytes_ in batch._metadata[FUNNEL]:
        order.setdefault(stage)
        documents[stage], size[stage] = count, bytes_
    rows: dict[str, dict[str, Any]] = {}
    for stage in order:
        name = stage.split(":")[0]
        rows.pop(name, None)  # the last filter of a group says what the group leaves
        rows[name] = {"stage": name, "documents": documents[stage], "bytes": size[stage]}
    return list(rows.values())


def _reasons(lost: list[Rejection]) -> list[dict[str, Any]]:
    """How much left for each reason, most documents first."""
    documents, size = Counter(), Counter()
    for row in lost:
        documents[row.stage, row.reason] += 1
        size[row.stage, row.reason] += row.bytes
    ordered = sorted(documents, key=lambda key: (-documents[key], key))
    return [
        {"stage": stage, "reason": reason, "documents": documents[stage, reason], "bytes": size[stage, reason]}
        for stage, reason in ordered
    ]


def _refuse_nothing(
    funnel: list[dict[str, Any]], reasons: list[dict[str, Any]], records: dict[str, int], left: int
) -> None:
    crawled = funnel[0]["documents"]
    if not crawled:
        held = ", ".join(f"{count} {kind}" for kind, count in sorted(records.items())) or "no"
        raise GlideError(f"the crawl holds no page, only {held} records: pass WARC files with response records")
    if left < 2:  # one to train on, one to hold out
        top = ", ".join(f"{row['reason']} {row['documents']}" for row in reasons[:TOP])
        raise GlideError(
            f"of {crawled} pages {left or 'none'} is left as a document, lost to {top}: "
            "pass more pages, or loosen the thresholds (glide curate --dry-run lists them)"
        )


def _sum(counts: Any) -> dict[str, Any]:
    total: Counter = Counter()
    for count in counts:
        total.update(count)
    return dict(total)
