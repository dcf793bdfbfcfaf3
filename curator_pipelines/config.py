"""The settings of a curation: what `key=value` overrides reach. What they mean together is argued in english.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from curator_pipelines.decontamination.settings import Decontamination
from curator_pipelines.deduplication import AUTO, BACKENDS
from curator_pipelines.pii.settings import Pii
from curator_pipelines.reading import Reader
from glide_nemo.errors import GlideError

EXTRACTORS = ("resiliparse", "justext", "trafilatura")
IDENTIFIERS = ("fasttext", "cld2")
EXECUTORS = ("local", "ray")
FORMATS = ("parquet", "jsonl.zst")
HOW_IT_RUNS = ("executor", "workers", "memory_mb")  # not what comes out: changing them does not make another corpus


@dataclass
class Quality:
    """Thresholds of the heuristic filters, Gopher's, C4's and FineWeb's own. Shares are between 0 and 1."""

    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_length: float = 3.0
    max_mean_word_length: float = 10.0
    max_word_length: int = 1000
    max_symbol_to_word: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_words_with_letters: float = 0.8
    min_stop_words: int = 2
    max_non_alphanumeric: float = 0.25
    max_numbers: float = 0.15
    max_urls: float = 0.2
    c4_lines: bool = True  # cut lines that C4 cuts, but for those without an end mark; see stages/c4_lines.py
    c4_end_marks: bool = False  # those too
    min_words_per_line: int = 3
    c4_headings: bool = True  # a line of fewer words stays where a sentence follows: it names what that is about
    min_sentences: int = 5
    max_curly_brackets: int = 0
    max_lines_without_end_mark: float = 0.85
    max_boilerplate: float = 0.4
    min_line_punctuation: float = 0.12
    max_short_lines: float = 0.67
    max_duplicate_line_characters: float = 0.1  # FineWeb's paper, section 3.6; datatrove's default is 0.01
    max_new_lines: float = 0.3  # a word
    min_unique_lines: float = 0.7
    min_unique_line_characters: float = 0.8
    min_unique_paragraphs: float = 0.7
    min_unique_paragraph_characters: float = 0.8
    max_top_2gram: float = 0.20
    max_top_3gram: float = 0.18
    max_top_4gram: float = 0.16
    max_duplicate_5gram: float = 0.15
    max_duplicate_6gram: float = 0.14
    max_duplicate_7gram: float = 0.13
    max_duplicate_8gram: float = 0.12
    max_duplicate_9gram: float = 0.11
    max_duplicate_10gram: float = 0.10


@dataclass
class Code:
    """Thresholds for source files: The Stack's and StarCoder's, where NeMo-Curator has them as its defaults."""

    min_lines: int = 10
    max_lines: int = 20_000
    max_line_length: int = 1000  # characters; longer ones are data or minified
    max_mean_line_length: float = 100.0
    min_alphabetic: float = 0.25
    min_alphanumeric: float = 0.25
    min_comments: float = 0.01
    max_comments: float = 0.85
    min_html_text: float = 0.2


@dataclass
class NearDuplicates:
    """MinHash LSH: `bands` times `rows` permutations of hashed word n-grams.

    A pair of Jaccard similarity J meets in some band with probability 1 - (1 - J**rows)**bands. 24 bands of 8 rows find
    0.988 of the pairs at 0.8, the threshold, and 0.9995 at 0.85; 20 of 13, usual elsewhere, find 0.68 and 0.92. The
    price is more pairs that are not alike, 0.09 at 0.5 and 0.0016 at 0.3; each pair is compared by its n-grams before
    it counts, so precision does not depend on the bands. 192 permutations also cost less to compute than 260.
    """

    threshold: float = 0.8  # Jaccard similarity from which two documents are one
    ngram: int = 5  # words
    bands: int = 24
    rows: int = 8
    seed: int = 1
    backend: str = AUTO  # gpu: NeMo-Curator's workflows, for exact duplicates too; auto: gpu where cudf imports


@dataclass
class Paragraphs:
    """Paragraphs that other documents have too: the first copy stays, boilerplate goes everywhere."""

    drop_repeated: bool = False  # off for code, whose blank lines separate no paragraphs
    min_characters: int = 80  # shorter ones stay: headings, list items, signatures
    max_copies: int = 100  # documents; a paragraph in more of them is boilerplate
    min_words: int = 50  # what a document must have left


@dataclass
class CurationConfig:
    """One curation: the pipeline, what its stages ask for, and how it runs."""

    pipeline: str = "curator_pipelines.english"  # module with document_stages(config) and corpus_stages(config)
    extractor: str = "resiliparse"
    language: str = "en"  # ISO 639-1
    identifier: str = "fasttext"  # of the language: fasttext or cld2
    min_language_score: float = 0.65
    max_page_bytes: int = 10_000_000  # of HTML, decoded
    repeated_block_lines: int = 3  # a block of this many lines that stood in the document before is cut; 0: none
    reader: Reader = field(default_factory=Reader)  # of JSONL and parquet
    licenses: list[str] = field(default_factory=list)  # SPDX identifiers that a document may have; empty: any
    opt_out: list[str] = field(default_factory=list)  # files of domains and address prefixes that are left out
    license: str = ""  # SPDX expression for every document; empty: what the crawl says
    heldout_share: float = 0.05
    quality: Quality = field(default_factory=Quality)
    code: Code = field(default_factory=Code)
    perplexity_model: str = ""  # directory that `glide perplexity-model` wrote; empty: not scored
    perplexity_keep: list[str] = field(default_factory=lambda: ["head", "middle", "tail"])  # the buckets that stay
    quality_model: str = ""  # directory that `glide quality-classifier` wrote; empty: not scored
    min_quality: float = 0.5  # its training is balanced, so that 0.5 parts the kinds
    max_toxicity: float | None = None  # from 0 to 1, of a classifier of English; empty: not scored
    toxicity_lexicon: str = ""  # file of terms instead, for any language; the score is then hits per 100 words
    decontamination: Decontamination = field(default_factory=Decontamination)
    redact_secrets: bool = True  # keys, tokens and passwords
    pii: Pii = field(default_factory=Pii)
    near_duplicates: NearDuplicates = field(default_factory=NearDuplicates)
    paragraphs: Paragraphs = field(default_factory=Paragraphs)
    output_format: str = "parquet"
    shard_bytes: int = 256_000_000  # of text in one file of the corpus
    partition_bytes: int = 1 << 19  # of WARC file: what one worker holds in memory, and what a kill can cost
    executor: str = "local"
    workers: int = 0  # processes; 0: one a CPU core
    memory_mb: int = 1024  # what sorts and joins over the whole corpus hold in memory; the rest is on disk

    def check(self) -> None:
        """Raises GlideError for a value that no run could use."""
        if self.extractor not in EXTRACTORS:
            raise GlideError(f"unknown extractor '{self.extractor}': choose one of {', '.join(EXTRACTORS)}")
        if self.identifier not in IDENTIFIERS:
            raise GlideError(f"unknown identifier '{self.identifier}': choose one of {', '.join(IDENTIFIERS)}")
        if self.executor not in EXECUTORS:
            raise GlideError(f"unknown executor '{self.executor}': choose one of {', '.join(EXECUTORS)}")
        if self.output_format not in FORMATS:
            raise GlideError(f"unknown output_format '{self.output_format}': choose one of {', '.join(FORMATS)}")
        if self.near_duplicates.bands < 1 or self.near_duplicates.rows < 1:
            raise GlideError("near_duplicates.bands and near_duplicates.rows must be above 0: try 24 and 8")
        if self.near_duplicates.backend not in BACKENDS:
            raise GlideError(
                f"unknown near_duplicates.backend '{self.near_duplicates.backend}': choose one of {', '.join(BACKENDS)}"
            )
        if self.memory_mb < 64:
            raise GlideError(f"memory_mb={self.memory_mb} is too small to sort with: choose at least 64")
        if not 0 < self.heldout_share < 1:
            raise GlideError(
                f"heldout_share={self.heldout_share} is no share: choose one between 0 and 1, such as 0.05"
            )
        self.decontamination.check()
        self.reader.check()
        if self.workers < 0:
            raise GlideError(f"workers={self.workers} is negative: 0 uses every CPU core")
        for name, value in (
            ("partition_bytes", self.partition_bytes),
            ("max_page_bytes", self.max_page_bytes),
            ("shard_bytes", self.shard_bytes),
        ):
            if value < 1:
                raise GlideError(f"{name}={value} is too small: choose a number of bytes above 0")
