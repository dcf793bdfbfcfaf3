"""WARC files and evaluation items of any size: pages of sentences drawn from what is installed, most of them unlike."""

from __future__ import annotations

import importlib.metadata
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from small_warc import SmallWarc, page

SENTENCE = re.compile(r"[A-Z][a-z][A-Za-z ,;'()-]{50,220}[a-z]\.(?=\s|$)")
PARAGRAPHS = 5
SENTENCES = 4  # a paragraph: 20 on a page, about 2 kB
ITEMS = 20


def sentences() -> list[str]:
    """Those of the help topics and of installed packages' descriptions, about 3,000."""
    texts = [*topics.values()]
    for package in sorted(importlib.metadata.distributions(), key=lambda package: package.name or ""):
        texts.append(package.metadata.get_payload() or package.metadata["Description"] or "")
    paragraphs = (" ".join(paragraph.split()) for text in texts for paragraph in re.split(r"\n\s*\n", text))
    return list(dict.fromkeys(found for paragraph in paragraphs for found in SENTENCE.findall(paragraph)))


def write_many_pages(path: Path, count: int, seed: int = 0) -> None:
    """`count` pages, of which 2 % are exact copies, 4 % near copies, 10 % have a paragraph of another page, 5 % an
    address or number of a person, and one in 200 an item of `write_items`."""
    with SmallWarc(path) as warc:
        for number, text in enumerate(_texts(count, seed)):
            warc.response(f"http://example.org/{seed}/{number}.html", page(f"Page {number}", text))


def write_items(path: Path) -> None:
    items = _items(sentences())
    lines = [{"benchmark": "riddles", "id": f"q{number}", "text": item} for number, item in enumerate(items)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _texts(count: int, seed: int) -> Iterator[str]:
    pool = sentences()
    items, pool = _items(pool), pool[ITEMS * 2 :]
    words = sorted({word for sentence in pool for word in re.findall(r"[a-z]{4,12}", sentence)})
    chance = random.Random(seed)
    before: list[str] = []  # the last pages
    for number in range(count):
        paragraphs = [
            " ".join(_varied(sentence, words, chance) for sentence in chance.sample(pool, SENTENCES))
            for _ in range(PARAGRAPHS)
        ]
        draw = chance.random()
        if before and draw < 0.02:
            text = chance.choice(before)
        elif before and draw < 0.06:
            paragraphs = [f"{chance.choice(words).title()} {part}" for part in chance.choice(before).split("\n\n")]
            text = "\n\n".join(paragraphs)  # each is another, and goes through the deduplication of paragraphs
        else:
            if before and draw < 0.16:
                paragraphs[2] = chance.choice(before).split("\n\n")[1]
            if draw > 0.95:
                paragraphs[1] += f" Write to reader{number}@mail.example.org or call +49 30 {number + 1_000_000}."
            if number % 200 == 7:
                paragraphs[3] = chance.choice(items)
            text = "\n\n".join(paragraphs)
        before = [*before[-200:], text]
        yield text


def _items(pool: list[str]) -> list[str]:
    return [" ".join(pair) for pair in zip(pool[0 : ITEMS * 2 : 2], pool[1 : ITEMS * 2 : 2], strict=True)]


def _varied(sentence: str, words: list[str], chance: random.Random) -> str:
    """The sentence with two of its words replaced: what sets a page apart from one that draws the same sentence."""
    parts = sentence.split(" ")
    for place in chance.sample(range(1, len(parts) - 1), 2):
        parts[place] = chance.choice(words)
    return " ".join(parts)
