"""A loss or gradient that is not finite: training stops, names the step, and the documents that the step read.

The process that finds it notes the step and its samples in `diverged.json`; which documents these are is found
afterwards, in a process of its own, so that no layout of processes matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.artifact import write_atomically
from glide_nemo.errors import GlideError
from glide_nemo.training.batch_documents import of_samples, write_documents
from glide_nemo.training.worker import run_with_megatron

if TYPE_CHECKING:
    from glide_nemo.training.run_recipe import Paths

FILE = "diverged.json"
NAMED = 3  # documents in the error message


def note(out: Path, step: int, first_sample: int, samples: int) -> GlideError:
    """Notes a step that diverged and which samples of the training data it read; the error to raise."""
    content = {"step": step, "first_sample": first_sample, "samples": samples}
    write_atomically(out / FILE, json.dumps(content))
    return GlideError(not_finite(step))


def not_finite(step: int) -> str:
    """What to tell of a loss or gradient that is infinite or not a number."""
    return f"training diverged, the loss or a gradient is not finite at step {step}: lower optimizer.lr"


@contextmanager
def documents_named(name: str, overrides: Sequence[str], paths: Paths, log: Path) -> Iterator[None]:
    """Where training diverges inside, the error names the first documents of the step, and FILE has all of them."""
    noted = paths.out / FILE
    noted.unlink(missing_ok=True)  # of a run that went on from before it
    try:
        yield
    except GlideError as error:
        if not noted.exists():
            raise
        stated = json.loads(noted.read_text(encoding="utf-8"))
        told = not_finite(stated["step"])
        samples = range(stated["first_sample"], stated["first_sample"] + stated["samples"])
        try:
            found = run_with_megatron(of_samples, name, overrides, paths, stated["step"], samples, log=log)
            documents = write_documents(noted, stated, found)
        except GlideError as reason:  # what diverged is the news, not that a corpus was moved
            raise GlideError(f"{told}; its documents cannot be named ({reason})") from error
        more = f" and {len(documents) - NAMED:,} more" if len(documents) > NAMED else ""
        raise GlideError(f"{told}, or look at what it read, {', '.join(documents[:NAMED])}{more}: {noted}") from error
