"""Only documents under a licence that was allowed stay: books, code and news come with all kinds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import Rejection, conclude

UNSTATED = ("", "unknown", "none", "noassertion")  # SPDX 2.3, 10.1 and 10.2: no licence, none asserted
LONGEST = 64  # characters of a licence in a reason: what stands in data is anything


@dataclass
class AllowLicenses(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Column `license`, an SPDX expression, against SPDX identifiers, whatever their case.

    Of alternatives (`MIT OR GPL-3.0-only`) one must be allowed, of a conjunction (`MIT AND Zlib`) each. An expression
    with an exception (`WITH`) or parentheses is allowed as it stands or not at all.
    """

    licenses: list[str] = field(default_factory=list)
    name: str = "allow_licenses"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "license", "bytes"]

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        documents = batch.to_pandas()
        allowed = frozenset(license_.casefold() for license_ in self.licenses)
        stated = [license_ or "" for license_ in documents["license"]]
        keep = [is_allowed(license_, allowed) for license_ in stated]
        lost = [
            Rejection(row.id, row.url, self.name, reason(license_), None, int(row.bytes))
            for row, license_, kept in zip(documents.itertuples(), stated, keep, strict=True)
            if not kept
        ]
        return conclude(batch, self.name, documents[keep] if len(documents) else documents, lost)


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression can be met by licences in `allowed`, which are in lower case."""
    folded = " ".join(expression.casefold().split())
    if folded in UNSTATED:
        return False
    if folded in allowed or "(" in folded:
        return folded in allowed
    alternatives = folded.split(" or ")
    return any(all(part in allowed for part in alternative.split(" and ")) for alternative in alternatives)


def reason(license_: str) -> str:
    """`license_<spdx>`, or `no_license` where none is stated."""
    if license_.strip().casefold() in UNSTATED:
        return "no_license"
    return "license_" + re.sub(r"[^\w.+-]+", "_", license_)[:LONGEST]
