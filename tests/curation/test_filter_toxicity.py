"""Toxic documents leave with their score: by the classifier in English, by a lexicon elsewhere."""

from __future__ import annotations

import pickle
import random
import re
from pathlib import Path
from pydoc_data.topics import topics

import pandas as pd
import pytest
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import REJECTIONS
from curator_pipelines.lexicon import Lexicon, read_lexicon
from curator_pipelines.stages.filter_toxicity import FilterToxicity, english_toxicity
from glide_nemo.errors import GlideError

INSULTS = "You are a stupid idiot and a moron, shut up, you pathetic loser. " * 10
PROSE = [text for _, text in sorted(topics.items())][:12]


def batch(*texts: str) -> DocumentBatch:
    rows = [(str(number), f"u{number}", text, len(text.encode())) for number, text in enumerate(texts)]
    return DocumentBatch("x", pd.DataFrame(rows, columns=["id", "url", "text", "bytes"]))


def lexicon_file(folder: Path, content: str) -> Path:
    path = folder / "lexicon.txt"
    path.write_text(content, encoding="utf-8")
    return path


def test_insults_leave_with_their_score_and_prose_stays() -> None:
    done = FilterToxicity(0.5).process(batch(PROSE[0], INSULTS, ""))
    kept = done.to_pandas()
    assert kept["id"].tolist() == ["0", "2"] and kept["toxicity"].max() < 0.1 and kept["toxicity"].iloc[1] == 0
    (lost,) = done._metadata[REJECTIONS]
    assert (lost.id, lost.stage, lost.reason) == ("1", "toxicity", "toxic") and lost.score > 0.9
    assert lost.bytes == len(INSULTS)


def test_a_document_scores_the_mean_of_its_passages() -> None:
    harmless, rude = " ".join(PROSE[0].split()[:100]), " ".join(INSULTS.split()[:100])
    low, high, both = english_toxicity([harmless, rude, f"{harmless} {rude} {harmless} {harmless}"])
    assert both == pytest.approx((3 * low + high) / 4, abs=2e-6)


def test_a_score_does_not_depend_on_the_batch_it_comes_in() -> None:
    together = english_toxicity([*PROSE, INSULTS])
    assert together == [english_toxicity([text])[0] for text in [*PROSE, INSULTS]]
    assert english_toxicity([]) == []


def test_an_empty_batch_passes(tmp_path: Path) -> None:
    path = lexicon_file(tmp_path, "wort\t1\n")
    for stage in (FilterToxicity(0.5), FilterToxicity(0.5, str(path))):
        done = stage.process(DocumentBatch("x", batch("a").to_pandas().iloc[:0]))
        assert done.num_items == 0 and done.to_pandas()["toxicity"].dtype == "float64"


def test_a_lexicon_counts_weighted_terms_per_hundred_words(tmp_path: Path) -> None:
    path = lexicon_file(tmp_path, "# Gemüse\n\nRübe\t2\nalter Kohl\t3\nkohl\t1\ngurke*\t0.5\n*salat\t1\n")
    lexicon = read_lexicon(path)
    assert lexicon.score("Die RÜBE liegt hier.") == 50  # 2 in 4 words
    assert lexicon.score("Ein alter\n Kohl") == 100  # the phrase, not also the word in it
    assert lexicon.score("kohl, Kohl; kohlrabi Weißkohl") == 50
    assert lexicon.score("Gurkenglas Essiggurke Kopfsalat salatig") == 37.5
    assert lexicon.score("Ru\u0308be") == 200  # decomposed
    assert lexicon.score("") == lexicon.score("...") == 0
    done = FilterToxicity(40, str(path)).process(batch("Die Rübe liegt hier.", "Die Kartoffel liegt hier."))
    assert done.to_pandas()["id"].tolist() == ["1"]
    assert [(lost.reason, lost.score) for lost in done._metadata[REJECTIONS]] == [("toxic", 50)]


@pytest.mark.parametrize(
    ("content", "told"),
    [("a\t1\nb\n", "line 2"), ("a\tx\n", "line 1"), ("a\t-1\n", "line 1"), ("a\tnan\n", "line 1"), ("*\t1\n", "line 1"),
     ("a\t1\nA\t2\n", "twice"), ("# only this\n", "without terms")],
)  # fmt: skip
def test_a_lexicon_that_cannot_be_read_says_where(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(GlideError, match=told):
        read_lexicon(lexicon_file(tmp_path, content))


def test_a_lexicon_that_is_missing_or_in_another_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match=r"none\.txt"):
        read_lexicon(tmp_path / "none.txt")
    path = tmp_path / "latin.txt"
    path.write_bytes("Rübe\t1\n".encode("latin-1"))
    with pytest.raises(GlideError, match="not UTF-8"):
        read_lexicon(path)


def test_a_stage_can_be_sent_to_a_worker_also_after_use(tmp_path: Path) -> None:
    stage = FilterToxicity(40, str(lexicon_file(tmp_path, "wort\t1\n")))
    before = stage.process(batch("ein Wort")).num_items
    assert pickle.loads(pickle.dumps(stage)).process(batch("ein Wort")).num_items == before == 0


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.sampled_from(["ab", "a", "b ab", "ba*", "*bb", "a b", "abba"]), min_size=1), st.text("ab ", max_size=40)
)
def test_hits_are_those_of_a_search_in_every_place(terms: set[str], text: str) -> None:
    weights = {term: float(number) for number, term in enumerate(sorted(terms), 1)}
    folded = " ".join(text.split())
    total, at = 0.0, 0
    while at < len(folded):
        fits = []
        for term, weight in weights.items():
            border = ("" if term.startswith("*") else r"\b") + re.escape(term.strip("*"))
            match = re.compile(border + ("" if term.endswith("*") else r"\b")).match(folded, at)
            fits += [(match.end(), weight)] if match else []
        end, weight = max(fits, default=(at + 1, 0.0))
        total, at = total + weight, end
    expected = round(100 * total / len(folded.split()), 6) if folded else 0.0
    assert Lexicon(weights).score(text) == pytest.approx(expected)


def test_a_lexicon_reads_hostile_text_in_linear_time() -> None:
    draw = random.Random(3)
    lexicon = Lexicon({"a" * length: 1.0 for length in range(1, 20)} | {"a*": 1.0, "*b": draw.random()})
    assert_linear(lambda times: lexicon.score("ab" * times + " a" * times), 10_000, 40_000)
