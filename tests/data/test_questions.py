"""Questions from documented signatures: what pydoc's own pages say, and nothing that they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_corpus import write_corpus

from glide_nemo.artifact import Artifact
from glide_nemo.data.questions import FILE, QuestionsConfig, ask_questions
from glide_nemo.data.signatures import documented
from glide_nemo.errors import GlideError

PAGE = """Python 3.12.1
Module Index : Topics : Keywords

textwrap index
/usr/lib/textwrap.py
Module Reference

Text wrapping and filling.

Classes

builtins.object
TextWrapper

class TextWrapper(builtins.object)
TextWrapper(width=70, *, max_lines=None)

Object for wrapping/filling text.  The public interface consists of
the wrap() and fill() methods.

Methods defined here:
__init__(self, width=70, *, max_lines=None)
Initialize self.  See help(type(self)) for accurate signature.
fill(self, text)
fill(text : string) -> string

Reformat the single paragraph in 'text' to fit. And more.
wrap(self, text)
undocumented(self)
Methods inherited from Base:
inherited(self)
Something that another page says.

Functions

dedent(text)
Remove any common leading whitespace from every line in `text`.

_private(text)
Not for anyone to see here.
"""


def test_a_page_is_read_as_pydoc_wrote_it() -> None:
    found = {item.name: (item.kind, item.arguments, item.does) for item in documented(PAGE)}
    assert found == {
        "textwrap": ("module", None, "Text wrapping and filling."),
        "textwrap.TextWrapper": ("class", "width=70, *, max_lines=None", "Object for wrapping/filling text."),
        "textwrap.TextWrapper.fill": ("method", "self, text", "Reformat the single paragraph in 'text' to fit."),
        "textwrap.dedent": ("function", "text", "Remove any common leading whitespace from every line in `text`."),
    }


def test_other_text_documents_nothing() -> None:
    assert list(documented("Some page\n\nfunction(text)\nDoes a thing with text.\n")) == []


def asked(tmp_path: Path, pages: list[str]) -> Artifact:
    corpus = write_corpus(
        tmp_path / "corpus", {"train": [(f"doc-{n}", page) for n, page in enumerate(pages)], "heldout": [("h", PAGE)]}
    )
    return ask_questions(QuestionsConfig(), corpus, tmp_path / "out")


def test_every_answer_stands_on_the_page_and_carries_its_licence(tmp_path: Path) -> None:
    made = asked(tmp_path, [PAGE, "nothing documented here"])
    lines = [json.loads(line) for line in (made.path / FILE).read_text().splitlines()]
    assert made.metrics["conversations"] == len(lines) == 10 and made.metrics["pages"] == 1
    assert made.metrics["asked"] == {"arguments": 3, "what": 4, "which": 3}
    said = {line["messages"][0]["content"]: line["messages"][1]["content"] for line in lines}
    assert "`fill(text)`" in said.values() and "`textwrap.dedent`" in said.values()
    assert "Text wrapping and filling." in said.values()
    assert all({"url", "license", "language"} <= set(line) and line["document"] == "doc-0" for line in lines)


def test_of_a_page_that_documents_nothing_its_sentences_are_asked(tmp_path: Path) -> None:
    page = "The first of these sentences stands alone. The second one follows it!\n\nNo pair is in this paragraph here."
    made = asked(tmp_path, [page])
    (line,) = [json.loads(line) for line in (made.path / FILE).read_text().splitlines()]
    assert line["messages"][0]["content"].endswith("The first of these sentences stands alone.")
    assert line["messages"][1]["content"] == "The second one follows it!"


def test_the_same_page_twice_is_asked_about_once_and_equal_runs_are_equal(tmp_path: Path) -> None:
    one, two = asked(tmp_path / "one", [PAGE]), asked(tmp_path / "two", [PAGE, PAGE])
    assert one.metrics["conversations"] == two.metrics["conversations"]
    assert (one.path / FILE).read_bytes() == (two.path / FILE).read_bytes()


def test_a_corpus_that_documents_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="no documented signatures and no sentences"):
        asked(tmp_path, ["a page about nothing"])
