"""What each subcommand of `glide` does: reads its settings and inputs, and calls the step, imported only then."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def _configured(args: argparse.Namespace, recipes: Mapping[str, Callable[[], Any]], default: str) -> Any:
    """The config of --recipe with the overrides applied; None where --list or --dry-run has said all there is."""
    from glide_nemo.config import apply_overrides, as_plain
    from glide_nemo.errors import GlideError

    if args.list:
        for name, recipe in recipes.items():
            print(f"{name:<16} {(recipe.__doc__ or '').strip().splitlines()[0]}")
        return None
    name = args.recipe or default
    if name not in recipes:
        raise GlideError(f"unknown recipe '{name}': there are {', '.join(recipes)}")
    config = apply_overrides(recipes[name](), args.overrides)
    if args.dry_run:
        print(json.dumps(as_plain(config), indent=1))
        return None
    return config


def _given(args: argparse.Namespace, name: str) -> Path:
    """The directory passed as an option that this command cannot do without."""
    from glide_nemo.errors import GlideError

    path = getattr(args, name)
    if path is None:
        raise GlideError(f"no --{name}: pass the directory to {'write' if name == 'out' else 'read'}")
    return path


def run_quickstart(args: argparse.Namespace) -> None:
    from glide_nemo.quickstart import RECIPES, quickstart

    config = _configured(args, RECIPES, "nano")
    if config is not None:
        quickstart(config, args.out or Path("runs/quickstart"), warcs=args.warc)


def run_run(args: argparse.Namespace) -> None:
    from glide_nemo.errors import GlideError
    from glide_nemo.recipes.chain import chains

    declared = chains()
    if args.list:
        for name, chain in declared.items():
            print(f"{name:<16} {(chain.__doc__ or '').strip().splitlines()[0]}")
        return
    name = args.recipe or "glide_nano"
    if name not in declared:
        raise GlideError(f"unknown chain '{name}': there are {', '.join(declared)}")
    from glide_nemo.run import run_chain
    from glide_nemo.training.chain import describe, parse_data, with_overrides

    chain = with_overrides(declared[name](), args.overrides)
    if args.dry_run:
        print(describe(chain))
        return
    run_chain(chain, parse_data(chain, args.data), _given(args, "out"))


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
    config = _configured(args, recipes, "common_crawl" if args.common_crawl else "folder" if args.site else "pydoc")
    if isinstance(config, FolderConfig):
        if not args.site:
            raise GlideError("no directory of HTML: pass --site DIR")
        crawl_folder(config, args.site, _given(args, "out"), force=args.force)
    elif isinstance(config, CommonCrawlConfig):
        if not args.common_crawl:
            raise GlideError("no crawl named: pass --common-crawl ID, such as CC-MAIN-2025-05")
        common_crawl(config, args.common_crawl, _given(args, "out"), force=args.force)
    elif isinstance(config, DescriptionsConfig):
        record_descriptions(config, _given(args, "out"), force=args.force)
    elif config is not None:
        crawl(config, _given(args, "out"), warcs=args.warc, force=args.force)


def run_curate(args: argparse.Namespace) -> None:
    from curator_pipelines.curate import curate
    from curator_pipelines.slurm_cluster import slurm_nodes
    from glide_nemo import plugins
    from glide_nemo.artifact import load
    from glide_nemo.crawl.crawl import CrawlConfig, crawl
    from glide_nemo.errors import GlideError

    recipes = {name: point.load() for name, point in plugins.available("curation").items()}
    config = _configured(args, recipes, "nano")
    if config is None:
        return
    out = _given(args, "out")
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
        _given(args, "out"),
        benchmarks=args.benchmarks,
        tasks=[(name, Path(file)) for name, _, file in tasks],
        files=args.items,
        force=args.force,
    )


def run_perplexity_model(args: argparse.Namespace) -> None:
    from curator_pipelines.models.perplexity import NgramConfig, train_ngrams
    from glide_nemo.artifact import load

    config = _configured(args, {"ccnet": NgramConfig}, "ccnet")
    if config is not None:
        corpus, sample = load(_given(args, "corpus"), "corpus"), load(args.sample, "corpus") if args.sample else None
        train_ngrams(config, corpus, _given(args, "out"), sample=sample, force=args.force)


def run_quality_classifier(args: argparse.Namespace) -> None:
    from curator_pipelines.models.quality import QualityConfig, train_quality
    from glide_nemo.errors import GlideError

    config = _configured(args, {"fasttext": QualityConfig}, "fasttext")
    if config is not None:
        if not (args.positive and args.negative):
            raise GlideError("no samples: pass --positive PATH... and --negative PATH...")
        train_quality(config, args.positive, args.negative, _given(args, "out"), force=args.force)


def run_data_card(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.release.data_card import DataCardConfig, beside, write_data_card

    config = apply_overrides(DataCardConfig(), args.overrides)
    corpora = [load(path, "corpus") for path in args.corpora]
    write_data_card(config, corpora, _given(args, "out"), beside(corpora), force=args.force)


def run_tokenizer(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.tokenizer.recipes import RECIPES
    from glide_nemo.tokenizer.train import train_tokenizer

    config = _configured(args, RECIPES, "nano")
    if config is not None:
        train_tokenizer(config, load(_given(args, "corpus"), "corpus"), _given(args, "out"), force=args.force)


def run_tokens(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.pack import PackConfig, pack

    config = apply_overrides(PackConfig(), args.overrides)
    corpus, tokenizer = load(_given(args, "corpus"), "corpus"), load(_given(args, "tokenizer"), "tokenizer")
    pack(config, corpus, tokenizer, _given(args, "out"), force=args.force)


def run_blend(args: argparse.Namespace) -> None:
    from glide_nemo.data.blend import parse_parts
    from glide_nemo.data.blend_explained import count_of, described, explain

    seen = explain(parse_parts([*args.tokens, *args.overrides]), count_of(args.run_tokens), args.seq_length)
    print("\n".join(described(seen, args.seq_length)))


def run_pretrain(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.data.blend import parse_parts
    from glide_nemo.recipes.recipe import describe_recipes
    from glide_nemo.training.pretrain import dry_run, plan_training, pretrain

    if args.list:
        for name, summary in describe_recipes():
            print(f"{name:<22} {summary}")
        return
    name = _given(args, "recipe")
    if args.dry_run:
        print(dry_run(name, args.overrides))
        return
    plan = plan_training(name, args.overrides)  # first, so that a recipe too big for this machine says so
    tokens = parse_parts(args.tokens or ["runs/quickstart/tokens"])
    averaged = args.init_from is not None and args.init_from.name == "ema"
    start = load(args.init_from.parent if averaged else args.init_from, "checkpoint") if args.init_from else None
    weights = "ema" if averaged else "trained"
    pretrain(plan, tokens, _given(args, "out"), init_from=start, init_weights=weights, force=args.force)


def run_questions(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.questions import QuestionsConfig, ask_questions

    config = apply_overrides(QuestionsConfig(), args.overrides)
    ask_questions(config, load(_given(args, "corpus"), "corpus"), _given(args, "out"), force=args.force)


def run_merge(args: argparse.Namespace) -> None:
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.merge import MergeConfig, merge_datasets

    merge_datasets(apply_overrides(MergeConfig(), args.overrides), args.data, _given(args, "out"), force=args.force)


def run_conversations(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.conversations import ConversationsConfig, pack_conversations

    config = apply_overrides(ConversationsConfig(), args.overrides)
    tokenizer = load(_given(args, "tokenizer"), "tokenizer")
    pack_conversations(config, args.data, tokenizer, _given(args, "out"), force=args.force)


def run_pairs(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.config import apply_overrides
    from glide_nemo.data.documented_pairs import DocumentedPairsConfig, derive_pairs

    config = apply_overrides(DocumentedPairsConfig(), args.overrides)
    derive_pairs(config, load(_given(args, "corpus"), "corpus"), _given(args, "out"), force=args.force)


def run_finetune(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.errors import GlideError
    from glide_nemo.recipes.recipe import describe_recipes
    from glide_nemo.training.finetune import finetune
    from glide_nemo.training.pretrain import dry_run

    if args.list:
        for name, summary in describe_recipes():
            if name.endswith(f"_{args.phase}"):
                print(f"{name:<22} {summary}")
        return
    name = args.recipe or f"glide_nano_{args.phase}"
    if args.dry_run:
        print(dry_run(name, args.overrides))
        return
    if args.init_from is None:
        raise GlideError("no --from: pass the directory of the checkpoint to train on")
    start = load(args.init_from, "checkpoint")
    finetune(args.phase, name, args.overrides, args.data, start, _given(args, "out"), force=args.force)


def run_export(args: argparse.Namespace) -> None:
    from glide_nemo.export.targets import export

    export(args.checkpoint, args.to, args.overrides, args.out, force=args.force)


def run_import(args: argparse.Namespace) -> None:
    from glide_nemo.export.from_hugging_face import import_hugging_face

    import_hugging_face(args.model, _given(args, "out"), force=args.force)


def run_certify(args: argparse.Namespace) -> int:
    from glide_nemo.artifact import last
    from glide_nemo.config import apply_overrides
    from glide_nemo.export.certificate import CertificateConfig, certify, parse_against, show

    config = apply_overrides(CertificateConfig(), args.overrides)
    out = args.out or args.checkpoint / "certificate"
    exports = parse_against(args.checkpoint, args.against)
    certificate = certify(config, last(args.checkpoint, "checkpoint"), exports, out, force=True)
    show(certificate)
    return 0 if certificate.metrics["passed"] else 1


def run_evaluate(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import Artifact, last
    from glide_nemo.config import apply_overrides
    from glide_nemo.errors import GlideError
    from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate

    if args.runtime == "hf":
        config = apply_overrides(EvaluationConfig(), args.overrides)
        out = args.out or args.model / "evaluation"
        evaluate(config, last(args.model, "model"), last(args.model, "corpus"), out, force=True)
        return
    from glide_nemo.export.subjects import parse_against

    ((name, export),) = parse_against(args.model, args.runtime).items()
    if not name.startswith("gguf") or not isinstance(export, Artifact):
        raise GlideError(f"no lm-eval through {name}: pass --runtime hf, or gguf:f16 of the run")
    config = apply_overrides(EvaluationConfig(evaluators=["continuation"]), args.overrides)
    out = args.out or args.model / f"evaluation_{name.replace(':', '_')}"
    evaluate(config, export.input("model"), last(args.model, "corpus"), out, gguf=export, force=True)


def run_report(args: argparse.Namespace) -> None:
    from glide_nemo.release.report import write_report

    write_report(args.directory, args.out or args.directory / "report", force=True)


def run_chat(args: argparse.Namespace) -> None:
    from glide_nemo.serving.chat import chat

    chat(args.model, args.runtime, args.max_tokens, args.temperature, args.seed)


def run_serve(args: argparse.Namespace) -> None:
    from glide_nemo.serving.serve import ServeConfig, dry_run, serve

    key = args.api_key or os.environ.get("GLIDE_API_KEY")
    config = ServeConfig(args.model, args.runtime, args.host, args.port, key, args.parallel, args.context, args.threads)
    if args.dry_run:
        print(dry_run(config))
        return
    serve(config)


def run_bench(args: argparse.Namespace) -> None:
    from glide_nemo.config import apply_overrides
    from glide_nemo.errors import GlideError
    from glide_nemo.serving.bench import BenchConfig, bench_models, bench_server

    config = apply_overrides(BenchConfig(args.runtime, args.parallel, args.context, args.threads), args.overrides)
    if bool(args.model) == bool(args.url) or (args.url and args.against):
        raise GlideError("nothing to measure: pass --model DIR, with --against DIR if wanted, or --url URL")
    if args.url:
        bench_server(config, args.url, _given(args, "out"), force=args.force)
    else:
        bench_models(config, args.model, args.against, _given(args, "out"), force=args.force)


def run_doctor(args: argparse.Namespace) -> None:
    from glide_nemo.doctor import doctor

    doctor()
