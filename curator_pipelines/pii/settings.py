"""Which kinds of personal data are redacted: what `pii.KIND=false` overrides reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Pii:
    """One switch a kind; all are on, since each is checked by its form and, where it has one, its check digit."""

    email: bool = True
    ip: bool = True  # public addresses only
    iban: bool = True
    credit_card: bool = True
    de_social_security: bool = True
    us_ssn: bool = True
    de_tax_id: bool = True
    phone: bool = True
