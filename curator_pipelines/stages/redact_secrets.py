"""Puts `<SECRET>` in the place of keys, tokens and passwords that code carries, and counts them by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import conclude, with_bytes
from curator_pipelines.pii.redaction import Redactor


@dataclass
class RedactSecrets(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Redacts every kind in `pii/secrets.py`; no document leaves here."""

    name: str = "redact_secrets"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["text"]

    @cached_property
    def redactor(self) -> Redactor:
        from curator_pipelines.pii.secrets import SECRETS

        return Redactor(SECRETS)

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        return redacted(batch, self.name, self.redactor)


def redacted(batch: DocumentBatch, stage: str, redactor: Redactor) -> DocumentBatch:
    """The batch with each text redacted and `bytes` counted anew."""
    documents = batch.to_pandas()
    counts: Counter[str] = Counter()
    texts = []
    for text in documents["text"]:
        clean, found = redactor.redact(text)
        texts.append(clean)
        counts += found
    changed = documents.assign(text=pd.Series(texts, index=documents.index, dtype=documents["text"].dtype))
    return conclude(batch, stage, with_bytes(changed), counts=counts)
