"""What real manuals, books and modules taught: each test holds a verdict that was wrong before."""

from __future__ import annotations

import inspect
import sysconfig
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from curator_pipelines import heuristics
from curator_pipelines.books import books
from curator_pipelines.config import Quality
from curator_pipelines.english import english
from curator_pipelines.filters.fineweb import NewLines
from curator_pipelines.filters.gopher import NonAlphanumeric
from curator_pipelines.filters.source_code import Generated
from curator_pipelines.german import german
from curator_pipelines.pii.redaction import Redactor
from curator_pipelines.pii.settings import Pii
from curator_pipelines.stages.c4_lines import C4Lines
from curator_pipelines.stages.keep_all import judge
from curator_pipelines.stages.redact_pii import pii_kinds

GLOSSARY = """Glossary

Ebb

The water falls for a little more than six hours, and the boats that lie at the quay sit down in the mud.

Flood

It rises for about as long. Who wants to leave the harbour waits for the last third of it.

Home
Contact
About us

Spring tide

Twice a month, when sun and moon stand in a line, the difference between the two is largest. Nobody sails then.

Prices"""

PAGE = """Zeile einfügen

Fügt der Tabelle eine Zeile hinzu. Wo die Schreibmarke steht, rückt alles nach unten, Formeln passen sich an.

Öffnen Sie das Menü Tabelle, wählen Sie Einfügen und danach Zeile. Mit gedrückter Umschalttaste erscheint eine weitere
Zeile darüber. Mehrere Zeilen auf einmal fügen Sie ein, indem Sie vorher ebenso viele markieren.

Geschützte Tabellen lassen keine Zeile zu. Heben Sie vorher ihren Schutz auf: Tabelle, Eigenschaften, Schutz aufheben.
"""


def redacted(text: str) -> str:
    return Redactor(pii_kinds(Pii())).redact(text)[0]


def cut(text: str, **more: bool) -> list[str]:
    kept, _ = C4Lines(**more).cut(text, Counter())
    return [line for line in kept.split("\n") if line]


def test_a_heading_and_the_term_that_a_sentence_defines_stay_and_a_menu_goes() -> None:
    kept = cut(GLOSSARY, headings=True)
    assert [line for line in kept if len(line.split()) < 3] == ["Ebb", "Flood", "Spring tide"]
    assert [line for line in cut(GLOSSARY) if len(line.split()) < 3] == [], "C4's rule as it was published"
    assert [line for line in kept if len(line.split()) >= 3] == cut(GLOSSARY)


def test_headings_are_no_sentences_and_do_not_save_a_page_that_has_too_few() -> None:
    text = "One\n\nThis is the only sentence here.\n\nTwo\n\nAnd this is another sentence."
    for headings in (False, True):
        stage = C4Lines(headings=headings, min_sentences=3)
        assert stage.cut(text, Counter())[1] == 2


def test_a_heading_of_a_line_about_cookies_goes_with_it() -> None:
    text = "Cookies\n\nThis site uses cookies to remember you.\n\nTides\n\nThey turn twice a day here."
    assert cut(text, headings=True) == ["Tides", "They turn twice a day here."]


def test_one_sentence_said_twice_costs_a_manual_page_nothing() -> None:
    """FineWeb's paper has 0.1 of the characters in repeated lines, not the 0.01 of datatrove's default."""
    steps = "Choose the cell that holds the formula."
    text = f"{PAGE}\n{steps}\n\nPress the key, and then go on.\n\n{steps}\n\n" + PAGE.replace("Zeile", "Spalte")
    rules = heuristics.fineweb(Quality(), "en")
    assert judge(text, rules) is None
    lost = judge(text, heuristics.fineweb(Quality(max_duplicate_line_characters=0.01), "en"))
    assert lost is not None and lost[0] == "duplicate_line_characters" and 0.01 < lost[1] < 0.1
    assert judge("\n".join([steps, PAGE, steps, steps, steps, steps]), rules) is not None


@pytest.mark.parametrize("recipe", [english, german])
def test_prose_with_a_bracket_stays_and_code_leaves(recipe: type) -> None:
    limits, language = recipe().quality, recipe().language
    prose = PAGE + "\nDer Pfad ist {installpath}/program.\n"
    assert judge(prose, heuristics.c4(limits, language)) is None
    code = PAGE + "function f() { return {}; }\n" * 6
    assert judge(code, heuristics.c4(limits, language)) == ("curly_brackets", 12.0)


def test_a_short_german_page_has_two_stop_words_and_stays() -> None:
    limits = german().quality
    text = "Funktion Jahr\n\nGibt das Jahr eines Datums zurück.\n\nJahr(Zahl)\n\nZahl: Tage, von 1900 an gezählt.\n"
    assert judge(text, heuristics.gopher(limits, "de")) is None
    without = text.replace("das", "").replace("von", "")
    lost = judge(without, heuristics.gopher(limits, "de"))
    assert lost is not None and lost[0] == "stop_words"


def test_indentation_costs_a_book_nothing_and_tables_of_lines_still_do() -> None:
    prose = topics["assignment"]
    flat = " ".join(prose.split())
    indented = "\n".join(" " * 24 + line for line in prose.split("\n"))
    typeset, plain = NonAlphanumeric(0.25, typeset=True), NonAlphanumeric(0.25)
    assert plain.score_document(indented) > 0.25 > typeset.score_document(indented)
    assert typeset.score_document(flat) == plain.score_document(flat)
    table = "+------+------+\n| one  | two  |\n" * 40
    assert not typeset.keep_document(typeset.score_document(table))


def test_books_take_indented_topics_of_the_language_manual() -> None:
    limits = books().quality
    manual = ("compound", "customization", "specialnames")  # prose, indented by the heading that it stands under
    assert all(judge(topics[name], heuristics.gopher(limits, "en")) for name in manual)
    assert not any(judge(topics[name], heuristics.gopher(limits, "en", typeset=True)) for name in manual)


def test_a_module_that_speaks_of_generated_files_was_not_generated() -> None:
    spoken = '"""Loads files generated by earlier versions, and those written by hand."""\n\nimport pickle\n'
    assert Generated().score_document(spoken) == 0
    for said in ("# Generated by setup.py\n", "/* Code generated by gen. */\n", "// This file was generated by x\n"):
        assert Generated().score_document(said) == 1
    token = (Path(sysconfig.get_path("stdlib")) / "token.py").read_text(encoding="utf-8")
    assert Generated().score_document(token) == 1
    assert Generated().score_document(inspect.getsource(inspect)) == 0


def test_the_number_of_a_section_is_no_address_and_an_address_is() -> None:
    heading = "14.3.2.1. In Echtzeit\n\nDas Programm top zeigt, was gerade läuft. Mehr dazu im Kapitel danach."
    assert redacted(heading) == heading
    assert redacted(f"Text davor.\n\n  {heading}") == f"Text davor.\n\n  {heading}"
    assert redacted(f"Text davor.\n\n  * {heading}") == f"Text davor.\n\n  * {heading}"
    assert redacted("Der Server ist\n81.2.69.142 und antwortet.") == "Der Server ist\n<IP> und antwortet."
    assert (
        redacted("Er hat die Adresse 81.2.69.142. Danach folgt Text.") == "Er hat die Adresse <IP>. Danach folgt Text."
    )
    far = "x" * 60  # no line begins here, only what is looked at
    assert redacted(f"{far} 81.2.69.142. Text") == f"{far} <IP>. Text"


def test_empty_lines_between_paragraphs_make_no_list_of_a_page() -> None:
    terms = "\n\n".join(f"Term {n}\n\nIt names the {n}th part of a long chain here." for n in range(20))
    assert judge(terms, heuristics.fineweb(Quality(), "en")) is None
    words = "\n\n".join("three words only" for _ in range(60))
    assert NewLines(at_most=0.3).score_document(words) > 0.3
