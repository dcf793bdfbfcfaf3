"""Runs one of our task files through lm-eval itself, on a local model and local data."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.config import as_plain
from glide_nemo.console import console

if TYPE_CHECKING:
    from lm_eval.api.model import LM

    from glide_nemo.evaluation.subject import Subject

TASKS = Path(__file__).parent / "tasks"


def run_task(subject: Subject, task: str, data: Path, batch_size: int) -> list[dict[str, Any]]:
    """The metrics of tasks/`task`.yaml on the items in `data` (JSONL): `{task, metric, value, stderr, n}` each.

    lm-eval's own HFLM scores them, or the subject's other runtime. Full results, with every
    item's log-likelihoods, go to logs/, since they hold times and paths.
    """
    with (
        _quiet(),
        tempfile.TemporaryDirectory(prefix="glide-lm-eval-") as scratch,
        _scorer(subject, batch_size) as scorer,
    ):
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        results = simple_evaluate(
            model=scorer,
            tasks=[str(_redirect(task, data, Path(scratch)))],
            task_manager=TaskManager(include_defaults=False),  # indexing lm-eval's own tasks takes seconds
            log_samples=True,
        )
    logs = subject.out / "logs"
    logs.mkdir(exist_ok=True)
    (logs / f"{task}.json").write_text(json.dumps(as_plain(results), indent=1, default=str), encoding="utf-8")
    scores, count = results["results"][task], results["n-samples"][task]["effective"]
    return [
        {
            "task": task,
            "metric": name.removesuffix(",none"),
            "value": float(value),
            "stderr": float(scores[name.replace(",", "_stderr,")]),
            "n": int(count),
        }
        for name, value in scores.items()
        if name.endswith(",none") and "_stderr" not in name
    ]


@contextlib.contextmanager
def _scorer(subject: Subject, batch_size: int) -> Iterator[LM]:
    """What lm-eval asks for log-likelihoods."""
    if subject.gguf:
        from glide_nemo.evaluation.llama_cpp_scorer import LlamaCppScorer
        from glide_nemo.export.llama_cpp_runtime import opened

        with opened(subject.gguf, subject.context, exact=True) as model:
            yield LlamaCppScorer(model, subject.context)
        return
    if subject.vllm:
        from glide_nemo.evaluation.vllm_scorer import vllm_scorer

        with vllm_scorer(subject.model.path, subject.context, batch_size) as scorer:
            yield scorer
        return
    from lm_eval.models.huggingface import HFLM

    yield HFLM(
        pretrained=subject.network,
        tokenizer=subject.tokenizer,
        backend="causal",
        batch_size=batch_size,
        max_length=subject.context,
    )


def _redirect(task: str, data: Path, scratch: Path) -> Path:
    """A task file that includes ours and reads its items from `data`; datasets' cache lies in `scratch` too."""
    import yaml

    path = scratch / f"{task}.yaml"
    dataset = {"data_files": {"test": str(data.resolve())}, "cache_dir": str(scratch / "cache")}
    path.write_text(
        yaml.safe_dump({"include": str(TASKS / f"{task}.yaml"), "dataset_kwargs": dataset}), encoding="utf-8"
    )
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps lm-eval's notes off the terminal, and in a log file its bars too, unless something fails."""
    import datasets

    said = io.StringIO()
    level = logging.root.manager.disable
    bars = datasets.utils.logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    try:
        with contextlib.nullcontext() if console.is_terminal else contextlib.redirect_stderr(said):
            yield
    except Exception:
        console.print(said.getvalue(), style="dim")
        raise
    finally:
        logging.disable(level)
        if bars:
            datasets.enable_progress_bars()
