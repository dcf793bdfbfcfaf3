"""`glide decontam report`: what a corpus held of the benchmarks, the worst first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from rich.table import Table

SPAN = 160  # characters of a span that a table shows


def summary(corpus: Artifact) -> Table:
    """A row a benchmark: items hit, documents, how many of them left, the highest overlap; most documents first."""
    rows = _query(
        corpus,
        """
        SELECT benchmark, count(DISTINCT item), count(DISTINCT id), count(DISTINCT id) FILTER (removed = 'document'),
               max(overlap), avg(overlap)
        FROM rows GROUP BY benchmark ORDER BY count(DISTINCT id) DESC, benchmark
        """,
    )
    columns = ("benchmark", "items hit", "documents", "of them removed", "highest overlap", "mean overlap")
    table = _table("Contamination by benchmark", columns)
    for benchmark, items, documents, removed, highest, mean in rows:
        table.add_row(benchmark, f"{items:,}", f"{documents:,}", f"{removed:,}", f"{highest:.0%}", f"{mean:.0%}")
    return table


def worst(corpus: Artifact, top: int = 3) -> Table:
    """Of each benchmark the `top` matches with the longest spans among the highest overlaps."""
    rows = _query(
        corpus,
        """
        SELECT benchmark, item, overlap, url, span FROM rows
        QUALIFY row_number() OVER (PARTITION BY benchmark ORDER BY overlap DESC, length(span) DESC, id, item) <= $top
        ORDER BY benchmark, overlap DESC, length(span) DESC, id, item
        """,
        top=top,
    )
    table = _table("Worst matches", ("benchmark", "item", "overlap", "document", "span"))
    for benchmark, item, overlap, url, span in rows:
        line = " ".join(span.split())
        table.add_row(benchmark, item, f"{overlap:.0%}", url, line if len(line) <= SPAN else f"{line[:SPAN]}...")
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for name in columns:
        numeric = name in ("items hit", "documents", "of them removed", "highest overlap", "mean overlap", "overlap")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    return table


def _query(corpus: Artifact, query: str, **values: object) -> list[tuple]:
    """Runs SQL over the corpus's contamination ledger. GlideError where it keeps none."""
    import duckdb

    shards = sorted(str(path) for path in Path(corpus.path, "contamination").glob("*.parquet"))
    if not shards:
        raise GlideError(f"{corpus.path} keeps no contamination ledger: curate it again")
    with duckdb.connect() as database:
        database.read_parquet(shards).create_view("rows")
        return database.execute(query, values).fetchall()
