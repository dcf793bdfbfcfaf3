"""A corpus in numbers, from its artifact alone: what it is made of, what left it and why, how its documents spread.

DuckDB reads the columns and gives back counts only, so memory does not grow with the corpus. No text is in the numbers.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import Artifact
from glide_nemo.corpus import SPLITS
from glide_nemo.errors import GlideError
from glide_nemo.release.distribution import by_octave, by_step

if TYPE_CHECKING:
    import duckdb

MEMORY = "1GB"
OPT_OUT = "opt_out"  # the stage that takes out what its owners asked for
PRIVATE = re.compile("pii|secret")  # in the name of a stage: what it counts is redacted personal data or secrets
REPETITION = re.compile("duplicates|paragraphs|repeated_blocks")
LISTED = 50  # sources, licences and languages named one by one, largest first
SCORES = ("language_score", "quality", "toxicity")  # between 0 and 1
NUMBERS = dict.fromkeys((*SCORES, "perplexity"), "DOUBLE")  # of JSON lines; the other columns are text
MAX_LINE = 32 << 20  # bytes of one document as JSON, three times the largest page; each thread holds two of them
JSON_THREADS = 4
ROUNDING = 3  # decimals of a score: what distributions tell apart


def corpus_facts(corpus: Artifact, name: str, examples: int) -> dict[str, Any]:
    """What a data card says of a corpus, as JSON; `examples` rejected documents for each reason.

    Raises GlideError where a file of it cannot be read.
    """
    import duckdb
    import zstandard

    metrics, counts = corpus.metrics, corpus.metrics.get("counts", {})
    stated = {
        "name": name,
        "sha256": corpus.sha256,
        "summary": corpus.summary,
        "pipeline": corpus.config.get("pipeline"),
        "glide_version": corpus.record["glide_version"],
        "format": "jsonl.zst" if any(corpus.path.glob("train/*.jsonl.zst")) else "parquet",  # of its documents
        "funnel": metrics.get("funnel", []),
        "split": metrics.get("split", {}),
        "stages": [row["stage"] for row in metrics.get("funnel", [])],
        "redacting": [row["stage"] for row in metrics.get("funnel", []) if PRIVATE.search(row["stage"])],
        "redacted": {stage: what for stage, what in counts.items() if PRIVATE.search(stage)},
        "counted": {stage: what for stage, what in counts.items() if not PRIVATE.search(stage)},
        "deduplication": deduplication(metrics.get("funnel", [])),
    }
    try:
        with duckdb.connect(config={"memory_limit": MEMORY}) as database:
            columns = _open(database, "documents", [corpus.path / split for split in SPLITS])
            for plural, column in (("sources", "source"), ("licenses", "license"), ("languages", "language")):
                stated[plural] = _groups(database, column) if column in columns else []
            _open(database, "rejections", [corpus.path / "rejections"])
            stated["rejections"] = _rejections(database, examples) if _there(database, "rejections") else []
            _open(database, "contamination", [corpus.path / "contamination"])
            stated["contamination"] = _contamination(database) if _there(database, "contamination") else None
            stated["distributions"] = _distributions(database, columns)
            if "perplexity_bucket" in columns:
                stated["perplexity_buckets"] = _groups(database, "perplexity_bucket", "perplexity_bucket IS NOT NULL")
    except (duckdb.Error, zstandard.ZstdError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise GlideError(f"cannot read the files of {corpus.path} ({reason}): curate the corpus again") from None
    return stated


def deduplication(funnel: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each stage that looks for repetition took: shares of the documents and bytes that came to it."""
    rows = []
    for before, after in pairwise(funnel):
        if REPETITION.search(after["stage"]):
            lost = {what: before[what] - after[what] for what in ("documents", "bytes")}
            shares = {f"{what}_share": lost[what] / max(1, before[what]) for what in lost}
            rows.append({"stage": after["stage"], **lost, **shares})
    return rows


def _open(database: duckdb.DuckDBPyConnection, view: str, folders: Sequence[Path]) -> list[str]:
    """Makes a view of the shards in folders; the names of its columns, none where there is no row or file."""
    if packed := [path for folder in folders for path in sorted(folder.glob("*.jsonl.zst"))]:
        columns = _columns(packed)
        if columns:
            files = [str(path) for path in packed]
            database.execute(f"SET threads = {JSON_THREADS}")
            database.read_json(
                files, columns=columns, format="newline_delimited", compression="zstd", maximum_object_size=MAX_LINE
            ).create_view(view)
        return list(columns)
    files = [str(path) for folder in folders for path in sorted(folder.glob("*.parquet"))]
    if not files:
        return []
    database.read_parquet(files, union_by_name=True, hive_partitioning=False).create_view(view)
    return database.table(view).columns


def _columns(files: Sequence[Path]) -> dict[str, str]:
    """Of JSON lines: each column and its type, by name. DuckDB's own guess would take an id for a UUID."""
    import zstandard

    for path in files:
        with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
            if line := io.TextIOWrapper(plain, encoding="utf-8", newline="\n").readline():
                return {name: NUMBERS.get(name, "VARCHAR") for name in json.loads(line)}
    return {}


def _there(database: duckdb.DuckDBPyConnection, view: str) -> bool:
    return bool(database.sql("SHOW TABLES").filter(f"name = '{view}'").fetchall())


def _rows(database: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = database.sql(query)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _groups(database: duckdb.DuckDBPyConnection, column: str, where: str = "true") -> list[dict[str, Any]]:
    """Documents and bytes for each value, most bytes first; those past `LISTED` together, as how many they are."""
    rows = _rows(
        database,
        f"""SELECT coalesce({column}, '') AS name, count(*) AS documents, sum(strlen(text))::BIGINT AS bytes
            FROM documents WHERE {where} GROUP BY ALL ORDER BY bytes DESC, name""",
    )
    rest = rows[LISTED:]
    if rest:
        summed = {what: sum(row[what] for row in rest) for what in ("documents", "bytes")}
        rows[LISTED:] = [{"name": f"{len(rest):,} more", **summed}]
    return rows


def _rejections(database: duckdb.DuckDBPyConnection, examples: int) -> list[dict[str, Any]]:
    """Each reason with its range of scores and the rejected documents of lowest id, but those that opted out."""
    rows = _rows(
        database,
        f"""SELECT stage, reason, count(*) AS documents, sum(bytes)::BIGINT AS bytes,
                   min(score) AS low, max(score) AS high,
                   min(struct_pack(id := id, url := url, score := score), {max(1, examples)}) AS examples
            FROM rejections GROUP BY stage, reason ORDER BY documents DESC, stage, reason""",
    )
    for row in rows:
        if not examples or row["stage"] == OPT_OUT:
            row["examples"] = []
    return rows


def _contamination(database: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Each benchmark: documents and items that share text, the largest overlap, and what was taken out for it."""
    return _rows(
        database,
        """SELECT benchmark, count(DISTINCT id) AS documents, count(DISTINCT item) AS matched, max(overlap) AS overlap,
                  count(DISTINCT id) FILTER (removed = 'document') AS documents_removed,
                  count(DISTINCT id) FILTER (removed = 'passage') AS documents_cut
           FROM contamination GROUP BY benchmark ORDER BY documents DESC, benchmark""",
    )


def _distributions(database: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> dict[str, Any]:
    """Length in bytes, and each score that any document has, as histograms with quantiles."""
    found = {}
    if "text" in columns:
        found["bytes"] = by_octave(_counted(database, "strlen(text)"))
    if "perplexity" in columns:
        found["perplexity"] = by_octave(_counted(database, "round(perplexity)"))
    for score in SCORES:
        if score in columns:
            found[score] = by_step(_counted(database, f"round({score}, {ROUNDING})"))
    return {name: spread for name, spread in found.items() if spread}


def _counted(database: duckdb.DuckDBPyConnection, value: str) -> list[tuple[float, int]]:
    """Each finite value and how many documents have it, smallest first."""
    return database.sql(
        f"""SELECT value, count(*) FROM (SELECT ({value})::DOUBLE AS value FROM documents)
            WHERE isfinite(value) GROUP BY value ORDER BY value"""
    ).fetchall()
