"""Books, manuals and other long texts without markup: Gopher's rules, without those for what only web pages have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_pipelines.config import CurationConfig, Quality
from curator_pipelines.web_pages import corpus_stages

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage

__all__ = ["books", "corpus_stages", "document_stages"]


def books() -> CurationConfig:
    """books, manuals, news and forums as plain text: Gopher's rules, lines as the typesetter broke them"""
    # A line of a book ends where the page did, so no rule looks at a line's end or length. A refrain, a running head or
    # a glossary repeats itself in a text of this length without harm: 2-grams to 4-grams are Gopher's, which chose its
    # limits for books too, and a repeated block is cut rather than the book lost. A run of blanks counts as one: with
    # each blank as a character that is no letter, 4 of 16 books and manuals were lost to their indentation. Two are
    # now, whose tables are drawn with lines and bars, to 27 and 37 of 100 characters.
    return CurationConfig(
        pipeline="curator_pipelines.books",
        min_language_score=0.5,  # as in english.py: of 21 English texts one lies between, 28 in 18 others lie elsewhere
        quality=Quality(
            min_words=200,
            max_words=5_000_000,
            min_stop_words=4,
            max_lines_without_end_mark=1.0,
            max_curly_brackets=1_000_000,
            c4_lines=False,
        ),
    )


def document_stages(config: CurationConfig) -> list[ProcessingStage]:
    """From texts to clean documents."""
    from curator_pipelines import heuristics
    from curator_pipelines.stages.drop_repeated_blocks import DropRepeatedBlocks
    from curator_pipelines.stages.fix_text import FixText
    from curator_pipelines.stages.identify_language import IdentifyLanguage
    from curator_pipelines.stages.keep_all import KeepAll
    from curator_pipelines.unwanted import unwanted_stages

    limits = config.quality
    return [
        FixText(),
        DropRepeatedBlocks(config.repeated_block_lines),
        KeepAll(heuristics.length(limits), name="length"),
        IdentifyLanguage(config.language, config.min_language_score, config.identifier),
        KeepAll([*heuristics.gopher(limits, config.language, typeset=True), *heuristics.repetition(limits)]),
        *unwanted_stages(config),
    ]
