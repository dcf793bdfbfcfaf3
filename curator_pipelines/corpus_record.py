"""The account of a curation: the two ledgers as parquet, the funnel and what stages counted as metrics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.config import CurationConfig
from curator_pipelines.index import LOST, connect, left, lost_path, read_parquet
from curator_pipelines.ledger import CONTAMINATION, COUNTS, FUNNEL, REJECTIONS
from curator_pipelines.schemas import CONTAMINATION_SCHEMA, LEDGER_SCHEMA
from curator_pipelines.shards import ROW_GROUP, write_shards
from curator_pipelines.stages.hold_out import HELDOUT, TRAIN, HoldOut
from curator_pipelines.stages.partition_files import numbered, record_path
from glide_nemo.artifact import Draft
from glide_nemo.errors import GlideError

TOP = 4  # reasons that an error names


def conclude_corpus(
    config: CurationConfig, draft: Draft, done: FileGroupTask, folders: Sequence[Path], partitions: int, seconds: float
) -> None:
    """Writes the ledgers and fills the draft's metrics and summary. `folders`: of the partitions, a pass each.

    Raises GlideError where the input held no page, or fewer than two documents are left.
    """
    totals = _Totals(folders, partitions)
    funnel = totals.funnel(done._metadata[FUNNEL])
    stage_seconds = totals.seconds + Counter({stats.stage_name: stats.process_time for stats in done._stage_perf})
    with connect(folders[-1], config.memory_mb) as database:
        lost = _rejections(folders, done._metadata[LOST])
        reasons = _reasons(database, lost)
        splits = _splits(database, folders[-1])
        _refuse_nothing(funnel, reasons, totals.records, sum(split["documents"] for split in splits.values()))
        order = "id, stage, reason, url, bytes, score"
        _write_ledger(database, draft.path / REJECTIONS, LEDGER_SCHEMA, lost, order)
        tables = [read_parquet(numbered(folder / CONTAMINATION)) for folder in folders]
        contaminated = "(" + " UNION ALL ".join(f"FROM {table}" for table in tables) + ")"
        order = ", ".join(CONTAMINATION_SCHEMA.names)
        _write_ledger(database, draft.path / CONTAMINATION, CONTAMINATION_SCHEMA, contaminated, order)
        ((documents_contaminated,),) = database.sql(f"SELECT count(DISTINCT id) FROM {contaminated}").fetchall()
    draft.metrics.update(
        funnel=funnel,
        rejections=reasons,
        counts=totals.counts(done._metadata[COUNTS]),
        contaminated=documents_contaminated,
        split=splits,
        records=dict(totals.records),
        documents_per_second=round(funnel[0]["documents"] / seconds, 1),
        seconds=round(seconds, 1),
        stage_seconds={name: round(value, 2) for name, value in stage_seconds.items()},
        executor=config.executor,
        deduplication=config.near_duplicates.backend,
        partitions=partitions,
        partitions_by_node=dict(sorted(totals.nodes.items())),
    )
    documents = sum(split["documents"] for split in splits.values())
    total = sum(split["bytes"] for split in splits.values())
    draft.summary = (
        f"{documents:,} of {funnel[0]['documents']:,} pages kept, {total / 1e6:,.1f} MB of text, "
        f"{splits[HELDOUT]['documents']:,} held out"
    )


class _Totals:
    """What the partitions' records add up to, read one at a time."""

    def __init__(self, folders: Sequence[Path], partitions: int) -> None:
        self.records: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.nodes: Counter[str] = Counter()  # partitions that each wrote, in the last pass
        self._counted: dict[str, Counter[str]] = {}
        self._left: dict[str, list[int]] = {}  # of each stage, in order: documents, bytes
        for folder in folders:
            self.nodes.clear()
            for partition in range(partitions):
                self._add(json.loads(record_path(folder, partition).read_text(encoding="utf-8")))

    def _add(self, record: dict[str, Any]) -> None:
        self.records.update(record["records"])
        self.seconds.update(record["seconds"])
        self.nodes[record["node"]] += 1
        self._count(record[COUNTS])
        for stage, documents, size in record[FUNNEL]:
            left_ = self._left.setdefault(stage, [0, 0])
            left_[0] += documents
            left_[1] += size

    def _count(self, of_stages: dict[str, dict[str, int]]) -> None:
        for stage, counts in of_stages.items():
            self._counted.setdefault(stage, Counter()).update(counts)

    def counts(self, of_corpus_stages: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """What each stage counted, sorted."""
        self._count(of_corpus_stages)
        return {stage: dict(sorted(counts.items())) for stage, counts in sorted(self._counted.items())}

    def funnel(self, of_corpus_stages: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
        """What is left after each stage; quality filters are one stage, as their reasons are listed by themselves."""
        stages = [*((stage, *left_) for stage, left_ in self._left.items()), *of_corpus_stages]
        rows: dict[str, dict[str, Any]] = {}
        for stage, documents, size in stages:
            name = stage.split(":")[0]
            rows.pop(name, None)  # the last filter of a group says what the group leaves
            rows[name] = {"stage": name, "documents": documents, "bytes": size}
        return list(rows.values())


def _rejections(folders: Sequence[Path], stages: Sequence[str]) -> str:
    """SQL: the ledger of what left, from the partitions and from the corpus stages."""
    columns = ", ".join(LEDGER_SCHEMA.names)
    parts = [f"SELECT {columns} FROM {read_parquet(numbered(folder / REJECTIONS))}" for folder in folders]
    work = folders[-1]
    parts += [
        f"SELECT id, url, '{stage}' AS stage, reason, score, bytes "
        f"FROM {read_parquet(lost_path(work, stage))} JOIN {left(work, [], 'number, id, url, bytes')} USING (number)"
        for stage in stages
    ]
    return "(" + " UNION ALL ".join(parts) + ")"


def _reasons(database: DuckDBPyConnection, lost: str) -> list[dict[str, Any]]:
    """How much left for each reason, most documents first."""
    rows = database.sql(
        f"SELECT stage, reason, count(*) AS documents, sum(bytes) FROM {lost} "
        "GROUP BY stage, reason ORDER BY documents DESC, stage, reason"
    ).fetchall()
    return [
        {"stage": stage, "reason": reason, "documents": documents, "bytes": int(size)}
        for stage, reason, documents, size in rows
    ]


def _splits(database: DuckDBPyConnection, work: Path) -> dict[str, dict[str, int]]:
    query = f"SELECT split, count(*), sum(bytes) FROM {read_parquet(lost_path(work, HoldOut.name))} GROUP BY split"
    rows = database.sql(query).fetchall()
    found = {split: {"documents": documents, "bytes": int(size)} for split, documents, size in rows}
    return {split: found.get(split, {"documents": 0, "bytes": 0}) for split in (TRAIN, HELDOUT)}


def _write_ledger(database: DuckDBPyConnection, folder: Path, schema: pa.Schema, rows: str, order: str) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        columns = ", ".join(schema.names)
        yield from database.sql(f"SELECT {columns} FROM {rows} ORDER BY {order}").to_arrow_reader(ROW_GROUP)

    write_shards(folder, schema, batches())


def _refuse_nothing(
    funnel: list[dict[str, Any]], reasons: list[dict[str, Any]], records: Counter[str], left_: int
) -> None:
    crawled = funnel[0]["documents"]
    if not crawled:
        held = ", ".join(f"{count} {kind}" for kind, count in sorted(records.items())) or "no"
        raise GlideError(f"the crawl holds no page, only {held} records: pass WARC files with response records")
    if left_ < 2:  # one to train on, one to hold out
        top = ", ".join(f"{row['reason']} {row['documents']}" for row in reasons[:TOP])
        raise GlideError(
            f"of {crawled} pages {left_ or 'none'} is left as a document, lost to {top}: "
            "pass more pages, or loosen the thresholds (glide curate --dry-run lists them)"
        )
