"""Mended text: what ftfy makes of it, in time linear in the text whatever stands in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pydoc_data.topics import topics

import pytest
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st
from nemo_curator.stages.text.modifiers.unicode import UnicodeReformatter

from curator_pipelines.stages.fix_text import MendLines, composed, tidy

FTFY = UnicodeReformatter(unescape_html=False, uncurl_quotes=False, normalization="NFC", explain=False)
MARKS = "\u0301\u0316\u0327\u0345\u05b0\u0653\u0f71\u0f73\u3099\U0001d165"  # of ten classes, one made of two others
COMMON = st.sampled_from(MARKS + "eä가각각\u1100\u1161 ﬁÃ©â€™Ì\x81…'\x85")
LINE = st.text(COMMON | st.characters(categories=["L", "M", "P"]))
HOSTILE: dict[str, Callable[[int], str]] = {
    "marks that alternate": lambda size: "e" + "\u0316\u0301" * (size // 2),
    "marks in the wrong order": lambda size: "é" + "\u0301" * (size // 2) + "\u0316" * (size // 2),
    "a mark made of two": lambda size: "e" + "\u0f73" * size,
    "marks in mojibake": lambda size: "e" + "\u0316\u0301".encode().decode("latin-1") * (size // 4),
    "one long line": lambda size: "naïve words and “quotes”, " * (size * 10 // 26),
    "one long line of mojibake": lambda size: "schÃ¶n " * (size // 7),
}


def mend(text: str) -> str:
    return tidy(MendLines().modify_document(text))


@settings(max_examples=500, deadline=None)
@given(LINE)
def test_a_line_is_what_ftfy_makes_of_it(line: str) -> None:
    assert MendLines().modify_document(line) == "\n".join(FTFY.modify_document(part) for part in line.split("\n"))


def test_prose_in_any_normal_form_is_what_ftfy_makes_of_it() -> None:
    prose = "\n".join(topics.values())[:200_000].replace("e", "é").replace("u", "ü")
    for text in (prose, unicodedata.normalize("NFD", prose), prose.encode().decode("latin-1")):
        assert MendLines().modify_document(text) == "\n".join(FTFY.modify_document(line) for line in text.split("\n"))


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(MARKS + "e!…"), min_size=30, max_size=300))
def test_long_runs_of_marks_come_in_their_normal_form(text: str) -> None:
    assert composed(text) == unicodedata.normalize("NFC", text)


def test_no_letter_is_a_mark() -> None:
    """What the search for runs of marks relies on."""
    letters = [chr(code) for code in range(0x80, 0x110000) if chr(code).isalnum() or chr(code).isspace()]
    assert not [letter for letter in letters if unicodedata.combining(unicodedata.normalize("NFD", letter)[0])]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_takes_linear_time(kind: str) -> None:
    assert_linear(mend, HOSTILE[kind](25_000), HOSTILE[kind](100_000))
