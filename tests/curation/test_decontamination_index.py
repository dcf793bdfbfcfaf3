"""The index finds what a plain search in Python finds, and nothing that is not in the words themselves."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from benchmark_items import indexed
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_pipelines.decontamination.index import FILTER_BITS, open_index, write_index
from curator_pipelines.decontamination.items import Item
from curator_pipelines.decontamination.overlap import find_matches
from curator_pipelines.decontamination.words import as_bytes, fold_table, gram_hashes, hash_words, split_words
from glide_nemo.errors import GlideError


def plain_words(text: str) -> list[str]:
    """GPT-3's normalisation, a character at a time."""
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if character.isspace() or category in ("Zs", "Zl", "Zp", "Cc"):
            kept.append(" ")
        elif category[0] not in "PS" and category != "Cf":
            kept.append(character.lower()[0])
    return "".join(kept).split()


def plain_grams(words: list[str], ngram: int) -> set[tuple[str, ...]]:
    width = min(ngram, len(words))
    return {tuple(words[at : at + width]) for at in range(len(words) - width + 1)}


def longest_common(one: list[str], other: list[str]) -> int:
    """Words of the longest common substring, by the table that textbooks have."""
    best, before = 0, [0] * (len(other) + 1)
    for word in one:
        row = [0] * (len(other) + 1)
        for at, against in enumerate(other, start=1):
            if word == against:
                row[at] = before[at - 1] + 1
                best = max(best, row[at])
        before = row
    return best


PLANE_0 = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",)), max_size=60)
MIXED = st.text(st.sampled_from(list("abAB ., -'’—\t\n\u00a0\u200b\u2028éÉßİ東。😀𝒳")), max_size=60)


@settings(max_examples=150, deadline=None)
@given(st.one_of(PLANE_0, MIXED))
def test_words_as_hashes_and_as_strings_are_those_of_a_plain_reading(text: str) -> None:
    expected = plain_words("".join(c for c in text if ord(c) < 0x10000 or unicodedata.category(c)[0] not in "PS"))
    if any(ord(c) >= 0x10000 for c in text):  # taken as letters, whatever they are
        expected = split_words(text)
    assert split_words(text) == expected
    data = as_bytes(text)
    hashes, starts, ends = hash_words(data, fold_table())
    assert len(hashes) == len(expected)
    raw = data.tobytes()
    assert [split_words(raw[a:b].decode()) for a, b in zip(starts, ends, strict=True)] == [[w] for w in expected]
    assert len(set(hashes.tolist())) == len(set(expected))


def test_rolled_gram_hashes_are_those_of_each_gram_by_itself() -> None:
    words, _, _ = hash_words(as_bytes("one two three four five six one two three four five six"), fold_table())
    for width in (1, 2, 5, 12):
        alone = [gram_hashes(words[at : at + width], width)[0] for at in range(len(words) - width + 1)]
        assert gram_hashes(words, width).tolist() == [int(gram) for gram in alone]
        assert len(gram_hashes(words, 13)) == 0
    assert gram_hashes(words, 2)[0] == gram_hashes(words, 2)[6] != gram_hashes(words, 2)[1]


@pytest.mark.parametrize("seed", range(4))
def test_matches_are_those_of_brute_force(tmp_path: Path, seed: int) -> None:
    """Few words, so that items overlap in part, in many places, and with each other."""
    draw = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(5)]
    ngram, min_words, max_items = 3, 2, 4
    items = [
        Item(f"b{number % 3}", str(number), " ".join(draw.choices(vocabulary, k=draw.randint(1, 10))))
        for number in range(80)
    ]
    index = open_index(indexed(tmp_path / "i", items, ngram=ngram, min_words=min_words, max_items=max_items))

    texts = {tuple(plain_words(item.text)) for item in items if len(plain_words(item.text)) >= min_words}
    in_texts: dict[tuple[str, ...], int] = {}
    for text in texts:
        for gram in plain_grams(list(text), ngram):
            in_texts[gram] = in_texts.get(gram, 0) + 1
    assert max(in_texts.values()) > max_items  # some are left out

    expected, found = {}, {}
    for number in range(60):
        document = draw.choices(vocabulary, k=draw.randint(0, 60))
        text = "  ".join(word.upper() + draw.choice(["", ",", ".", "!"]) for word in document)
        for match in find_matches(text, index):
            item = index.items["id"][match.item].as_py()
            longest = len(split_words(text[match.start : match.end]))
            found[number, item] = (match.overlap, longest)
            for start, end in match.runs:
                assert start == 0 or text[start - 1] == " "
                assert len(split_words(text[start:end])) >= min(ngram, len(plain_words(items[int(item)].text)))
        seen = set()
        for item in items:
            words = plain_words(item.text)
            if len(words) < min_words or (item.benchmark, *words) in seen:
                continue
            seen.add((item.benchmark, *words))
            grams = {gram for gram in plain_grams(words, ngram) if in_texts[gram] <= max_items}
            width = min(ngram, len(words))
            held = grams & {tuple(document[at : at + width]) for at in range(len(document) - width + 1)}
            if held:
                whole = len(grams) == len(
                    plain_grams(words, ngram)
                )  # else the longest run may hold none of the index's
                longest = longest_common(words, document) if whole else None
                expected[number, item.id] = (round(len(held) / len(grams), 4), longest)
    assert len(expected) > 200 and sum(longest is not None for _, longest in expected.values()) > 50
    assert set(found) == set(expected)
    for key, (overlap, longest) in expected.items():
        assert found[key][0] == overlap
        assert longest is None or found[key][1] == longest, key


def test_a_gram_of_many_items_is_not_looked_for_and_equal_items_are_one(tmp_path: Path) -> None:
    shared = "choose the one answer below that best completes this sentence about the sea"
    items = [Item("quiz", str(n), f"{shared} number{n} mast{n} sail{n}") for n in range(12)]
    items += [Item("other", str(n), "the lamp in the tower burns all night so that no ship is lost") for n in range(3)]
    items += [Item("third", "a", items[-1].text.upper()), Item("third", "b", "too short to find")]
    counts = write_index(tmp_path, items, ngram=13, min_words=8, max_items=10)
    assert counts["quiz"] == {"items": 12, "indexed": 12, "short": 0, "common": 0, "duplicates": 0}
    assert counts["other"] == {"items": 3, "indexed": 1, "short": 0, "common": 0, "duplicates": 2}
    assert counts["third"] == {"items": 2, "indexed": 1, "short": 1, "common": 0, "duplicates": 0}
    index = open_index(tmp_path)
    assert find_matches(f"they said: {shared}, and nothing more", index) == []
    assert [match.overlap for match in find_matches(items[3].text, index)] == [1.0]
    both = [index.items["benchmark"][match.item].as_py() for match in find_matches(items[-2].text, index)]
    assert both == ["other", "third"]


def test_an_item_of_frequent_grams_alone_is_counted_as_common(tmp_path: Path) -> None:
    shared = "choose the one answer below that best completes this sentence about the sea"
    items = [Item("quiz", str(n), f"{shared} mast{n}") for n in range(3)] + [Item("quiz", "bare", shared)]
    counts = write_index(tmp_path, items, ngram=13, min_words=8, max_items=2)
    assert counts["quiz"]["common"] == 1 and counts["quiz"]["indexed"] == 3


def test_equal_hashes_of_other_words_are_no_match(tmp_path: Path) -> None:
    """A collision, made: the index says that the gram is of an item that does not hold its words."""
    text = "the lamp in the tower burns all night so that no ship is lost"
    index = open_index(indexed(tmp_path, [Item("a", "1", text)]))
    other = "a gull sat on the mast and looked at them as if it wanted bread"
    table = index.items.set_column(2, "text", pa.array([other], pa.large_string()))
    assert len(find_matches(text, index)) == 1
    assert find_matches(text, type(index)(**{**vars(index), "items": table})) == []


def test_the_files_are_of_the_stated_size_and_equal_each_time(tmp_path: Path) -> None:
    items = [Item("a", str(n), " ".join(f"w{n * 40 + word}" for word in range(40))) for n in range(200)]
    first, second = indexed(tmp_path / "a", items), indexed(tmp_path / "b", items)
    files = sorted(path.name for path in first.iterdir())
    assert files == ["filter.npy", "grams.npy", "index.json", "items.arrow", "offsets.npy", "owners.npy"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)
    grams = 200 * 28
    sizes = {name: (first / name).stat().st_size for name in files}
    assert sizes["grams.npy"] <= 8 * grams + 128 and sizes["offsets.npy"] <= 4 * (grams + 1) + 128
    assert sizes["owners.npy"] <= 4 * grams + 128 and sizes["filter.npy"] <= 2 * grams * FILTER_BITS // 8 + 128
    index = open_index(first)
    assert np.all(index.grams[1:] > index.grams[:-1])


def test_hostile_text_takes_linear_time(tmp_path: Path) -> None:
    """An item that repeats one word, and a document that does: every place of one fits every place of the other."""
    item = "word " * 2_000
    index = open_index(indexed(tmp_path, [Item("a", "1", item)]))
    find_matches("word " * 100, index)  # compiled

    def find(size: int) -> None:
        (match,) = find_matches("word " * size, index)
        assert match.overlap == 1.0 and match.runs == ((0, 5 * size - 1),)

    assert_linear(find, 5_000, 40_000, times=8)
    assert find_matches("w" * 500_000, index) == []
    assert find_matches("." * 500_000, index) == []


def test_no_index_and_no_item_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match=r"no index of benchmarks.*glide decontam fetch"):
        open_index(tmp_path / "none")
    with pytest.raises(GlideError, match="no item to look for among 1: pass items of at least 8 words"):
        write_index(tmp_path, [Item("a", "1", "only a few words")], ngram=13, min_words=8, max_items=10)
    with pytest.raises(GlideError, match="no item to look for among 0"):
        write_index(tmp_path, [], ngram=13, min_words=8, max_items=10)
    broken = indexed(tmp_path / "i", [Item("a", "1", "the lamp in the tower burns all night so that none is lost")])
    (broken / "grams.npy").write_bytes(b"nothing")
    with pytest.raises(GlideError, match="unreadable index"):
        open_index(broken)
