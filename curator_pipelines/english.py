"""English web pages: the whole curation, stage by stage, with the reason for each threshold.

Order: what is cheap and drops most comes first; deduplication last, since it must see all documents together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_pipelines.config import CurationConfig, Quality

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage


def nano() -> CurationConfig:
    """small and technical: Python's documentation and other reference text, for the quickstart"""
    # Reference text is short lines, lists and braces: what C4 and FineWeb take for code or navigation is its content.
    return CurationConfig(
        min_language_score=0.4,
        quality=Quality(
            max_lines_without_end_mark=0.95,
            max_non_alphanumeric=0.3,
            c4_lines=False,
            max_curly_brackets=1_000_000,
            min_line_punctuation=0.0,
            max_short_lines=1.0,
            max_duplicate_line_characters=1.0,
            max_new_lines=1.0,
            max_duplicate_5gram=0.2,
            max_duplicate_6gram=0.19,
            max_duplicate_7gram=0.18,
            max_duplicate_8gram=0.17,
            max_duplicate_9gram=0.16,
            max_duplicate_10gram=0.15,
        ),
    )


def english() -> CurationConfig:
    """English web crawl: Gopher's, C4's and FineWeb's thresholds, for Common Crawl WARC files"""
    return CurationConfig(quality=Quality())


def document_stages(config: CurationConfig) -> list[ProcessingStage]:
    """From WARC records to clean documents: each document by itself, partitions in parallel."""
    from curator_pipelines import heuristics
    from curator_pipelines.stages.c4_lines import C4Lines
    from curator_pipelines.stages.drop_repeated_blocks import DropRepeatedBlocks
    from curator_pipelines.stages.extract_html import ExtractHtml
    from curator_pipelines.stages.fix_text import FixText
    from curator_pipelines.stages.identify_language import IdentifyLanguage
    from curator_pipelines.stages.keep_all import KeepAll
    from curator_pipelines.stages.read_warc import ReadWarc
    from curator_pipelines.unwanted import unwanted_stages

    limits = config.quality
    return [
        ReadWarc(max_page_bytes=config.max_page_bytes),
        ExtractHtml(algorithm=config.extractor),
        FixText(),
        DropRepeatedBlocks(config.repeated_block_lines),
        KeepAll(heuristics.length(limits), name="length"),
        IdentifyLanguage(config.language, config.min_language_score, config.identifier),
        *([C4Lines.of(limits, "en")] if limits.c4_lines else []),
        KeepAll(
            [
                *heuristics.gopher(limits, "en"),
                *heuristics.c4(limits, "en"),
                *heuristics.fineweb(limits, "en"),
                *heuristics.repetition(limits),
            ]
        ),
        *unwanted_stages(config),
    ]


def corpus_stages(config: CurationConfig) -> list[ProcessingStage]:
    """From all documents to the corpus: duplicates leave, then a share is held out."""
    from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
    from curator_pipelines.stages.hold_out import HoldOut
    from curator_pipelines.stages.near_duplicates import DropNearDuplicates

    near = config.near_duplicates
    return [
        DropExactDuplicates(),
        DropNearDuplicates(near.threshold, near.bands),
        HoldOut(config.heldout_share),
    ]
