"""An lm-eval task over the held-out documents: find the passage that goes on where a document stops, among four.

The wrong passages come from other held-out documents of the same corpus, so neither the language nor the format gives
the answer away. Everything is drawn with a fixed seed: equal corpora give equal items.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import write_atomically
from glide_nemo.console import console

if TYPE_CHECKING:
    from glide_nemo.evaluation.subject import Document, Subject

TASK = "heldout_continuation"


@dataclass
class ContinuationConfig:
    items: int = 150
    choices: int = 4
    context_characters: int = 300
    continuation_characters: int = 150
    passages_per_document: int = 20  # at most, so that no document makes up the task
    max_bytes: int = 4_000_000  # of held-out text to draw from
    batch_size: int = 16
    seed: int = 0


@dataclass(frozen=True)
class Passage:
    """A piece of a document, cut at white space: `context`, and the `continuation` that really follows it."""

    document: str
    context: str
    continuation: str


def continuation(subject: Subject) -> dict[str, Any]:
    """The evaluator: writes the items as JSONL and has lm-eval score them; skipped where the split is too small."""
    from glide_nemo.evaluation.harness import run_task

    config: ContinuationConfig = subject.config.continuation
    items = make_items(subject.heldout(config.max_bytes), config)
    if not items:
        reason = f"fewer than {config.choices} held-out documents of {_needed(config)} characters or more"
        console.print(f"  {TASK}: skipped, {reason}")
        return {"lm_eval": [], "skipped": {TASK: reason}}
    data = subject.out / "items.jsonl"
    write_atomically(data, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    console.print(f"  {TASK}: {len(items)} items through lm-eval")
    rows = run_task(subject, TASK, data, config.batch_size)
    return {"lm_eval": [row | {"chance": 1 / config.choices} for row in rows]}


def make_items(documents: list[Document], config: ContinuationConfig) -> list[dict[str, Any]]:
    """Items `{id, context, choices, label}`; none where there are fewer documents than choices.

    A wrong choice is never equal to the right one, and never stands in the document that the item is from.
    """
    draw = random.Random(config.seed)
    passages = [passage for document in documents for passage in _passages(document, config, draw)]
    if len({passage.document for passage in passages}) < config.choices:
        return []
    texts = {document.id: document.text for document in documents}
    draw.shuffle(passages)
    items = []
    for passage in passages:
        if len(items) == config.items:
            break
        choices = _wrong_choices(passage, passages, texts[passage.document], config.choices - 1, draw)
        if len(choices) < config.choices - 1:
            continue
        label = draw.randrange(config.choices)
        choices.insert(label, passage.continuation)
        items.append(
            {"id": f"{passage.document}#{len(items)}", "context": passage.context, "choices": choices, "label": label}
        )
    return items


def _passages(document: Document, config: ContinuationConfig, draw: random.Random) -> Iterator[Passage]:
    """Non-overlapping passages from all over a document, in the order drawn."""
    text, length = document.text, _needed(config)
    starts = list(range(0, len(text) - length + 1, length))
    draw.shuffle(starts)
    for start in starts[: config.passages_per_document]:
        begin = _white_space(text, start)
        middle = _white_space(text, begin + config.context_characters)
        end = _white_space(text, middle + config.continuation_characters)
        context, following = text[begin:middle].lstrip(), text[middle:end]
        if end <= len(text) and context and following.strip():
            yield Passage(document.id, context, following)


def _needed(config: ContinuationConfig) -> int:
    return config.context_characters + config.continuation_characters + 100  # room to look for white space


def _white_space(text: str, start: int) -> int:
    """The position of the first white space at or after `start`; `start` itself where the text has none nearby."""
    for position in range(start, min(start + 30, len(text))):
        if text[position].isspace():
            return position
    return start


def _wrong_choices(passage: Passage, passages: list[Passage], text: str, count: int, draw: random.Random) -> list[str]:
    """Continuations from `count` other documents, drawn at random."""
    used, wrong = {passage.document}, []
    for other in draw.sample(passages, min(len(passages), 20 * count)):
        if other.document not in used and other.continuation.strip() not in text:
            used.add(other.document)
            wrong.append(other.continuation)
        if len(wrong) == count:
            break
    return wrong
