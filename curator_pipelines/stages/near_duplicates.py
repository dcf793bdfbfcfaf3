"""Near deduplication: MinHash LSH bands joined in DuckDB, connected components in SciPy, the longest document stays."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curator_pipelines.ledger import conclude
from curator_pipelines.stages.partition_files import rejections_of

CHUNK = 100_000  # pairs compared at a time


@dataclass
class DropNearDuplicates(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Documents alike by at least `threshold` (Jaccard, estimated from `signature`) are one; its longest copy stays.

    Two documents are compared where they agree in all `rows` permutations of one of `bands` bands. NeMo-Curator's own
    fuzzy deduplication needs a GPU (cuDF, RAPIDS-MPF).
    Source: Broder, 1997; banding as in Leskovec et al., Mining of Massive Datasets, section 3.4.
    """

    threshold: float
    bands: int
    rows: int
    name: str = "near_duplicates"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "bytes", "signature"]

    def process(self, task: DocumentBatch) -> DocumentBatch:
        frame = task.to_pandas()  # sorted by id
        if frame.empty:
            return conclude(task, self.name, frame)
        matrix = np.frombuffer(b"".join(frame["signature"]), dtype=np.uint32).reshape(len(frame), -1)
        pairs = self._alike(matrix, self._candidates(matrix))
        component = _components(pairs, len(frame))
        keeper = _longest(component, frame["bytes"].to_numpy())
        stays = keeper[component] == np.arange(len(frame))
        alike = similarity(matrix, np.flatnonzero(~stays), keeper[component[~stays]])
        lost = rejections_of(frame[~stays], self.name, "near_duplicate", pd.Series(alike).round(4))
        return conclude(task, self.name, frame[stays].reset_index(drop=True), lost)

    def _candidates(self, matrix: np.ndarray) -> np.ndarray:
        """Pairs (first, other) that meet in a band, shape (pairs, 2), sorted.

        Each document of a bucket is paired with the bucket's first only: a page repeated n times makes n pairs, not n
        squared, and the components come out the same wherever all are alike.
        """
        banded = np.ascontiguousarray(matrix[:, : self.bands * self.rows]).reshape(len(matrix), self.bands, self.rows)
        keys = banded.view(f"V{4 * self.rows}").reshape(len(matrix), self.bands)
        table = pa.table(
            {
                "document": np.repeat(np.arange(len(matrix), dtype=np.int64), self.bands),
                "band": np.tile(np.arange(self.bands, dtype=np.int32), len(matrix)),
                "key": pa.array([key.tobytes() for key in keys.ravel()], type=pa.binary()),
            }
        )
        with duckdb.connect() as database:
            database.register("bands", table)
            found = database.execute(
                """
                WITH buckets AS (
                    SELECT document, min(document) OVER (PARTITION BY band, key) AS first FROM bands
                )
                SELECT DISTINCT first, document FROM buckets WHERE first < document ORDER BY first, document
                """
            ).fetchnumpy()
        return np.stack([found["first"], found["document"]], axis=1).astype(np.int64)

    def _alike(self, matrix: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
        kept = [chunk[similarity(matrix, chunk[:, 0], chunk[:, 1]) >= self.threshold] for chunk in chunks]
        return np.concatenate(kept) if kept else pairs


def similarity(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of pairs of documents: the share of permutations that agree, shape (pairs,)."""
    return (matrix[left] == matrix[right]).mean(axis=1) if len(left) else np.empty(0)


def _components(pairs: np.ndarray, documents: int) -> np.ndarray:
    """The component of each document, shape (documents,)."""
    edges = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(documents, documents))
    return connected_components(edges, directed=False)[1]


def _longest(component: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The longest document of each component, the first by id among equals, shape (components,)."""
    order = np.lexsort((np.arange(len(sizes)), -sizes, component))
    first = np.flatnonzero(np.diff(component[order], prepend=-1))
    return order[first]
