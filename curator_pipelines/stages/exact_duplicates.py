"""Exact deduplication: of documents whose normalised text is the same, the first by id stays."""

from __future__ import annotations

from pathlib import Path

from duckdb import DuckDBPyConnection
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.index import LOST, MEMORY, conclude_stage, connect, left, lost_path, save, work_of


class DropExactDuplicates(ProcessingStage[FileGroupTask, FileGroupTask]):
    """Compares `text_hash`, on disk where memory does not do."""

    name = "exact_duplicates"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], []

    def process(self, task: FileGroupTask) -> FileGroupTask:
        work = work_of(task)
        if not lost_path(work, self.name).exists():
            documents = left(work, task._metadata[LOST], "number, text_hash")
            with connect(work, task._metadata[MEMORY]) as database:
                save(
                    database,
                    f"""
                    SELECT number, 'exact_duplicate' AS reason, NULL::DOUBLE AS score
                    FROM {documents}
                    JOIN ({self._copied(database, work, documents)})
                    USING (text_hash)
                    WHERE number > first
                    ORDER BY number
                    """,
                    lost_path(work, self.name),
                )
        return conclude_stage(task, self.name)

    def _copied(self, database: DuckDBPyConnection, work: Path, documents: str) -> str:
        """SQL: text_hash and first document of each text that several documents have."""
        return f"SELECT text_hash, min(number) AS first FROM {documents} GROUP BY ALL HAVING count(*) > 1"
