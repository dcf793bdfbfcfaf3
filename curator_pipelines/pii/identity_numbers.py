"""Numbers that a state gives to a person: German tax and social security numbers, US social security numbers."""

from __future__ import annotations

from typing import Any

from stdnum.de import idnr
from stdnum.us import ssn

from curator_pipelines.pii.redaction import Kind, Span, digits_of, stands_alone

TAX_ID = rb"[1-9][0-9](?:[ /]?[0-9]{3}){3}"
SOCIAL_SECURITY = rb"[0-9]{2}[ \-]?[0-9]{6}[ \-]?[A-Z][ \-]?[0-9]{3}"
US = rb"[0-9]{3}-[0-9]{2}-[0-9]{4}"
WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)


def german_tax_id(text: bytes, match: Any) -> Span | None:
    """Steuer-IdNr (section 139b AO): eleven digits, one of the first ten twice or thrice, ISO 7064 MOD 11,10."""
    alone = stands_alone(text, *match.span())
    return match.span() if alone and idnr.is_valid(digits_of(match.group())) else None


def german_social_security(text: bytes, match: Any) -> Span | None:
    alone = stands_alone(text, *match.span())
    found = match.group().decode().replace(" ", "").replace("-", "")
    return match.span() if alone and is_social_security(found) else None


def is_social_security(number: str) -> bool:
    """Versicherungsnummer (section 2 VKVV): area, date of birth, initial, serial number and check digit.

    Of 12 characters. The initial counts as its place in the alphabet in two digits; the check digit is the sum of the
    digit sums of all weighted digits, modulo 10. From the day and month of birth no more is asked than their ranges:
    the day is 0 where it is unknown.
    """
    day, month, initial = int(number[2:4]), int(number[4:6]), number[8]
    digits = number[:8] + f"{ord(initial) - ord('A') + 1:02}" + number[9:11]
    products = [int(digit) * weight for digit, weight in zip(digits, WEIGHTS, strict=True)]
    check = sum(product // 10 + product % 10 for product in products) % 10
    return day <= 31 and month <= 12 and number[:2] != "00" and check == int(number[11])


def american_social_security(text: bytes, match: Any) -> Span | None:
    """AAA-GG-SSSS without the areas, groups and serials that were never issued; it has no check digit."""
    alone = stands_alone(text, *match.span())
    return match.span() if alone and ssn.is_valid(match.group().decode()) else None


TAX_IDS = Kind("de_tax_id", "<DE_TAX_ID>", TAX_ID, TAX_ID, german_tax_id)
SOCIAL_SECURITIES = Kind(
    "de_social_security", "<DE_SOCIAL_SECURITY>", SOCIAL_SECURITY, SOCIAL_SECURITY, german_social_security
)
US_SOCIAL_SECURITIES = Kind("us_ssn", "<US_SSN>", US, US, american_social_security)
