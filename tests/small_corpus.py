"""Writes a corpus artifact of a few texts. Not in conftest.py, which is another module in each directory."""

from __future__ import annotations

from pathlib import Path

from glide_nemo.artifact import Artifact, create, load


def write_corpus(out: Path, splits: dict[str, list[tuple[str, str]]]) -> Artifact:
    """A corpus artifact of `(id, text)` documents, a new parquet file every hundred."""
    import pyarrow
    import pyarrow.parquet

    with create(out, "corpus", {"splits": splits}) as draft:
        for split, rows in splits.items():
            (out / split).mkdir(exist_ok=True)
            for number, start in enumerate(range(0, max(1, len(rows)), 100)):
                some = rows[start : start + 100]
                columns = {"id": [row[0] for row in some], "text": [row[1] for row in some]}
                columns |= {name: [""] * len(some) for name in ("url", "source", "language", "license")}
                schema = pyarrow.schema([(name, pyarrow.string()) for name in columns])
                pyarrow.parquet.write_table(pyarrow.table(columns, schema), out / split / f"{number:05}.parquet")
        draft.metrics["split"] = {
            split: {"documents": len(rows), "bytes": sum(len(text.encode()) for _, text in rows)}
            for split, rows in splits.items()
        }
    return load(out)
