"""A curation in numbers: CPU hours, disk, bytes moved and memory for a crawl of any size, from measured costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import yaml

COSTS = Path(__file__).with_name("curation_costs.yaml")
MB, GB, TB = 1e6, 1e9, 1e12
HOUR = 3600.0  # seconds
BYTES_PER_PARTITION = 2_200  # in the parent: the partition, its task, its result; measured on 50,000 of each
BYTES_PER_DOCUMENT = 40  # in the parent while near-duplicates are joined: five arrays of 64-bit numbers
WORKER_BYTES = 520 * MB  # of a process with its imports; measured on partitions of 0.1 and of 5 MB
WORKER_BYTES_PER_BYTE = 13  # more of it, of packed WARC: measured on one partition of 33 MB, 194 MB of HTML
FILES_PER_PARTITION = 11  # of both passes: documents, record and two ledgers twice; paragraphs; bands; sketches
OF_HTML = ("extract_html",)
OF_PAGES = ("fix_text", "drop_repeated_blocks", "length", "language")  # see every page's text
OF_LANGUAGE = ("c4_lines", "quality")  # what is in the language
OF_CLEAN = ("toxicity", "decontaminate", "redact_secrets", "redact_pii", "hash_paragraphs", "write_partition")
OF_SECOND_PASS = ("read_partition", "repeated_paragraphs", "fingerprint", "write_partition")


@dataclass(frozen=True)
class Costs:
    """What was measured: CPU seconds of one core, bytes on disk. `benchmarks/curation_costs.py` makes it."""

    cpu_seconds_per_megabyte: Mapping[str, float]  # by stage, of what enters it; of read_warc, packed
    # By stage that sees all documents; of ledgers, of those that left.
    cpu_microseconds_per_document: Mapping[str, float]
    bytes_per_document: Mapping[str, float]  # by kind of file
    bytes_per_text_byte: Mapping[str, float]  # of files as large as the text: documents as parquet, n-grams


@dataclass(frozen=True)
class Crawl:
    """What is to be curated. The default is one dump of Common Crawl.

    Pages and bytes: Common Crawl's announcement of CC-MAIN-2024-51 (2.64 billion pages, 394 TiB unpacked). Assumed are
    the bytes of a WARC file and of a page's text, and the shares of pages: RefinedWeb (Penedo et al., 2023), whose
    filters are of the same kinds, reports that nearly 90 % leave in all.
    """

    warcs: int = 90_000
    warc_bytes: float = 1.0 * GB
    pages: int = 2_640_000_000
    html_bytes: float = 164_000.0  # a page
    text_bytes: float = 4_000.0  # a page, extracted
    in_language: float = 0.48  # share of pages left after language identification
    clean: float = 0.23  # after the filters
    unique: float = 0.11  # after deduplication

    def part(self, groups: int) -> Crawl:
        """One of so many equal parts."""
        return Crawl(ceil(self.warcs / groups), self.warc_bytes, ceil(self.pages / groups), self.html_bytes,
                     self.text_bytes, self.in_language, self.clean, self.unique)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """What enters a stage, and what it takes."""

    name: str
    documents: float
    bytes: float
    cpu_seconds: float


@dataclass(frozen=True)
class CurationPlan:
    """One curation. The first half is shared by all cores; the second is one process, reckoned as one core."""

    first_half: tuple[Stage, ...]  # a document at a time
    second_half: tuple[Stage, ...]  # all documents together
    disk: Mapping[str, float]  # bytes, by what they are; all of it at once, before the work folder goes
    moved: float  # bytes that joins and sorts read and write beyond the partitions' own
    memory: Mapping[str, float]  # bytes: of each worker, and of the parent for what
    partitions: int
    files: int

    @property
    def first_half_seconds(self) -> float:
        """CPU seconds."""
        return sum(stage.cpu_seconds for stage in self.first_half)

    @property
    def second_half_seconds(self) -> float:
        return sum(stage.cpu_seconds for stage in self.second_half)

    def hours(self, cores: int) -> float:
        """From start to end on that many cores of one machine or cluster, none of them waiting for a disk."""
        return (self.first_half_seconds / cores + self.second_half_seconds) / HOUR


def measured_costs() -> Costs:
    """The costs that came with this package."""
    found = yaml.safe_load(COSTS.read_text(encoding="utf-8"))
    return Costs(**{name: found[name] for name in Costs.__annotations__})


def plan_curation(
    crawl: Crawl, costs: Costs, *, partition_bytes: float = 32 * MB, memory_mb: int = 1024
) -> CurationPlan:
    """The plan of one `glide curate` with every stage on that needs no model of its own.

    `moved`: paragraph hashes are read twice, bands once, candidate pairs written and read; text is read, dealt out into
    files, and read again in order. That the sorts of numbers spill is not in it.
    """
    partitions = crawl.warcs * ceil(crawl.warc_bytes / partition_bytes)
    clean, unique = crawl.pages * crawl.clean, crawl.pages * crawl.unique
    per_document = costs.bytes_per_document
    per_byte = costs.bytes_per_text_byte
    documents = clean * crawl.text_bytes * per_byte["documents"]
    corpus = unique * crawl.text_bytes * per_byte["documents"]
    disk = {
        "WARC files": crawl.warcs * crawl.warc_bytes,
        "documents, both passes": 2 * documents,
        "sketches": clean * crawl.text_bytes * per_byte["sketches"],
        **{name: clean * per_document[name] for name in ("paragraphs", "bands", "index", "candidates")},
        "ledger, twice": 2 * (crawl.pages - unique) * per_document["ledger_of_rejected"],
        "corpus, and dealt out": 2 * corpus,
    }
    moved = 2 * disk["paragraphs"] + disk["bands"] + 2 * disk["candidates"] + 3 * corpus
    memory = {
        "a worker": WORKER_BYTES + partition_bytes * WORKER_BYTES_PER_BYTE,
        "partitions": partitions * BYTES_PER_PARTITION,
        "near-duplicates": clean * BYTES_PER_DOCUMENT,
        "sorts and joins": memory_mb * MB,
    }
    first, second = _first_half(crawl, costs), _second_half(crawl, costs)
    return CurationPlan(first, second, disk, moved, memory, partitions, partitions * FILES_PER_PARTITION)


def _first_half(crawl: Crawl, costs: Costs) -> tuple[Stage, ...]:
    entering = (
        (("read_warc",), crawl.pages, crawl.warcs * crawl.warc_bytes),
        (OF_HTML, crawl.pages, crawl.pages * crawl.html_bytes),
        (OF_PAGES, crawl.pages, crawl.pages * crawl.text_bytes),
        (OF_LANGUAGE, crawl.pages * crawl.in_language, crawl.pages * crawl.in_language * crawl.text_bytes),
        (OF_CLEAN, crawl.pages * crawl.clean, crawl.pages * crawl.clean * crawl.text_bytes),
        (OF_SECOND_PASS, crawl.pages * crawl.clean, crawl.pages * crawl.clean * crawl.text_bytes),
    )
    return tuple(
        Stage(name, documents, size, size / MB * costs.cpu_seconds_per_megabyte[name])
        for names, documents, size in entering
        for name in names
    )


def _second_half(crawl: Crawl, costs: Costs) -> tuple[Stage, ...]:
    clean, unique = crawl.pages * crawl.clean, crawl.pages * crawl.unique
    entering = {**dict.fromkeys(costs.cpu_microseconds_per_document, clean), "ledgers": crawl.pages - unique}
    of_all = [
        Stage(name, entering[name], 0.0, entering[name] * microseconds / 1e6)
        for name, microseconds in costs.cpu_microseconds_per_document.items()
    ]
    size = unique * crawl.text_bytes
    written = Stage("write_corpus", unique, size, size / MB * costs.cpu_seconds_per_megabyte["write_corpus"])
    return (*of_all, written)


def describe(plan: CurationPlan, cores: int) -> str:
    """The plan in lines."""
    lines = [f"{'stage':24} {'documents':>14} {'GB in':>10} {'CPU hours':>10}"]
    for stage in (*plan.first_half, *plan.second_half):
        size = f"{stage.bytes / GB:10,.0f}" if stage.bytes else " " * 10
        lines.append(f"{stage.name:24} {stage.documents:14,.0f} {size} {stage.cpu_seconds / HOUR:10,.1f}")
    lines += [f"disk: {name:18} {size / GB:12,.1f} GB" for name, size in plan.disk.items()]
    lines.append(f"moved by joins and sorts {plan.moved / GB:12,.1f} GB")
    lines += [f"memory: {name:16} {size / GB:12,.2f} GB" for name, size in plan.memory.items()]
    lines.append(f"{plan.partitions:,} partitions, {plan.files:,} files")
    lines.append(
        f"first half {plan.first_half_seconds / HOUR / cores:,.1f} hours on {cores:,} cores, second half "
        f"{plan.second_half_seconds / HOUR:,.1f} hours in one process: {plan.hours(cores):,.1f} hours"
    )
    return "\n".join(lines)
