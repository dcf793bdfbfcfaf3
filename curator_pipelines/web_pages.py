"""Web pages to a corpus, stage by stage, in the languages whose rules are known.

Order: what is cheap and drops most comes first; deduplication last, since it must see all documents together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_pipelines.config import CurationConfig

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage


def page_stages(config: CurationConfig, language: str) -> list[ProcessingStage]:
    """From WARC records to clean documents of `language` (en or de): each by itself, partitions in parallel."""
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
        ExtractHtml(config.extractor, language),
        FixText(),
        DropRepeatedBlocks(config.repeated_block_lines),
        KeepAll(heuristics.length(limits), name="length"),
        IdentifyLanguage(config.language, config.min_language_score, config.identifier),
        *([C4Lines.of(limits, language)] if limits.c4_lines else []),
        KeepAll(
            [
                *heuristics.gopher(limits, language),
                *heuristics.c4(limits, language),
                *heuristics.fineweb(limits, language),
                *heuristics.repetition(limits),
            ]
        ),
        *unwanted_stages(config),
    ]


def corpus_stages(config: CurationConfig) -> list[ProcessingStage]:
    """From all documents to the corpus: duplicates leave, then a share is held out."""
    from curator_pipelines.deduplication import duplicate_stages
    from curator_pipelines.stages.hold_out import HoldOut

    return [*duplicate_stages(config.near_duplicates), HoldOut(config.heldout_share)]
