"""Items of any lm-eval task, from a local file with the task's rows."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator_pipelines.decontamination.items import Item, read_rows, searched_text
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

BLANK = "\0"


def read_task(name: str, data: Path) -> list[Item]:
    """The rows of `data` (JSONL or parquet) as the task asks them, without its prompt's own words.

    `name` is a task that lm-eval brings, or a task's YAML file; the benchmark is called as the task is.

    Raises GlideError for an unknown task, a group of tasks, and rows that lack what the task reads.
    """
    if not data.exists():
        raise GlideError(f"no such file, {data}: pass the rows of {name} as JSONL or parquet")
    if next(read_rows(data), None) is None:
        raise GlideError(f"no row in {data}: pass the rows of {name}, one JSON object a line")
    with _quiet(), tempfile.TemporaryDirectory(prefix="glide-lm-eval-") as scratch:
        try:
            task = _load(name, data, Path(scratch))
            rows = list(task.eval_docs)
            questions = [_question(task, row) for row in rows]
            answers = [_answer(task, row) for row in rows]
        except GlideError:
            raise
        except Exception as error:  # templates and the functions of tasks fail in any way
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise GlideError(
                f"{data} is not what the task {name} reads ({reason}): pass its rows as the hub has them"
            ) from error
    ids = [str(row.get("id", number)) for number, row in enumerate(rows)]
    texts = map(searched_text, questions, answers)
    return [Item(task.config.task, id_, text) for id_, text in zip(ids, texts, strict=True)]


def _load(name: str, data: Path, scratch: Path) -> ConfigurableTask:
    """The task with its only split read from `data`; datasets' cache lies in `scratch` too."""
    import yaml

    is_file = name.endswith((".yaml", ".yml"))
    manager = _tasks(defaults=not is_file)
    if is_file:
        if not Path(name).exists():
            raise GlideError(f"no such task file, {name}: check the path")
        source = Path(name)
    else:
        entry = manager.task_index.get(name)
        if entry is None:
            raise GlideError(f"lm-eval knows no task '{name}': `lm-eval ls tasks` lists them")
        if name not in manager.all_subtasks or entry.yaml_path is None:
            raise GlideError(f"'{name}' is a group of tasks: pass one of its tasks, as rows belong to one")
        source = Path(entry.yaml_path)
    path = scratch / f"{source.stem}.yaml"
    redirected: dict[str, Any] = {
        "include": str(source.resolve()),
        "dataset_path": "parquet" if data.suffix == ".parquet" else "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}, "cache_dir": str(scratch / "cache")},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": None,
        "fewshot_config": None,
        "num_fewshot": 0,
    }
    path.write_text(yaml.safe_dump(redirected), encoding="utf-8")
    (task,) = manager.load(str(path))["tasks"].values()
    return task


@functools.cache
def _tasks(defaults: bool) -> TaskManager:
    """Indexing lm-eval's own tasks takes 15 seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=defaults)


def _question(task: ConfigurableTask, row: dict[str, Any]) -> str:
    """What lm-eval itself would look for where that is a column of the row, else the prompt."""
    text = task.doc_to_text(row)
    if isinstance(text, int):  # the choices are the questions, as in WinoGrande
        return task.doc_to_choice(row)[text]
    query = task.config.doc_to_decontamination_query
    if task.should_decontaminate() and isinstance(query, str) and query in row:
        return str(row[query])
    prefix, suffix = _prompt(task, row)
    return text.removeprefix(prefix).removesuffix(suffix)


def _prompt(task: ConfigurableTask, row: dict[str, Any]) -> tuple[str, str]:
    """What the task says before and after any row ("Question:", "Answer:"): no document that holds the item has it."""
    try:
        text = task.doc_to_text(_blanked(row))
    except Exception:  # written in Python, and reads more out of the row than its text
        return "", ""
    if not isinstance(text, str) or BLANK not in text:
        return "", ""
    return text[: text.index(BLANK)], text[text.rindex(BLANK) + 1 :]


def _blanked(value: Any) -> Any:
    if isinstance(value, str):
        return BLANK
    if isinstance(value, dict):
        return {key: _blanked(item) for key, item in value.items()}
    return [_blanked(item) for item in value] if isinstance(value, list) else value


def _answer(task: ConfigurableTask, row: dict[str, Any]) -> str:
    """The right choice; none where the model writes its answer, which may be long."""
    if task.config.output_type != "multiple_choice":
        return ""
    target = task.doc_to_target(row)
    target = target[0] if isinstance(target, list) else target
    return str(task.doc_to_choice(row)[target]) if isinstance(target, int) else str(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what lm-eval and datasets have to say off the terminal."""
    import datasets

    level = logging.root.manager.disable
    bars = datasets.utils.logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
        if bars:
            datasets.enable_progress_bars()
