"""The same verdicts as datatrove's n-gram decontamination with the same settings; where they differ, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmark_items import batch_of, clean_texts, indexed, planted, topic_items
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from curator_pipelines.decontamination.items import Item
from curator_pipelines.decontamination.words import split_words
from curator_pipelines.stages.decontaminate import Decontaminate

Keeps = Callable[..., list[bool]]


class WhiteSpace(WhitespaceTokenizer):
    """Words as GPT-3 has them; datatrove's own of this name cuts them by spaCy's rules."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


@pytest.fixture
def datatrove_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keeps:
    """Which texts datatrove keeps, for items given as labels without a query."""
    monkeypatch.setattr(NGramsDecontIndexer, "_requires_dependencies", [])  # lighteval, for tasks of the hub

    def keeps(items: list[Item], texts: list[str], **norm: bool) -> list[bool]:
        settings = {"norm_numbers": False, "norm_unicode_diacritics": False, **norm}
        config = NGramsDecontConfig(n_grams=13, norm_config=TextNormConfig(**settings))
        folder = tmp_path / "datatrove"
        folder.mkdir()
        indexer = NGramsDecontIndexer(str(folder), config=config, language=WhiteSpace())
        for name in sorted({item.benchmark for item in items}):
            hashes = {hash_ for item in items if item.benchmark == name for hash_ in indexer.compute_hashes(item.text)}
            np.array(sorted(hashes), dtype=np.uint64).tofile(folder / f"{name}.index.hashes")
        keep = NGramsDecontFilter(str(folder), config=config, language=WhiteSpace())
        return [keep.filter(Document(text=text, id=str(number))) is True for number, text in enumerate(texts)]

    return keeps


def we_keep(folder: Path, items: list[Item], texts: list[str], **settings: float) -> list[bool]:
    stage = Decontaminate(str(indexed(folder, items)), **{"threshold": 0.0, **settings})
    stage.setup()
    batch = batch_of(texts)
    left = set(stage.process(batch).to_pandas()["id"])
    return [id_ in left for id_ in batch.to_pandas()["id"]]


def test_both_take_the_same_documents_where_one_13_gram_decides(tmp_path: Path, datatrove_keeps: Keeps) -> None:
    """Items and documents without what either normalises in its own way: punctuation inside of words."""
    items = [Item(item.benchmark, item.id, " ".join(split_words(item.text))) for item in topic_items(120)]
    items = [item for item in items if len(item.text.split()) >= 13]
    hosts = [" ".join(split_words(text)) for text in clean_texts(160, 900)]
    texts = [planted(host, item.text) for host, item in zip(hosts, items, strict=False)]
    texts += [planted(host, " ".join(item.text.split()[:12])) for host, item in zip(hosts, items[:40], strict=False)]
    texts += [planted(host, " ".join(item.text.split()[-13:])) for host, item in zip(hosts, items[:40], strict=False)]
    mine = we_keep(tmp_path / "ours", items, texts + hosts)
    assert mine == datatrove_keeps(items, texts + hosts)
    assert mine[: len(items)] == [False] * len(items) and mine[-160:] == [True] * 160
    assert mine.count(False) >= len(items) + 40


LAMP = "the lamp in the tower burns all night so that no ship of the harbour is lost"
DIFFERENCES = {  # why: (item, document, whether we keep it, whether datatrove does, how it normalises)
    "items shorter than 13 words are nowhere in its index": (
        "who keeps the lamp of the old tower", "so who keeps the lamp of the old tower", False, True, {},
    ),
    "it puts a space for a hyphen and we nothing, as GPT-3 did": (
        LAMP.replace("the tower", "the watchtower"), LAMP.replace("the tower", "the watch-tower"), False, True, {},
    ),
    "so that what a hyphen joins is one word here and two there": (
        LAMP.replace("all night", "all-night"), LAMP, True, False, {},
    ),
    "all numbers are one to it by default, and another problem of the same form is the item": (
        LAMP.replace("no ship", "no 12 ships"), LAMP.replace("no ship", "no 99 ships"), True, False,
        {"norm_numbers": True},
    ),
    "accents do not count there by default": (
        LAMP.replace("night", "níght"), LAMP, True, False, {"norm_unicode_diacritics": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", DIFFERENCES)
def test_where_they_differ(tmp_path: Path, datatrove_keeps: Keeps, why: str) -> None:
    item, document, ours, theirs, norm = DIFFERENCES[why]
    items = [Item("quiz", "1", item)]
    assert we_keep(tmp_path / "ours", items, [document]) == [ours]
    assert datatrove_keeps(items, [document], **norm) == [theirs]


def test_it_takes_a_document_for_one_quoted_line_and_a_share_does_not(tmp_path: Path, datatrove_keeps: Keeps) -> None:
    line = " ".join(LAMP.split()[:13])
    items = [Item("quiz", "1", f"{line} and then there follow a dozen other words which the page does not have at all")]
    page = [f"as they say {line} of course"]
    assert datatrove_keeps(items, page) == we_keep(tmp_path / "gram", items, page) == [False]
    assert we_keep(tmp_path / "share", items, page, threshold=0.5) == [True]
