"""C4's rules for whole documents (Raffel et al., 2020, section 2.2); its rules for lines are in stages/c4_lines.py."""

from __future__ import annotations

from nemo_curator.stages.text.filters.heuristic import BoilerPlateStringFilter, PunctuationFilter
from nemo_curator.stages.text.utils.constants import end_marks, policy_substrings

from curator_pipelines.filters.shared import Bounded, SharedFilter
from curator_pipelines.view import View

LOREM_IPSUM = "lorem ipsum"
# A German sentence may end in a closing quote, "..." of either direction or a guillemet.
END_MARKS = {"en": end_marks, "de": (*end_marks, "“", "”", "«", "»", "‘", "’", "…")}
POLICY = {
    "en": tuple(policy_substrings),
    "de": (
        "datenschutzerklärung", "datenschutzbestimmungen", "nutzungsbedingungen", "cookie-richtlinie",
        "verwendet cookies", "verwenden cookies", "verwendung von cookies", "nutzt cookies", "cookies zustimmen",
        "cookie-einstellungen", "alle rechte vorbehalten",
    ),
}  # fmt: skip


class LinesWithoutEndMark(SharedFilter, PunctuationFilter):
    """Share of lines that end in no mark of a sentence's end."""

    def __init__(self, max_share: float, language: str = "en") -> None:
        super().__init__(max_share)
        self.marks = END_MARKS[language]

    def score(self, view: View) -> float:
        return sum(not line.endswith(self.marks) for line in view.stripped_lines) / len(view.lines)


class Boilerplate(SharedFilter, BoilerPlateStringFilter):
    """Share of paragraphs that speak of cookies, terms and privacy; 1 where placeholder text stands."""

    def __init__(self, max_share: float, language: str = "en") -> None:
        super().__init__(max_boilerplate_string_ratio=max_share)
        self.phrases = POLICY[language]

    def score(self, view: View) -> float:
        if LOREM_IPSUM in view.lowered:
            return self._max_ratio
        if not any(phrase in view.lowered for phrase in self.phrases):
            return 0.0
        paragraphs = view.lowered.split("\n\n")
        return sum(any(phrase in paragraph for phrase in self.phrases) for paragraph in paragraphs) / len(paragraphs)


class CurlyBrackets(Bounded):
    """How many opening curly brackets there are: C4 takes a page with one for code."""

    def score(self, view: View) -> float:
        return view.text.count("{")
