"""Deduplication on GPUs by NeMo-Curator's workflows, under the names of the stages that it replaces.

It has never run: there was no GPU where it was written. What is tested is that Curator's workflows take these
arguments, and what becomes of the files that they are documented to write.

What differs from the CPU: Curator takes character n-grams where ours are of words, and joins all documents that meet
in a band, without comparing them, so `near_duplicates.threshold` has no say and `bands` and `rows` alone decide. Which
copy stays does not differ: Curator keeps any one of a group, which is not reproducible, so the choice is made here.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from duckdb import DuckDBPyConnection
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.config import NearDuplicates
from curator_pipelines.index import CORPUS, read_parquet, save
from curator_pipelines.ray_cluster import ray_cluster
from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
from curator_pipelines.stages.near_duplicates import DropNearDuplicates
from curator_pipelines.stages.partition_files import documents_path
from glide_nemo.errors import GlideError

ID = "_curator_dedup_id"  # that Curator numbers documents by
GROUP = "_duplicate_group_id"
EXACT_IDS, NEAR_IDS = "ExactDuplicateIds", "FuzzyDuplicateIds"  # folders of ids to remove, in output_path
COMPONENTS = "ConnectedComponentsStage"  # folder of groups, in cache_path
NUMBERING = "fuzzy_id_generator.json"  # which ids each input file has
PARTITIONS = 256  # of a curation in one input file of Curator's: at the default size, about 100 MB of text
CHARACTERS = 4.8  # of an n-gram for each word: Curator's default of 24 stands for 5 words


class DropExactDuplicatesOnGpu(DropExactDuplicates):
    """Curator finds equal texts; as on the CPU the first by id stays, and case and white space do not count."""

    def _copied(self, database: DuckDBPyConnection, work: Path, documents: str) -> str:
        folder = _new_folder(work, self.name)
        texts = folder / "0.parquet"
        # The hash of the normalised text for the text: 32 characters to move instead of all.
        save(database, f"SELECT number, hex(text_hash) AS text FROM {documents} ORDER BY number", texts)
        self._search(folder, texts)
        return exact_copies(folder, documents)

    def _search(self, folder: Path, texts: Path) -> None:
        from nemo_curator.stages.deduplication.exact.workflow import ExactDeduplicationWorkflow

        with ray_cluster():
            ExactDeduplicationWorkflow(**exact_arguments(folder)).run([_task(texts)])


@dataclass
class DropNearDuplicatesOnGpu(DropNearDuplicates):
    """Curator finds which documents are alike; as on the CPU the longest of a group stays."""

    settings: NearDuplicates = field(default_factory=NearDuplicates)

    def _components(self, database: DuckDBPyConnection, work: Path, documents: str) -> np.ndarray:
        folder = _new_folder(work, self.name)
        files = _write_texts(database, work, documents, folder)
        if files:
            self._search(folder, files)
        return near_components(database, folder, files, documents)

    def _search(self, folder: Path, files: list[Path]) -> None:
        from nemo_curator.stages.deduplication.fuzzy.workflow import FuzzyDeduplicationWorkflow

        with ray_cluster():
            FuzzyDeduplicationWorkflow(**near_arguments(folder, self.settings)).run([_task(file) for file in files])


def exact_arguments(folder: Path) -> dict[str, Any]:
    """Of Curator's ExactDeduplicationWorkflow."""
    return {"output_path": str(folder), "input_filetype": "parquet", "assign_id": False, "id_field": "number"}


def near_arguments(folder: Path, settings: NearDuplicates) -> dict[str, Any]:
    """Of Curator's FuzzyDeduplicationWorkflow."""
    return {
        "cache_path": str(folder / "cache"),
        "output_path": str(folder),
        "input_filetype": "parquet",
        "seed": settings.seed,
        "char_ngrams": round(settings.ngram * CHARACTERS),
        "num_bands": settings.bands,
        "minhashes_per_band": settings.rows,
        "bands_per_iteration": min(5, settings.bands),
    }


def exact_copies(folder: Path, documents: str) -> str:
    """SQL: text_hash and first document of each text that Curator found more than once."""
    if not any((folder / EXACT_IDS).glob("*.parquet")):
        return f"SELECT text_hash, number AS first FROM {documents} WHERE false"
    removed = f"SELECT number FROM {read_parquet(folder / EXACT_IDS / '*.parquet')}"
    copied = f"SELECT DISTINCT text_hash FROM {documents} JOIN ({removed}) USING (number)"
    return f"SELECT text_hash, min(number) AS first FROM {documents} JOIN ({copied}) USING (text_hash) GROUP BY ALL"


def near_components(database: DuckDBPyConnection, folder: Path, files: list[Path], documents: str) -> np.ndarray:
    """The parent of each document, shape (documents of the index,): the first of its group of Curator's, or itself.

    GlideError where the groups are not what Curator's list of ids to remove says: then its files mean something else.
    """
    ((total,),) = database.sql(f"SELECT coalesce(max(number), -1) + 1 FROM {documents}").fetchall()
    parent = np.arange(total, dtype=np.int64)
    if not any((folder / NEAR_IDS).glob("*.parquet")):
        return parent
    numbered = " UNION ALL ".join(
        f"SELECT file_row_number + {start} AS {ID}, number FROM {read_parquet(file, ', file_row_number = true')}"
        for file, start in zip(files, _starts(folder, files), strict=True)
    )
    grouped = database.sql(
        f"SELECT number, min(number) OVER (PARTITION BY {GROUP}) AS first "
        f"FROM {read_parquet(folder / 'cache' / COMPONENTS / '*.parquet')} JOIN ({numbered}) USING ({ID})"
    ).fetchnumpy()
    parent[grouped["number"]] = grouped["first"]
    ((removed,),) = database.sql(f"SELECT count(*) FROM {read_parquet(folder / NEAR_IDS / '*.parquet')}").fetchall()
    joined = int((parent != np.arange(total)).sum())
    if removed != joined:
        raise GlideError(
            f"NeMo-Curator lists {removed} near-duplicates in {folder}, and its groups have {joined}: "
            "its files are not of the form known here, use near_duplicates.backend=cpu"
        )
    return parent


def _starts(folder: Path, files: list[Path]) -> list[int]:
    """The id of the first document of each file: Curator numbers files in the order in which workers come to them."""
    from nemo_curator.stages.deduplication.id_generator import IdGeneratorBase

    numbering = IdGeneratorBase.from_disk(str(folder / NUMBERING))
    return [numbering.get_batch_range(str(file), None)[0] for file in files]


def _write_texts(database: DuckDBPyConnection, work: Path, documents: str, folder: Path) -> list[Path]:
    """The documents' numbers and texts, in files of PARTITIONS partitions each."""
    database.execute(f'CREATE TEMP TABLE standing AS SELECT number, partition, "row" FROM {documents}')
    partitions = [row[0] for row in database.sql("SELECT DISTINCT partition FROM standing ORDER BY ALL").fetchall()]
    files = []
    for start in range(0, len(partitions), PARTITIONS):
        chunk = [str(documents_path(work, partition)) for partition in partitions[start : start + PARTITIONS]]
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in chunk)
        files.append(folder / f"{len(files)}.parquet")
        texts = f'SELECT number, text FROM read_parquet([{listed}]) JOIN standing USING (partition, "row")'
        save(database, f"{texts} ORDER BY number", files[-1])
    database.execute("DROP TABLE standing")
    return files


def _task(file: Path) -> FileGroupTask:
    return FileGroupTask(file.stem, [str(file)])


def _new_folder(work: Path, stage: str) -> Path:
    """Empty: Curator goes on with nothing of a run that was killed."""
    folder = work / CORPUS / f"{stage}_gpu"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
