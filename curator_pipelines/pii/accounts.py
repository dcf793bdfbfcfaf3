"""Bank accounts by IBAN (ISO 13616, check digits ISO 7064 MOD 97-10) and payment cards (ISO/IEC 7812, Luhn)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from stdnum import iban, luhn, numdb

from curator_pipelines.pii.redaction import DIGITS, WORD, Kind, Span, digits_of, stands_alone

IBAN = rb"[A-Z]{2}[0-9]{2}(?:[ \-]?[A-Z0-9]){11,30}"
CARD = rb"[2-6][0-9]{3}(?:[ \-]?[0-9]){10,15}"
GROUPS = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (6, 13)}  # as cards are embossed and written
# Issuers' ranges in force, by first and last prefix and the lengths they issue. Visa's 13 digits are of the past, and
# of that length are article numbers (EAN), German ones beginning with a 4.
ISSUERS = (
    ("4", "4", (16, 19)),  # Visa
    ("51", "55", (16,)), ("2221", "2720", (16,)),  # Mastercard
    ("34", "34", (15,)), ("37", "37", (15,)),  # American Express
    ("6011", "6011", (16, 19)), ("644", "659", (16, 19)),  # Discover
    ("300", "305", (14,)), ("36", "36", (14,)), ("38", "39", (14,)),  # Diners Club
    ("3528", "3589", (16, 19)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
)  # fmt: skip


def bank_account(text: bytes, match: Any) -> Span | None:
    """The candidate as far as its country's IBANs reach: the words behind it look like more of it."""
    start = match.start()
    length = iban_length(text[start : start + 2].decode())
    end = _behind(text, start, match.end(), WORD, length)
    if end is None or not stands_alone(text, start, end):
        return None
    return (start, end) if iban.is_valid(text[start:end].decode().replace("-", "")) else None


@lru_cache(1024)
def iban_length(country: str) -> int:
    """Characters in an IBAN of the country, 0 where there are none, by python-stdnum's copy of SWIFT's registry."""
    properties = numdb.get("iban").info(country)[0][1]
    return 4 + sum(int(part) for part in re.findall(r"\d+", properties["bban"])) if properties else 0


def payment_card(text: bytes, match: Any) -> Span | None:
    start = match.start()
    for length in card_lengths(digits_of(match.group())):
        end = _behind(text, start, match.end(), DIGITS, length)
        if end is None or not stands_alone(text, start, end):
            continue
        groups = tuple(len(group) for group in re.split(rb"[ \-]", text[start:end]))
        if (len(groups) == 1 or groups in GROUPS) and luhn.is_valid(digits_of(text[start:end])):
            return start, end
    return None


def card_lengths(digits: str) -> tuple[int, ...]:
    """How many digits a card that begins with these may have, longest first; none where nobody issues such cards."""
    for first, last, lengths in ISSUERS:
        if first <= digits[: len(first)] <= last:
            return tuple(sorted(lengths, reverse=True))
    return ()


def _behind(text: bytes, start: int, end: int, counted: frozenset[int], length: int) -> int | None:
    """Where the first `length` characters that count end; None where there are fewer before `end`."""
    for at in range(start, end):
        length -= text[at] in counted
        if not length:
            return at + 1
    return None


IBANS = Kind("iban", "<IBAN>", rb"[A-Z]{2}[0-9]{2}[ \-]?[A-Z0-9]{4}", IBAN, bank_account)
CARDS = Kind("credit_card", "<CREDIT_CARD>", rb"[2-6][0-9]{3}[ \-]?(?:[0-9][ \-]?){10}", CARD, payment_card)
