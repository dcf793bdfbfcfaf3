"""What the commands that make data do: crawl, curate, and what measures and describes a corpus."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from glide_nemo.commands.settings import configured, given


def run_crawl(args: argparse.Namespace) -> None:
    from glide_nemo.crawl.common_crawl import CommonCrawlConfig, common_crawl
    from glide_nemo.crawl.crawl import CrawlConfig, crawl
    from glide_nemo.crawl.descriptions import DescriptionsConfig, record_descriptions
    from glide_nemo.crawl.folder import FolderConfig, crawl_folder
    from glide_nemo.errors import GlideError

    recipes = {
        "pydoc": CrawlConfig,
        "common_crawl": CommonCrawlConfig,
        "folder": FolderConfig,
        "packages": DescriptionsConfig,
    }
    config = configured(args, recipes, "common_crawl" if args.common_crawl else "folder" if args.site else "pydoc")
    if isinstance(config, FolderConfig):
        if not args.site:
            raise GlideError("no directory of HTML: pass --site DIR")
        crawl_folder(config, args.site, given(args, "out"), force=args.force)
    elif isinstance(config, CommonCrawlConfig):
        if not args.common_crawl:
            raise GlideError("no crawl named: pass --common-crawl ID, such as CC-MAIN-2025-05")
        common_crawl(config, args.common_crawl, given(args, "out"), force=args.force)
    elif isinstance(config, DescriptionsConfig):
        record_descriptions(config, given(args, "out"), force=args.force)
    elif config is not None:
        crawl(config, given(args, "out"), warcs=args.warc, force=args.force)


def run_curate(args: argparse.Namespace) -> None:
    from curator_pipelines.curate import curate
    from curator_pipelines.slurm_cluster import slurm_nodes
    from glide_nemo import plugins
    from glide_nemo.artifact import load
    from glide_nemo.crawl.crawl import CrawlConfig, crawl
    from glide_nemo.errors import GlideError

    recipes = {name: point.load() for name, point in plugins.available("curation").items()}
    config = configured(args, recipes, "nano")
    if config is None:
        return
    out = given(args, "out")
    if sum(map(bool, (args.warc, args.crawl, args.input))) != 1:
        raise GlideError("nothing to curate: pass --warc FILE... or --crawl DIR... or --input PATH..., one of them")
    # The files given are an artifact too (their names and digests), so that the corpus can name what it came from.
    beside = out.resolve() if out.name in ("", "..") else out
    with slurm_nodes(out) if config.executor == "ray" else contextlib.nullcontext():  # before anything is written
        pages = (
            [load(path, "crawl") for path in args.crawl]
            if args.crawl
            else [crawl(CrawlConfig(), Path(f"{beside}.crawl"), warcs=args.warc, inputs=args.input, force=args.force)]
        )
        curate(config, pages, out, force=args.force)


def run_decontam(args: argparse.Namespace) -> None:
    from glide_nemo.errors import GlideError

    if args.action == "report":
        from rich.console import Console

        from curator_pipelines.decontamination.report import summary, worst
        from glide_nemo.artifact import load

        if args.corpus is None:
            raise GlideError("no corpus: pass the directory that `glide curate` wrote")
        corpus = load(args.corpus, "corpus")
        console = Console()
        if not corpus.metrics.get("contaminated"):
            console.print("no item found of any benchmark that the corpus was curated against")
            return
        console.print(summary(corpus))
        console.print(worst(corpus))
        return
    from curator_pipelines.decontamination.fetch import IndexConfig, fetch
    from glide_nemo.config import apply_overrides

    tasks = [text.partition("=") for text in args.task]
    for name, _, file in tasks:
        if not (name and file):
            raise GlideError(f"cannot read --task '{name}': write NAME=FILE")
    fetch(
        apply_overrides(IndexConfig(), args.overrides),
        given(args, "out"),
        benchmarks=args.benchmarks,
        tasks=[(name, Path(file)) for name, _, file in tasks],
        files=args.items,
        force=args.force,
    )


def run_perplexity_model(args: argparse.Namespace) -> None:
    from curator_pipelines.models.perplexity import NgramConfig, train_ngrams
    from glide_nemo.artifact import load

    config = configured(args, {"ccnet": NgramConfig}, "ccnet")
    if config is not None:
        corpus, sample = load(given(args, "corpus"), "corpus"), load(args.sample, "corpus") if args.sample else None
        train_ngrams(config, corpus, given(args, "out"), sample=sample, force=args.force)


def run_quality_classifier(args: argparse.Namespace) -> None:
    from curator_pipelines.models.quality import QualityConfig, train_quality
    from glide_nemo.errors import GlideError

    config = configured(args, {"fasttext": QualityConfig}, "fasttext")
    if config is not None:
        if not (args.positive and args.negative):
            raise GlideError("no samples: pass --positive PATH... and --negative PATH...")
        train_quality(config, args.positive, args.negative, given(args, "out"), force=args.force)


def run_data_card(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.release.data_card import DataCardConfig, beside, write_data_card

    config = apply_overrides(DataCardConfig(), args.overrides)
    corpora = [load(path, "corpus") for path in args.corpora]
    write_data_card(config, corpora, given(args, "out"), beside(corpora), force=args.force)


def run_tokenizer(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.tokenizer.recipes import RECIPES
    from glide_nemo.tokenizer.train import train_tokenizer

    config = configured(args, RECIPES, "nano")
    if config is not None:
        train_tokenizer(config, load(given(args, "corpus"), "corpus"), given(args, "out"), force=args.force)


def run_tokens(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.pack import PackConfig, pack

    config = apply_overrides(PackConfig(), args.overrides)
    corpus, tokenizer = load(given(args, "corpus"), "corpus"), load(given(args, "tokenizer"), "tokenizer")
    pack(config, corpus, tokenizer, given(args, "out"), force=args.force)


def run_blend(args: argparse.Namespace) -> None:
    from glide_nemo.data.blend import parse_parts
    from glide_nemo.data.blend_explained import count_of, described, explain

    seen = explain(parse_parts([*args.tokens, *args.overrides]), count_of(args.run_tokens), args.seq_length)
    print("\n".join(described(seen, args.seq_length)))


def run_questions(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.questions import QuestionsConfig, ask_questions

    config = apply_overrides(QuestionsConfig(), args.overrides)
    ask_questions(config, load(given(args, "corpus"), "corpus"), given(args, "out"), force=args.force)


def run_merge(args: argparse.Namespace) -> None:
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.merge import MergeConfig, merge_datasets

    merge_datasets(apply_overrides(MergeConfig(), args.overrides), args.data, given(args, "out"), force=args.force)


def run_conversations(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.conversations import ConversationsConfig, pack_conversations

    config = apply_overrides(ConversationsConfig(), args.overrides)
    tokenizer = load(given(args, "tokenizer"), "tokenizer")
    pack_conversations(config, args.data, tokenizer, given(args, "out"), force=args.force)


def run_pairs(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.documented_pairs import DocumentedPairsConfig, derive_pairs

    config = apply_overrides(DocumentedPairsConfig(), args.overrides)
    derive_pairs(config, load(given(args, "corpus"), "corpus"), given(args, "out"), force=args.force)
