"""The items of the continuation task: true to the documents, and equal each time they are made."""

from __future__ import annotations

import random

from glide_nemo.evaluation.continuation import ContinuationConfig, make_items
from glide_nemo.evaluation.subject import Document

CONFIG = ContinuationConfig(items=40, context_characters=100, continuation_characters=60)


def documents(count: int, characters: int = 2_000) -> list[Document]:
    draw = random.Random(7)
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return [
        Document(
            f"d{i}", " ".join("".join(draw.choices(alphabet, k=draw.randint(2, 9))) for _ in range(characters // 6))
        )
        for i in range(count)
    ]


def test_the_right_choice_follows_the_context_and_the_wrong_ones_are_not_in_the_document() -> None:
    corpus = documents(8)
    texts = {document.id: document.text for document in corpus}
    items = make_items(corpus, CONFIG)
    assert len(items) == 40
    for item in items:
        text = texts[item["id"].split("#")[0]]
        assert item["context"] + item["choices"][item["label"]] in text
        wrong = [choice for i, choice in enumerate(item["choices"]) if i != item["label"]]
        assert len(item["choices"]) == 4 and not any(choice.strip() in text for choice in wrong)


def test_equal_documents_give_equal_items_and_another_seed_gives_others() -> None:
    assert make_items(documents(6), CONFIG) == make_items(documents(6), CONFIG)
    other = ContinuationConfig(items=40, context_characters=100, continuation_characters=60, seed=1)
    assert make_items(documents(6), CONFIG) != make_items(documents(6), other)


def test_the_right_choice_is_in_every_place_about_equally_often() -> None:
    labels = [
        item["label"] for item in make_items(documents(40), ContinuationConfig(items=400, context_characters=100))
    ]
    assert len(labels) > 150 and all(labels.count(place) > len(labels) / 6 for place in range(4))


def test_no_document_makes_up_the_task() -> None:
    corpus = [*documents(5), Document("long", documents(1, 200_000)[0].text)]
    items = make_items(corpus, ContinuationConfig(items=1_000, context_characters=100, passages_per_document=7))
    assert sum(item["id"].startswith("long#") for item in items) <= 7


def test_too_few_or_too_short_documents_give_no_items() -> None:
    assert make_items(documents(3), CONFIG) == []
    assert make_items(documents(10, characters=150), CONFIG) == []
    same = [Document(f"d{i}", documents(1)[0].text) for i in range(6)]
    assert make_items(same, CONFIG) == []
