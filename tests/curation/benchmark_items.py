"""Evaluation items and documents for tests of decontamination: cut from the documentation that Python brings along."""

from __future__ import annotations

import importlib
import pydoc
import random
from pathlib import Path

import pandas as pd
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.decontamination.index import write_index
from curator_pipelines.decontamination.items import Item

BENCHMARKS = ("riddles", "proofs", "stories", "trivia")
MODULES = ("argparse", "collections", "decimal", "email", "inspect", "ipaddress", "mailbox", "tarfile", "typing")
TOPICS_FOR_ITEMS = 30


def topic_items(count: int, benchmarks: tuple[str, ...] = BENCHMARKS, seed: int = 1) -> list[Item]:
    """Items of 8 to 60 words from the help topics, with the punctuation that they have there, no two overlapping."""
    from pydoc_data.topics import topics

    draw = random.Random(seed)
    words = [word for name in sorted(topics) for word in topics[name].split()]
    items, at = [], 0
    while len(items) < count:
        size = draw.randint(8, 60)
        at += size + draw.randint(20, 60)
        piece = words[at : at + size]
        if sum(any(letter.isalnum() for letter in word) for word in piece) == size and len(set(piece)) > size // 2:
            items.append(Item(benchmarks[len(items) % len(benchmarks)], f"q{len(items)}", " ".join(piece)))
    return items


def clean_texts(count: int, size: int = 1500) -> list[str]:
    """Documents of the modules' documentation, which the help topics do not repeat."""
    text = "\n".join(pydoc.plain(pydoc.render_doc(importlib.import_module(name))) for name in MODULES)
    assert len(text) >= count * size, len(text)
    return [text[at : at + size] for at in range(0, count * size, size)]


def planted(text: str, item: str) -> str:
    """The text with the item in its middle, at the end of a word."""
    middle = text.index(" ", len(text) // 2)
    return f"{text[:middle]} {item} {text[middle:]}"


def indexed(folder: Path, items: list[Item], *, ngram: int = 13, min_words: int = 8, max_items: int = 10) -> Path:
    folder.mkdir(exist_ok=True)
    write_index(folder, items, ngram=ngram, min_words=min_words, max_items=max_items)
    return folder


def batch_of(texts: list[str]) -> DocumentBatch:
    ids = [f"d{number:04d}" for number in range(len(texts))]
    frame = pd.DataFrame(
        {
            "id": pd.Series(ids, dtype="object"),
            "url": [f"http://example.org/{id_}" for id_ in ids],
            "text": pd.Series(texts, dtype="object"),
            "bytes": pd.Series([len(text.encode()) for text in texts], dtype="int64"),
        }
    )
    return DocumentBatch("documents", frame)
