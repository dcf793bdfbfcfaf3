"""What lets one of NeMo-Curator's filters score a View that other filters look at too."""

from __future__ import annotations

from abc import abstractmethod

from nemo_curator.stages.text.filters import DocumentFilter

from curator_pipelines.view import View


class SharedFilter(DocumentFilter):
    """A DocumentFilter whose score comes from a View; before one of Curator's filters, it keeps that one's verdict."""

    @abstractmethod
    def score(self, view: View) -> float:
        """The score that `keep_document` judges."""

    def score_document(self, text: str) -> float:
        return self.score(View(text))


class Bounded(SharedFilter):
    """A filter of ours: keeps scores within its bounds, which are allowed themselves."""

    def __init__(self, at_least: float = float("-inf"), at_most: float = float("inf")) -> None:
        super().__init__()
        self.at_least = at_least
        self.at_most = at_most

    def keep_document(self, scores: float) -> bool:
        return self.at_least <= scores <= self.at_most
