"""Telephone numbers, where their form or a word before them says that they are: a bare row of digits says nothing.

Four forms: international (`+49 30 123456`, E.164: a country code that exists, 9 to 15 digits), North American
(`(415) 555-0132`), German with its area code (`030 / 123456`, `(030) 123456`, mobile also `0171-1234567`), and any
number of 6 to 15 digits after `Tel.:`, `Fon:`, `Mobile:` and the like. The word stays, the number goes.
"""

from __future__ import annotations

from typing import Any

import re2

from curator_pipelines.pii.redaction import DIGITS, Kind, Span, begins_alone, digits_of, ends_alone

REST = rb"(?:(?: ?\(0\) ?|[ ./\-]| ?[/\-] ?|\) ?| ?\()?[0-9]){5,16}"
WORDS = (
    rb"(?i:tel(?:efon|ephone)?|(?:tele)?fax|phone|fon|mobile?|handy|cell|rufnummer|hotline|whatsapp)"
    rb"(?:[ \-]?(?i:nr|no|number|nummer))?\.?(?: ?\([A-Za-z]{1,12}\))? ?[.:] ?"
)
# With or without brackets: their form says what they are, so that these count in any place.
AMERICAN = rb"(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[\-.])[2-9][0-9]{2}[\-. ][0-9]{4}"
GERMAN = rb"\(0[1-9][0-9]{1,4}\) ?[/\-]? ?[1-9]" + REST + rb"|0[1-9][0-9]{1,4} ?/ ?[1-9]" + REST
MOBILE = rb"01[567][0-9]{1,2}[ \-][0-9]" + REST
INTERNATIONAL = rb"(?:\+|\b00)[1-9]" + REST
PHONE = b"|".join([WORDS + rb"(\(?\+?[0-9]" + REST + b")", INTERNATIONAL, AMERICAN, GERMAN, MOBILE])
TRIGGER = b"|".join([
    rb"[a-zA-Z)][.:] ?\(?\+?[0-9](?:[ ()./\-]{0,3}[0-9]){5}",
    rb"(?:\+|\b00)[1-9](?:[ ()./\-]{0,3}[0-9]){7}",
    rb"[2-9][0-9]{2}(?:\) ?|[\-.])[2-9][0-9]{2}[\-. ][0-9]{4}",
    rb"\(?0[1-9][0-9]{1,4}(?:\) ?| ?/ ?|[ \-])[ /\-]?[ ]?[0-9](?:[ ()./\-]{0,3}[0-9]){4}",
])  # fmt: skip
DATE = re2.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{4}")
DECIMAL = re2.compile(rb"\+?[0-9]+\.[0-9]+")
SHORTEST, LONGEST = 9, 15  # digits of an international number, its country code included (ITU-T E.164)

# Assigned country codes (list to ITU-T E.164); of those of three digits, the zones they stand in.
COUNTRY_CODE = re2.compile(
    "7|20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|(?:2[1-69]|3[578]|42|5[09]|6[789]|8[58]|9[679])[0-9]"
)


def phone(text: bytes, match: Any) -> Span | None:
    labelled = match.span(1) != (-1, -1)
    start, end = match.span(1) if labelled else match.span()
    word = match.start()
    if text[word - 1 : word].isalpha() if labelled else not begins_alone(text, start):
        return None
    if start > 1 and text[start : start + 2] == b"00" and text[start - 2] in DIGITS:
        return None  # in a row of groups of digits
    while end > start:
        found = text[start:end]
        if ends_alone(text, end) and (is_labelled(found) if labelled else is_phone(found)):
            return start, end
        end = _without_last_group(text, start, end)
    return None


def _without_last_group(text: bytes, start: int, end: int) -> int:
    """The end of the candidate without its last digits and what parts them from those before."""
    while end > start and text[end - 1] in DIGITS:
        end -= 1
    while end > start and text[end - 1] not in DIGITS:
        end -= 1
    return end


def is_labelled(number: bytes) -> bool:
    """Whether what follows a word for telephone can be a number: no date, no decimal, 6 to 15 digits."""
    return 6 <= len(digits_of(number)) <= LONGEST and not DATE.fullmatch(number)


def is_phone(number: bytes) -> bool:
    """Whether a number can be one by its form alone."""
    digits = digits_of(number)
    if DECIMAL.fullmatch(number):
        return False
    if number.startswith((b"+", b"00")):
        return _is_international(digits.removeprefix("00"))
    if digits.startswith("0"):
        return SHORTEST <= len(digits) <= 13
    return len(digits) == 10


def _is_international(digits: str) -> bool:
    if not SHORTEST <= len(digits) <= LONGEST:
        return False
    if digits.startswith("1"):  # area and exchange begin with 2 to 9
        return len(digits) == 11 and digits[1] > "1" and digits[4] > "1"
    country = COUNTRY_CODE.match(digits)
    return bool(country) and not digits.startswith("000", country.end())


PHONES = Kind("phone", "<PHONE>", TRIGGER, PHONE, phone)
