"""German web pages: the English pipeline's rules with a German's thresholds, stop words, end marks and phrases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_pipelines.config import CurationConfig, Quality
from curator_pipelines.web_pages import corpus_stages, page_stages

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage

__all__ = ["corpus_stages", "document_stages", "german"]


def german() -> CurationConfig:
    """German web crawl: Gopher's, C4's and FineWeb's rules with thresholds for German"""
    # The same book (124 chapters) has words of 6.3 characters in German and 5.5 in English at the median: 1.14 times
    # as long, so Gopher's 3 to 10 become 3.4 to 11.4. Its chapters lie between 4.6 and 8.1. All of them that were
    # translated hold at least 3 of the twelve stop words; the rest is English, and holds 0 to 2.
    return CurationConfig(
        pipeline="curator_pipelines.german",
        language="de",
        quality=Quality(
            min_mean_word_length=3.4,
            max_mean_word_length=11.4,
            min_stop_words=3,
        ),
    )


def document_stages(config: CurationConfig) -> list[ProcessingStage]:
    """From WARC records to clean documents."""
    return page_stages(config, "de")
