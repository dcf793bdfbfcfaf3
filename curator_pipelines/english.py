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
    return CurationConfig(
        min_language_score=0.4,
        quality=Quality(
            max_lines_without_end_mark=0.95,
            max_non_alphanumeric=0.3,
            max_duplicate_5gram=0.2,
            max_duplicate_10gram=0.15,
        ),
    )


def english() -> CurationConfig:
    """English web crawl: Gopher's and C4's thresholds, for Common Crawl WARC files"""
    return CurationConfig(quality=Quality())


def document_stages(config: CurationConfig) -> list[ProcessingStage]:
    """From WARC records to clean documents: each document by itself, partitions in parallel."""
    from nemo_curator.stages.text.filters import heuristic
    from nemo_curator.stages.text.filters.heuristic import repetition

    from curator_pipelines.stages.drop_repeated_blocks import DropRepeatedBlocks
    from curator_pipelines.stages.extract_html import ExtractHtml
    from curator_pipelines.stages.fix_text import FixText
    from curator_pipelines.stages.identify_language import IdentifyLanguage
    from curator_pipelines.stages.keep import Keep
    from curator_pipelines.stages.read_warc import ReadWarc
    from curator_pipelines.stages.top_ngrams import StableTopNGramsFilter

    quality = config.quality
    return [
        ReadWarc(max_page_bytes=config.max_page_bytes),
        ExtractHtml(algorithm=config.extractor),
        FixText(),
        DropRepeatedBlocks(config.repeated_block_lines),
        Keep(heuristic.WordCountFilter(quality.min_words, quality.max_words), "word_count", "length"),
        IdentifyLanguage(config.language, config.min_language_score),
        Keep(
            heuristic.MeanWordLengthFilter(quality.min_mean_word_length, quality.max_mean_word_length),
            "mean_word_length",
        ),
        Keep(heuristic.LongWordFilter(quality.max_word_length), "long_word"),
        Keep(heuristic.SymbolsToWordsFilter(quality.max_symbol_to_word), "symbols"),
        Keep(heuristic.BulletsFilter(quality.max_bullet_lines), "bullets"),
        Keep(heuristic.EllipsisFilter(quality.max_ellipsis_lines), "ellipsis"),
        Keep(heuristic.WordsWithoutAlphabetsFilter(quality.min_words_with_letters), "words_without_letters"),
        Keep(heuristic.CommonEnglishWordsFilter(quality.min_common_words), "common_english_words"),
        Keep(heuristic.NonAlphaNumericFilter(quality.max_non_alphanumeric), "non_alphanumeric"),
        Keep(heuristic.NumbersFilter(quality.max_numbers), "numbers"),
        Keep(heuristic.UrlsFilter(quality.max_urls), "urls"),
        Keep(heuristic.PunctuationFilter(quality.max_lines_without_end_mark), "lines_without_end_mark"),
        Keep(heuristic.BoilerPlateStringFilter(max_boilerplate_string_ratio=quality.max_boilerplate), "boilerplate"),
        Keep(repetition.RepeatedLinesFilter(quality.min_unique_lines), "repeated_lines"),
        Keep(repetition.RepeatedLinesByCharFilter(quality.min_unique_line_characters), "repeated_line_characters"),
        Keep(StableTopNGramsFilter(2, quality.max_top_2gram), "top_2gram"),
        Keep(StableTopNGramsFilter(3, quality.max_top_3gram), "top_3gram"),
        Keep(StableTopNGramsFilter(4, quality.max_top_4gram), "top_4gram"),
        Keep(repetition.RepeatingDuplicateNGramsFilter(5, quality.max_duplicate_5gram), "duplicate_5grams"),
        Keep(repetition.RepeatingDuplicateNGramsFilter(10, quality.max_duplicate_10gram), "duplicate_10grams"),
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
