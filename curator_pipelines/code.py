"""Permissively licensed source code in the form of The Stack: files with their path and licence, stage by stage.

Source: Kocetkov et al., 2022 (The Stack); Li et al., 2023 (StarCoder), section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_pipelines.config import Code, CurationConfig, Quality
from curator_pipelines.web_pages import corpus_stages

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage

    from curator_pipelines.heuristics import Rules

__all__ = ["code", "corpus_stages", "document_stages"]

COMMENTED = {  # as NeMo-Curator's GeneralCommentToCodeFilter wants to be told; it reads no other languages
    "text/x-c": (".c", ".h"),
    "text/x-c++": (".cc", ".cpp", ".cu", ".cuh", ".hpp"),
    "text/x-go": (".go",),
    "text/x-java-source": (".java",),
    "text/x-javascript": (".js", ".ts"),
    "text/x-ruby": (".rb",),
    "text/x-shellscript": (".sh",),
}


# What The Stack v2 calls permissive, of what most repositories have.
PERMISSIVE = (
    "MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Unlicense", "CC0-1.0", "Zlib",
    "BSL-1.0", "PSF-2.0", "Python-2.0", "PostgreSQL",
)  # fmt: skip


def code() -> CurationConfig:
    """source code with a licence: The Stack's and StarCoder's thresholds, for files with path and licence columns"""
    # Names, licences and boilerplate that files share make them alike before they are copies: 0.85, as for The Stack.
    config = CurationConfig(pipeline="curator_pipelines.code", language="", repeated_block_lines=0)
    config.licenses = list(PERMISSIVE)
    config.quality = Quality(min_words=5, max_words=1_000_000)
    config.near_duplicates.threshold = 0.85
    return config


def document_stages(config: CurationConfig) -> list[ProcessingStage]:
    """From files to clean documents. White space is code: only secrets and personal data are replaced."""
    from curator_pipelines import heuristics
    from curator_pipelines.stages.keep_all import KeepAll
    from curator_pipelines.stages.keep_code import KeepCode
    from curator_pipelines.unwanted import unwanted_stages

    return [
        KeepAll(heuristics.length(config.quality), name="length"),
        KeepCode(rules(config.code), by_extension=rules_by_extension(config.code)),
        *unwanted_stages(config),
    ]


def rules(limits: Code) -> Rules:
    """For every file."""
    from nemo_curator.stages.text.filters.heuristic.code import AlphaFilter, NumberOfLinesOfCodeFilter, XMLHeaderFilter

    from curator_pipelines.filters import source_code

    return [
        ("lines", NumberOfLinesOfCodeFilter(limits.min_lines, limits.max_lines)),
        ("long_line", source_code.LongestLine(at_most=limits.max_line_length)),
        ("mean_line_length", source_code.MeanLine(at_most=limits.max_mean_line_length)),
        ("xml_header", XMLHeaderFilter()),
        ("generated", source_code.Generated(at_most=0)),
        ("alphanumeric", source_code.Alphanumeric(at_least=limits.min_alphanumeric)),
        ("alphabetic", AlphaFilter(limits.min_alphabetic)),
    ]


def rules_by_extension(limits: Code) -> dict[str, Rules]:
    """For files of one language."""
    from nemo_curator.stages.text.filters.heuristic import code as curators

    from curator_pipelines.filters import source_code

    shares = (limits.min_comments, limits.max_comments)
    return {
        ".py": [("comments", curators.PythonCommentToCodeFilter(*shares))],
        ".html": [("html_boilerplate", source_code.HtmlText(limits.min_html_text))],
        **{
            extension: [("comments", curators.GeneralCommentToCodeFilter(kind, *shares))]
            for kind, extensions in COMMENTED.items()
            for extension in extensions
        },
    }
