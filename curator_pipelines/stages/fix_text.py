"""Mends text: mojibake and broken Unicode by ftfy, then the white space that table cells and layout leave behind."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

from nemo_curator.stages.text.modifiers import Modify
from nemo_curator.stages.text.modifiers.unicode import UnicodeReformatter
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import conclude, with_bytes

EMPTY_LINES = re.compile(r"\n{3,}")
MARKS = re.compile(r"[^\w\s\x00-\x7f]{32,}")  # all combining marks are among these; a shorter run is sorted fast anyway
REPLACED = {"\u00a0": " ", "\u2007": " ", "\u202f": " ", "\r": ""}


class FixText(Modify):
    """NeMo-Curator's Modify over ftfy (its UnicodeReformatter) and `tidy`; no document leaves here."""

    def __init__(self) -> None:
        super().__init__(modifier_fn=[MendLines(), tidy], input_fields="text")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = "fix_text"

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        return conclude(batch, self.name, with_bytes(super().process(batch).to_pandas()))


class MendLines(UnicodeReformatter):
    """ftfy, line by line as it works anyway, past the lines that it leaves as they are: most of English text.

    Quotes stay as the author set them, and HTML entities as text: extraction has decoded those that were markup.
    Normalisation is ours, in linear time: Unicode's takes quadratic time to sort a long run of combining marks.
    """

    def __init__(self) -> None:
        super().__init__(unescape_html=False, uncurl_quotes=False, normalization=None, explain=False)

    def modify_document(self, text: str) -> str:
        return "\n".join(line if _is_plain(line) else self._mend(line) for line in text.split("\n"))

    def _mend(self, line: str) -> str:
        mended = super().modify_document(line)
        while not unicodedata.is_normalized("NFC", mended):
            line = composed(mended)
            mended = super().modify_document(line)  # as ftfy does: accents put together may be mojibake
        return mended


def composed(text: str) -> str:
    """The text in Unicode's normal form C, in time linear in its length but for the sort of each run of marks."""
    return unicodedata.normalize("NFC", MARKS.sub(_in_canonical_order, text))


def _in_canonical_order(run: re.Match[str]) -> str:
    """Marks taken apart and sorted by class, as the normal form wants them. Source: Unicode 3.11, D108 and D109."""
    apart = "".join(unicodedata.normalize("NFD", mark) for mark in run[0])
    parts = groupby(apart, key=lambda mark: unicodedata.combining(mark) > 0)
    return "".join("".join(sorted(part, key=unicodedata.combining) if are_marks else part) for are_marks, part in parts)


def _is_plain(line: str) -> bool:
    """Printable ASCII, tabs and non-breaking spaces: nothing in it can be mojibake."""
    ascii_ = line.replace("\t", " ").replace("\u00a0", " ")
    return ascii_.isascii() and ascii_.isprintable()


def tidy(text: str) -> str:
    """Ordinary spaces, one between table cells, none at line ends, at most one empty line, nothing around."""
    for unwanted, wanted in REPLACED.items():
        text = text.replace(unwanted, wanted)
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written
    return EMPTY_LINES.sub("\n\n", "\n".join(_tidy_line(line) for line in text.split("\n"))).strip("\n")


def _tidy_line(line: str) -> str:
    line = line.rstrip()
    if "\t" not in line:
        return line
    body = line.lstrip()
    indent = line[: len(line) - len(body)]
    if " " in indent and "\t" in indent:  # empty table cells: no one indents like that
        indent = ""
    return indent + " ".join(cell.strip() for cell in body.split("\t") if cell.strip())
