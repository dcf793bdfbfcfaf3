"""What each stage of a curation costs on this machine: the figures that glide_nemo/planning/curation.py plans with.

Two runs in this process, in CPU seconds. The pages of a crawl give what the stages that see one document at a time cost
for a megabyte of what enters them; documents drawn from sentences of those pages give what the stages that see all
documents cost for each, and the bytes that each adds to the files in between. `--write` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from glide_nemo.planning.curation import COSTS

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage

    from curator_pipelines.config import CurationConfig
    from glide_nemo.crawl.sources import SourceFile

SENTENCE = re.compile(r"[A-Z][a-z][^\n.]{40,250}\.(?=\s)")
SENTENCES, PARAGRAPHS = 32, 4  # of a document: about 2 kB
ITEMS, ITEM_WORDS = 20_000, 30  # of evaluation sets


@dataclass
class Meter:
    """CPU seconds, and the bytes and documents that entered, by stage."""

    seconds: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)

    def time(self, name: str, work: Callable[[], Any], size: int = 0, documents: int = 0) -> Any:
        started = time.process_time()
        made = work()
        name = name.split(":")[0]
        self.seconds[name] += time.process_time() - started
        self.bytes[name] += size
        self.documents[name] += documents
        return made

    def through(self, stages: Sequence[ProcessingStage], task: Any) -> None:
        for stage in stages:
            frame = task.to_pandas() if hasattr(task, "to_pandas") else None
            size = task.reader_config.get("size", 0) if frame is None else int(frame["bytes"].sum())
            task = self.time(stage.name, lambda stage=stage, task=task: stage.process(task), size, task.num_items)


def configured(benchmarks: Path) -> CurationConfig:
    """The English pipeline with every stage that needs no model of ours, at thresholds that documentation passes."""
    from curator_pipelines.config import Paragraphs
    from curator_pipelines.english import nano

    loose = nano()
    loose.decontamination.benchmarks = str(benchmarks)
    quality = replace(loose.quality, c4_lines=True)
    return replace(loose, max_toxicity=1.0, quality=quality, paragraphs=Paragraphs(drop_repeated=True))


def curated(config: CurationConfig, files: Sequence[SourceFile], work: Path, only: int | None = None) -> Meter:
    """Takes files (or their first `only` partitions) through the steps of `glide curate`, as curate.py takes them."""
    from nemo_curator.tasks import FileGroupTask

    from curator_pipelines import curate, english
    from curator_pipelines.corpus_record import conclude_corpus
    from curator_pipelines.index import build_index, conclude_stage, corpus_task
    from curator_pipelines.partitions import cut
    from curator_pipelines.reading import fields_of, reading_stages
    from curator_pipelines.stages import drop_repeated_paragraphs, partition_files
    from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
    from curator_pipelines.stages.hash_paragraphs import HashParagraphs
    from curator_pipelines.stages.paragraph_decisions import DecideParagraphs
    from curator_pipelines.stages.write_corpus import WriteCorpus
    from glide_nemo.artifact import Draft
    from glide_nemo.config import as_plain
    from glide_nemo.crawl.kinds import WARC

    meter, first, second = Meter(), work / "first", work / "second"
    for folder in (first, second):
        folder.mkdir(parents=True)
    partitions = cut(files, config.partition_bytes, work, fields_of(config.reader))[:only]
    described = {"license": "", "license_of_all": False, "fields": fields_of(config.reader), "source": "s"}
    stages = reading_stages(config, english.document_stages(config), are_text=partitions[0].kind != WARC)
    stages += [HashParagraphs(config.paragraphs.min_characters), partition_files.WritePartition(str(first))]
    for stage in stages:
        stage.setup()
    for partition in partitions:
        described |= as_plain(partition)
        meter.through(stages, FileGroupTask("run", [partition.path], reader_config=dict(described)))
    meter.time("first_index", lambda: build_index(first, config.memory_mb))
    task = corpus_task("run", first, config.memory_mb)
    for stage in (DropExactDuplicates(), DecideParagraphs(config.paragraphs.max_copies)):
        task = meter.time("decide_paragraphs", lambda stage=stage, task=task: stage.process(task))
    rewrite = drop_repeated_paragraphs.DropRepeatedParagraphs(str(first), config.paragraphs.min_words)
    stages = [partition_files.ReadPartition(), rewrite, curate.fingerprint_stage(config)]
    for partition in partitions:
        path = str(partition_files.documents_path(first, partition.index))
        read = FileGroupTask("run", [path], reader_config={"partition": partition.index, "size": partition.size})
        meter.through([*stages, partition_files.WritePartition(str(second))], read)
    meter.time("index", lambda: build_index(second, config.memory_mb))
    task = conclude_stage(corpus_task("run", second, config.memory_mb), "read_partitions", took=False)
    for stage in (*english.corpus_stages(config), WriteCorpus(str(work / "out"))):
        task = meter.time(stage.name, lambda stage=stage, task=task: stage.process(task))
    draft = Draft(work / "out")
    meter.time("ledgers", lambda: conclude_corpus(config, draft, task, [first, second], len(partitions), 1))
    meter.bytes["write_corpus"] = sum(split["bytes"] for split in draft.metrics["split"].values())
    return meter


def drawn(texts: Sequence[str], count: int) -> Iterator[str]:
    """Documents of sentences of the texts; half are nearly another, as in a crawl, and one in ten has its paragraph."""
    pool, chance = list(dict.fromkeys(found for text in texts for found in SENTENCE.findall(text))), random.Random(0)
    words = [word for sentence in pool[:100] for word in sentence.split()]
    before: list[list[str]] = []
    size = SENTENCES // PARAGRAPHS
    for _ in range(count):
        draw = chance.random()
        if before and draw < 0.5:
            paragraphs = [f"{chance.choice(words)} {paragraph}" for paragraph in chance.choice(before)]
        else:
            sentences = [" ".join(found.split()) for found in chance.sample(pool, SENTENCES)]
            paragraphs = [" ".join(sentences[at : at + size]) for at in range(0, SENTENCES, size)]
            if before and draw < 0.6:
                paragraphs[0] = chance.choice(before)[1]
        before = [*before[-500:], paragraphs]
        yield "\n\n".join(paragraphs)


def measure(crawl: Path, documents: int, work: Path) -> dict[str, Any]:
    """The figures as costs.yaml holds them: see glide_nemo/planning/curation.py."""
    import pyarrow.parquet as pq

    from curator_pipelines.decontamination.fetch import IndexConfig, fetch
    from glide_nemo.artifact import load
    from glide_nemo.crawl.sources import describe_inputs, files_of

    pages = files_of(load(crawl, "crawl"))
    texts = pq.read_table(sorted((crawl.parent / "corpus" / "train").glob("*.parquet")), columns=["text"])
    texts = texts.column("text").to_pylist()
    words = re.findall(r"[a-z]{3,}", " ".join(texts))
    chance = random.Random(1)
    items = [
        {"benchmark": "b", "id": str(item), "text": " ".join(chance.sample(words, ITEM_WORDS))} for item in range(ITEMS)
    ]
    (work / "items.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    config = configured(fetch(IndexConfig(), work / "benchmarks", files=[work / "items.jsonl"]).path)
    with open(work / "drawn.jsonl", "w", encoding="utf-8") as file:
        for text in drawn(texts, documents):  # addresses as long as the web's
            file.write(json.dumps({"text": text, "url": f"https://{'/'.join(chance.sample(words, 7))}"}) + "\n")
    many, _ = describe_inputs([str(work / "drawn.jsonl")])
    curated(config, pages, work / "warm", only=2)  # imports, compiles, loads models
    of_pages = curated(config, pages, work / "pages")
    of_many = curated(config, many, work / "many")
    return summarised(of_pages, of_many, work / "many")


def summarised(of_pages: Meter, of_many: Meter, work: Path) -> dict[str, Any]:
    def per_megabyte(meter: Meter, stage: str) -> float:
        return _rounded(meter.seconds[stage] / meter.bytes[stage] * 1e6)

    first, second = work / "first", work / "second"
    entered, left_ = of_many.documents["hash_paragraphs"], of_many.documents["fingerprint"]
    text = of_many.bytes["fingerprint"]
    rejected = work / "out" / "rejections"
    sizes = {
        "bands": _size(second / "bands") / left_,
        "paragraphs": _size(first / "paragraphs") / entered,
        "index": _size(second / "corpus", "index.parquet") / left_,
        "candidates": _size(second / "corpus", "candidates_*.parquet") / left_,
        "ledger_of_rejected": _size(rejected) / _rows(rejected),
    }
    corpus = ("first_index", "decide_paragraphs", "index", "exact_duplicates", "near_duplicates", "hold_out")
    return {
        "cpu_seconds_per_megabyte": {
            stage: per_megabyte(of_pages, stage)
            for stage in of_pages.bytes
            if of_pages.bytes[stage] and stage not in (*corpus, "write_corpus")
        }
        | {"write_corpus": per_megabyte(of_many, "write_corpus")},
        "cpu_microseconds_per_document": {
            stage: _rounded(of_many.seconds[stage] / (entered if stage in corpus[:2] else left_) * 1e6)
            for stage in corpus
        }
        | {"ledgers": _rounded(of_many.seconds["ledgers"] / _rows(rejected) * 1e6)},
        "bytes_per_document": {name: _rounded(value) for name, value in sizes.items()},
        "bytes_per_text_byte": {
            "documents": _rounded(_size(second, "[0-9]*.parquet") / text),
            "sketches": _rounded(_size(second / "sketches") / text),
        },
        "documents": {"pages": of_pages.documents["extract_html"], "drawn": entered, "text_bytes": text},
    }


def _size(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def _rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in folder.glob("[0-9]*.parquet"))


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crawl", type=Path, default=Path("runs/quickstart/crawl"))
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {COSTS.name}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = yaml.safe_dump(measure(args.crawl, args.documents, Path(folder)), sort_keys=False)
    print(found)
    if args.write:
        COSTS.write_text(
            f"# What benchmarks/curation_costs.py measured; MB are 10**6 bytes.\n{found}", encoding="utf-8"
        )
