"""Documents that are toxic in large part leave: by a classifier in English, by a lexicon in any language.

The classifier is alt-profanity-check's (MIT): TF-IDF over words into a calibrated linear SVM, trained on comments, its
model in the package. A document is read as comments are long, in passages, and scored by their mean: over a whole
document one hateful paragraph among many drowns, and by the worst passage a novel leaves for one quotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude
from curator_pipelines.lexicon import Lexicon, read_lexicon

PASSAGE = 100  # words


@dataclass
class FilterToxicity(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Adds `toxicity`; documents above `max_toxicity` leave as `toxic`.

    Without `lexicon` the score is the classifier's, a probability from 0 to 1, and means something in English only.
    With the path of one it is weighted hits per 100 words, from 0 without bound: the threshold is another.
    """

    max_toxicity: float
    lexicon: str = ""
    name: str = "toxicity"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "text", "bytes"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["toxicity"]

    @cached_property
    def _lexicon(self) -> Lexicon:
        return read_lexicon(Path(self.lexicon))

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        documents = batch.to_pandas()
        texts = list(documents["text"])
        scores = [self._lexicon.score(text) for text in texts] if self.lexicon else english_toxicity(texts)
        documents = documents.assign(toxicity=pd.Series(scores, index=documents.index, dtype="float64"))
        toxic = documents["toxicity"] > self.max_toxicity
        lost = [
            Rejection(row.id, row.url, self.name, "toxic", row.toxicity, row.bytes)
            for row in documents[toxic].itertuples()
        ]
        return conclude(batch, self.name, documents[~toxic], lost)


def english_toxicity(texts: Sequence[str]) -> list[float]:
    """Mean probability over each text's passages that a passage is toxic; 0 for a text without words."""
    passages: list[str] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        words = text.split()
        for start in range(0, len(words), PASSAGE):
            passages.append(" ".join(words[start : start + PASSAGE]))
            owners.append(number)
    if not passages:
        return [0.0] * len(texts)
    from profanity_check import predict_prob

    counts = np.maximum(np.bincount(owners, minlength=len(texts)), 1)
    sums = np.bincount(owners, weights=predict_prob(passages), minlength=len(texts))
    return [round(float(score), 6) for score in sums / counts]
