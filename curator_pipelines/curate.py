"""The curate step: pages and documents through a NeMo-Curator pipeline to a corpus, its held-out split, its ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from curator_pipelines import workers
from curator_pipelines.config import HOW_IT_RUNS, CurationConfig
from curator_pipelines.deduplication import GPU, backend_of
from curator_pipelines.partitions import Partition, cut
from curator_pipelines.reading import check_lines, fields_of, reading_stages
from glide_nemo import fork_server
from glide_nemo.artifact import Artifact, Draft, load
from glide_nemo.config import as_plain
from glide_nemo.console import progress
from glide_nemo.crawl.kinds import JSONL, TEXT, WARC
from glide_nemo.crawl.sources import files_of
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage
    from nemo_curator.tasks import FileGroupTask

WORK = "work"  # partitions done so far; removed when the corpus stands
FIRST_PASS = "first_pass"  # in it: partitions before their paragraphs are compared
POLL = 0.3  # seconds
LOOKING = 0.02  # share of the time that the progress bar may take, however many partitions there are


def curate(
    config: CurationConfig, crawl: Artifact | Sequence[Artifact], out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """The corpus artifact in `out`: `train/`, `heldout/` and `rejections/` as parquet, of one crawl or of several.

    A killed run goes on with the partitions that are missing. Which executor ran it, and on how many processes, is not
    part of what the corpus is.

    Raises GlideError where a WARC file is gone, none holds a page, a crawl is given twice, or no document is left.
    """
    config.check()
    crawls = [crawl] if isinstance(crawl, Artifact) else list(crawl)
    if len({each.sha256 for each in crawls}) < len(crawls):
        raise GlideError("the same crawl is given twice: pass each once")
    settings = {key: value for key, value in as_plain(config).items() if key not in HOW_IT_RUNS}
    if lists := config.opt_out:  # what stands in them makes the corpus, not where they lie
        from curator_pipelines.stages.opt_out import read_lines

        settings["opt_out"] = [hashlib.sha256("\n".join(read_lines(file)).encode()).hexdigest() for file in lists]
    near = dataclasses.replace(config.near_duplicates, backend=backend_of(config.near_duplicates.backend))
    config = dataclasses.replace(config, near_duplicates=near)
    settings["near_duplicates"]["backend"] = near.backend  # the two do not find the same
    inputs = {f"crawl_{number}" if number > 1 else "crawl": each for number, each in enumerate(crawls, 1)}
    if config.decontamination.benchmarks:  # by digest: fetched anew into the same directory they are others
        inputs["benchmarks"] = load(config.decontamination.benchmarks, "benchmarks")
        del settings["decontamination"]["benchmarks"]
    for name, kind in (("perplexity_model", "ngram"), ("quality_model", "classifier")):
        if path := settings.pop(name):
            inputs[name] = load(path, kind)
    return run_step(
        "curate", out, "corpus", settings, inputs, lambda draft: _curate(config, crawls, draft), force=force
    )


def _curate(config: CurationConfig, crawls: Sequence[Artifact], draft: Draft) -> None:
    started = time.monotonic()
    if config.executor == "local" and config.workers != 1:
        fork_server.start(*workers.modules())
    from curator_pipelines.corpus_record import conclude_corpus

    out = draft.path.resolve()  # another node's processes have another working directory
    config = _with_absolute_paths(config)
    work = out / WORK
    work.mkdir(exist_ok=True)
    partitions, described = _cut(config, crawls, work)
    pipeline = _pipeline_module(config.pipeline)
    first = work / FIRST_PASS if config.paragraphs.drop_repeated else work
    with _quiet(), _executor(config):
        _process_documents(config, pipeline, partitions, described, first)
        _check_lines(config, partitions, first)
        if config.paragraphs.drop_repeated:
            _drop_paragraphs(config, partitions, first, work)
        done = _process_corpus(config, pipeline, work, out)
    folders = [first, work] if config.paragraphs.drop_repeated else [work]
    conclude_corpus(config, draft, done, folders, len(partitions), time.monotonic() - started)
    shutil.rmtree(work)


def _cut(
    config: CurationConfig, crawls: Sequence[Artifact], work: Path
) -> tuple[list[Partition], dict[int, dict[str, Any]]]:
    """The partitions of all crawls and, by their numbers, what each reader is told of its documents."""
    fields = fields_of(config.reader)
    partitions: list[Partition] = []
    described = {}
    for crawl in crawls:
        of_crawl = cut(files_of(crawl), config.partition_bytes, work, fields, first=len(partitions))
        partitions += of_crawl
        for partition in of_crawl:
            described[partition.index] = {
                "source": _source(crawl, partition),
                "license": config.license or crawl.metrics["license"],
                "license_of_all": bool(config.license),
                "fields": fields,
            }
    return partitions, described


def _process_documents(
    config: CurationConfig,
    pipeline: ModuleType,
    partitions: Sequence[Partition],
    described: Mapping[int, Mapping[str, Any]],
    work: Path,
) -> None:
    """Takes the partitions that are not done yet through the document stages."""
    from nemo_curator.pipeline import Pipeline
    from nemo_curator.tasks import FileGroupTask

    from curator_pipelines.executors import make_executor
    from curator_pipelines.stages.hash_paragraphs import HashParagraphs
    from curator_pipelines.stages.partition_files import WritePartition, record_path

    work.mkdir(exist_ok=True)
    missing = [partition for partition in partitions if not record_path(work, partition.index).exists()]
    if not missing:
        return
    paragraphs = config.paragraphs
    compared = HashParagraphs(paragraphs.min_characters) if paragraphs.drop_repeated else fingerprint_stage(config)
    sizes = {partition.index: partition.size // 1000 for partition in partitions}
    with _watching(work, sizes):
        for are_text in (False, True):  # pages are extracted, what is text already is not
            tasks = [
                FileGroupTask(
                    dataset_name=config.pipeline,
                    data=[f"{partition.path}#{partition.start}"],
                    reader_config={**as_plain(partition), **described[partition.index]},
                )
                for partition in missing
                if (partition.kind != WARC) == are_text
            ]
            if tasks:
                stages = reading_stages(config, pipeline.document_stages(config), are_text=are_text)
                Pipeline(name=config.pipeline, stages=[*stages, compared, WritePartition(str(work))]).run(
                    make_executor(config.executor, config.workers), tasks
                )


def _check_lines(config: CurationConfig, partitions: Sequence[Partition], work: Path) -> None:
    """Raises GlideError where more of a JSONL file is broken than the settings allow."""
    from curator_pipelines.stages.partition_files import record_path

    records: dict[str, list] = {}
    for partition in partitions:
        if partition.kind == JSONL:
            record = json.loads(record_path(work, partition.index).read_text(encoding="utf-8"))
            records.setdefault(partition.name, []).append(record)
    check_lines(records, config.reader.max_bad_lines_share)


def _drop_paragraphs(config: CurationConfig, partitions: Sequence[Partition], first: Path, work: Path) -> None:
    """Decides over all documents of the first pass which paragraphs go, and writes the partitions without them."""
    from nemo_curator.pipeline import Pipeline
    from nemo_curator.tasks import FileGroupTask

    from curator_pipelines.executors import make_executor
    from curator_pipelines.index import build_index, corpus_task
    from curator_pipelines.stages.drop_repeated_paragraphs import DropRepeatedParagraphs
    from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
    from curator_pipelines.stages.paragraph_decisions import DecideParagraphs
    from curator_pipelines.stages.partition_files import ReadPartition, WritePartition, documents_path, record_path

    build_index(first, config.memory_mb)
    Pipeline(name=config.pipeline, stages=[DropExactDuplicates(), DecideParagraphs(config.paragraphs.max_copies)]).run(
        make_executor(config.executor, 1), [corpus_task(config.pipeline, first, config.memory_mb)]
    )
    tasks = [
        FileGroupTask(
            dataset_name=config.pipeline,
            data=[str(documents_path(first, partition.index))],
            reader_config={"partition": partition.index},
        )
        for partition in partitions
        if not record_path(work, partition.index).exists()
    ]
    if tasks:
        rewrite = DropRepeatedParagraphs(str(first), config.paragraphs.min_words)
        stages = [ReadPartition(), rewrite, fingerprint_stage(config), WritePartition(str(work))]
        Pipeline(name=config.pipeline, stages=stages).run(make_executor(config.executor, config.workers), tasks)


def fingerprint_stage(config: CurationConfig) -> ProcessingStage:
    """What near-duplicates are found by: made last, of the text as it stays."""
    from curator_pipelines.stages.fingerprint import Fingerprint

    near = config.near_duplicates
    return Fingerprint(near.ngram, near.bands, near.rows, near.seed)


def _process_corpus(config: CurationConfig, pipeline: ModuleType, work: Path, out: Path) -> FileGroupTask:
    """Takes all documents together through the corpus stages; returns the task, with its ledger."""
    from nemo_curator.pipeline import Pipeline

    from curator_pipelines.executors import make_executor
    from curator_pipelines.index import build_index, conclude_stage, corpus_task
    from curator_pipelines.stages.write_corpus import WriteCorpus

    build_index(work, config.memory_mb)
    start = conclude_stage(corpus_task(config.pipeline, work, config.memory_mb), "read_partitions", took=False)
    stages = [*pipeline.corpus_stages(config), WriteCorpus(str(out), config.output_format, config.shard_bytes)]
    # On GPUs, Curator's workflows start Ray tasks of their own, which a Ray task cannot.
    executor = make_executor("local" if config.near_duplicates.backend == GPU else config.executor, 1)
    (done,) = Pipeline(name=config.pipeline, stages=stages).run(executor, [start])
    return done


def _source(crawl: Artifact, partition: Partition) -> str:
    """Where a partition's documents come from; "" for text files, of which a partition may hold several."""
    named = crawl.metrics["source"]
    if named not in ("warc", "files"):
        return named
    return "" if partition.kind == TEXT else partition.name


def _pipeline_module(name: str) -> ModuleType:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise GlideError(f"no module {name}: pipeline= names a module such as curator_pipelines.english") from error
    for function in ("document_stages", "corpus_stages"):
        if not hasattr(module, function):
            raise GlideError(f"{name} has no {function}(config): see curator_pipelines/english.py")
    return module


def _with_absolute_paths(config: CurationConfig) -> CurationConfig:
    """The same settings, with files and directories named from the root."""
    paths = ("perplexity_model", "quality_model", "toxicity_lexicon")
    named = {name: os.path.abspath(getattr(config, name)) for name in paths if getattr(config, name)}
    decontamination = config.decontamination
    if decontamination.benchmarks:
        benchmarks = os.path.abspath(decontamination.benchmarks)
        decontamination = dataclasses.replace(decontamination, benchmarks=benchmarks)
    opt_out = [os.path.abspath(file) for file in config.opt_out]
    return dataclasses.replace(config, **named, decontamination=decontamination, opt_out=opt_out)


def _executor(config: CurationConfig) -> contextlib.AbstractContextManager[None]:
    """What the config's executor needs around all pipelines of a curation."""
    if config.executor != "ray":
        return contextlib.nullcontext()
    from curator_pipelines.ray_cluster import ray_cluster

    return ray_cluster(config.workers)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NeMo-Curator logs each stage of each batch; what a user needs to know, the progress bar says."""
    from loguru import logger

    logger.disable("nemo_curator")
    try:
        yield
    finally:
        logger.enable("nemo_curator")


@contextlib.contextmanager
def _watching(work: Path, sizes: dict[int, int]) -> Iterator[None]:
    """Shows partitions as they are done, whichever executor does them: by the files that appear."""
    from curator_pipelines.stages.partition_files import record_path

    waiting = dict(sizes)
    stop = threading.Event()

    def look(advance: Callable[..., None]) -> None:
        for index in [index for index in waiting if record_path(work, index).exists()]:
            advance(waiting.pop(index), f"partition {len(sizes) - len(waiting)}/{len(sizes)}")

    def watch(advance: Callable[..., None]) -> None:
        pause = POLL
        while not stop.wait(pause):
            started = time.monotonic()
            look(advance)
            pause = max(POLL, (time.monotonic() - started) / LOOKING)

    with progress("curating", sum(sizes.values()), "kB of input") as advance:
        watcher = threading.Thread(target=watch, args=(advance,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            look(advance)
