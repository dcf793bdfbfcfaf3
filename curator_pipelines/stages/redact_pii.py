"""Puts typed placeholders (`<EMAIL>`, `<IBAN>`, ...) in the place of personal data, and counts them by kind.

Runs after RedactSecrets, which knows that the `name:word@host` of a URL is a password and no e-mail address.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property

from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.pii.redaction import Kind, Redactor
from curator_pipelines.pii.settings import Pii
from curator_pipelines.stages.redact_secrets import redacted


@dataclass
class RedactPii(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Redacts the kinds that `pii` switches on; no document leaves here."""

    pii: Pii = field(default_factory=Pii)
    name: str = "redact_pii"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["text"]

    @cached_property
    def redactor(self) -> Redactor:
        return Redactor(pii_kinds(self.pii))

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        return redacted(batch, self.name, self.redactor)


def pii_kinds(pii: Pii) -> list[Kind]:
    """The kinds that are switched on, in the order in which they are looked for.

    What has a check digit comes before telephone numbers, which a row of digits is only by its form.
    """
    from curator_pipelines.pii import accounts, addresses, identity_numbers, phones

    on = asdict(pii)
    every = [
        addresses.EMAILS,
        addresses.IPV4S,
        addresses.IPV6S,
        accounts.IBANS,
        accounts.CARDS,
        identity_numbers.SOCIAL_SECURITIES,
        identity_numbers.US_SOCIAL_SECURITIES,
        identity_numbers.TAX_IDS,
        phones.PHONES,
    ]
    return [kind for kind in every if on[kind.name]]
