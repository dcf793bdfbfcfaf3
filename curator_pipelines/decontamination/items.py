"""The items of evaluation sets, as decontamination looks for them: benchmark, id, and the text to find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError

ALONE = 13  # words from which a question is looked for without its answer


@dataclass(frozen=True)
class Item:
    """One item: `text` is what a document must not hold."""

    benchmark: str
    id: str
    text: str


def searched_text(question: str, answer: str = "") -> str:
    """The question, and its right answer where the question has fewer than `ALONE` words.

    Short questions ("Which of these is true?") stand in many documents that have nothing to do with the benchmark.
    Long ones must not be tied to the answer, or to the wrong ones: a page that prints the question and then a list of
    choices would share too small a part of the item.
    """
    from curator_pipelines.decontamination.words import split_words

    return question if len(split_words(question)) >= ALONE or not answer else f"{question} {answer}"


def read_items(path: Path) -> list[Item]:
    """The items of a JSONL file, `{"benchmark", "id", "text"}` a line; without an id, the line's number stands for it.

    Safety prompts are items too: their text is the `prompt`, their benchmark the name of the file.

    Raises GlideError for a line that is not such an object.
    """
    items = []
    for number, row in enumerate(read_rows(path), start=1):
        is_prompt = "prompt" in row and "text" not in row
        benchmark = row.get("benchmark", path.stem if is_prompt else None)
        text = row["prompt"] if is_prompt else row.get("text")
        if not isinstance(benchmark, str) or not benchmark or not isinstance(text, str):
            raise GlideError(
                f'no item, row {number} of {path}: write {{"benchmark": "...", "id": "...", "text": "..."}}'
            )
        items.append(Item(benchmark, str(row.get("id", number)), text))
    return items


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL or parquet file. Raises GlideError where it is neither, or a line is no object."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            yield from pq.read_table(path).to_pylist()
        except pa.ArrowInvalid as error:
            raise GlideError(f"unreadable parquet, {path} ({str(error).splitlines()[0]}): write it again") from error
        return
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise GlideError(f"no JSON object, line {number} of {path}: write one object a line")
                yield row
    except UnicodeDecodeError as error:
        raise GlideError(f"not UTF-8, {path} ({error.reason}): pass JSONL or parquet") from error
    except json.JSONDecodeError as error:
        raise GlideError(f"no JSON, line {number} of {path} ({error.msg}): write one object a line") from error
