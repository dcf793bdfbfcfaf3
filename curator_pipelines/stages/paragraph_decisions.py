"""Between the passes of paragraph deduplication: which paragraphs of which documents go, decided on disk by DuckDB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.index import CORPUS, LOST, MEMORY, connect, left, lost_path, read_parquet, save, work_of
from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
from curator_pipelines.stages.partition_files import PARAGRAPHS, numbered

PLACES = 20  # bits: paragraphs of a document that are told apart


def dropped_path(work: Path) -> Path:
    """partition, row, place of each paragraph that goes, and whether as boilerplate; sorted."""
    return work / CORPUS / "dropped_paragraphs.parquet"


def copies_path(work: Path) -> Path:
    """partition, row of each document whose whole text another one has; sorted."""
    return work / CORPUS / "copies.parquet"


@dataclass
class DecideParagraphs(ProcessingStage[FileGroupTask, FileGroupTask]):
    """Of a paragraph in several documents the first copy stays, in the order of document ids.

    One in more than `max_copies` documents goes everywhere. Documents whose whole text is another's do not count: a
    page that was recorded often would else be boilerplate from end to end.
    """

    max_copies: int
    name: str = "decide_paragraphs"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], []

    def process(self, task: FileGroupTask) -> FileGroupTask:
        work = work_of(task)
        if dropped_path(work).exists():
            return task
        assert DropExactDuplicates.name in task._metadata[LOST]
        with connect(work, task._metadata[MEMORY]) as database:
            copies = f"{read_parquet(lost_path(work, DropExactDuplicates.name))} JOIN {left(work, [])} USING (number)"
            save(database, f'SELECT partition, "row" FROM {copies} ORDER BY partition, "row"', copies_path(work))
            documents = left(work, task._metadata[LOST], 'number, partition, "row"')
            paragraphs = read_parquet(numbered(work / PARAGRAPHS))
            placed = f"""(
                SELECT hash, number, partition, "row", place, (number << {PLACES}) + place AS position
                FROM {paragraphs} JOIN {documents} USING (partition, "row")
            )"""
            repeated = work / CORPUS / "repeated_paragraphs.parquet"
            save(
                database,
                f"""
                SELECT hash, min(first) AS first, count(*) AS copies
                FROM (SELECT hash, number, min(position) AS first, count(*) AS times FROM {placed} GROUP BY ALL)
                GROUP BY hash HAVING count(*) > 1 OR max(times) > 1
                """,
                repeated,
            )
            save(
                database,
                f"""
                SELECT partition, "row", place, copies > {self.max_copies} AS boilerplate
                FROM {placed} JOIN {read_parquet(repeated)} USING (hash)
                WHERE copies > {self.max_copies} OR position > first
                ORDER BY partition, "row", place
                """,
                dropped_path(work),
            )
        return task
