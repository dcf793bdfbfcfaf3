"""The whole road on one machine: crawl to report, each step an artifact directory under one run directory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curator_pipelines import workers
from curator_pipelines.config import CurationConfig
from curator_pipelines.curate import curate
from curator_pipelines.english import nano as nano_curation
from glide_nemo import fork_server
from glide_nemo.artifact import Artifact
from glide_nemo.console import console
from glide_nemo.crawl.crawl import CrawlConfig, crawl
from glide_nemo.data.pack import PackConfig, pack
from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate
from glide_nemo.export.certificate import CertificateConfig, certify
from glide_nemo.export.gguf import GgufConfig, export_gguf
from glide_nemo.export.hf import HfConfig, export_hf
from glide_nemo.recipes.recipe import prefix
from glide_nemo.release.report import write_report
from glide_nemo.tokenizer.train import TokenizerConfig, train_tokenizer
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import PRELOAD


@dataclass
class QuickstartConfig:
    """The settings of every step of the road."""

    size: str = "nano"
    crawl: CrawlConfig = field(default_factory=CrawlConfig)
    curation: CurationConfig = field(default_factory=nano_curation)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    tokens: PackConfig = field(default_factory=PackConfig)
    phase_a: list[str] = field(default_factory=list)  # key=value overrides of the recipe
    phase_b: list[str] = field(default_factory=list)
    hf: HfConfig = field(default_factory=HfConfig)
    gguf: list[str] = field(default_factory=lambda: ["f16", "q4_k_m"])
    certificate: CertificateConfig = field(default_factory=CertificateConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def nano() -> QuickstartConfig:
    """a 4 M parameter model from Python's documentation site, about 10 minutes on two cores"""
    return QuickstartConfig()


def tiny() -> QuickstartConfig:
    """every step in seconds and a model that has learnt nothing: for tests"""
    config = QuickstartConfig()
    config.crawl.max_pages = 24
    config.tokenizer.vocab_size = 512
    shape = ["model.num_layers=1", "model.ffn_hidden_size=256", "validation.eval_iters=1"]
    steps = [
        "train.train_iters=4",
        "train.global_batch_size=4",
        "train.micro_batch_size=4",
        "checkpoint.save_interval=2",
    ]
    config.phase_a = [*shape, *steps, "scheduler.lr_warmup_iters=1", "scheduler.lr_decay_iters=4"]
    config.phase_b = config.phase_a
    return config


RECIPES = {"nano": nano, "tiny": tiny}


def quickstart(config: QuickstartConfig, run: Path, *, warcs: Sequence[Path] = ()) -> Artifact:
    """Runs each step that is not finished, in order, and returns the report.

    A step whose settings or inputs have changed since is done again, and so is all that was made from it.
    """
    started = time.monotonic()
    if not (run / "report" / "artifact.json").exists():
        fork_server.start(*workers.modules(), PRELOAD)  # imports Curator and Megatron while pages are crawled
    pages = crawl(config.crawl, run / "crawl", warcs=warcs, force=True)
    corpus = curate(config.curation, pages, run / "corpus", force=True)
    tokenizer = train_tokenizer(config.tokenizer, corpus, run / "tokenizer", force=True)
    tokens = pack(config.tokens, corpus, tokenizer, run / "tokens", force=True)
    # The model has the vocabulary that the tokenizer got, also where little text allowed only a smaller one.
    vocabulary = f"model.vocab_size={tokenizer.metrics['vocab_size']}"
    phase_a, phase_b = (
        plan_training(f"{prefix(config.size)}_{phase}", [vocabulary, *overrides])
        for phase, overrides in (("phaseA", config.phase_a), ("phaseB", config.phase_b))
    )
    warm = pretrain(phase_a, tokens, run / "phase_a", force=True)
    trained = pretrain(phase_b, tokens, run / "phase_b", init_from=warm, force=True)
    model = export_hf(config.hf, trained, run / "hf", force=True)
    exports: dict[str, Artifact] = {"hf": model}
    for kind in config.gguf:
        exports[f"gguf:{kind}"] = export_gguf(GgufConfig(quantization=kind), model, run / f"gguf_{kind}", force=True)
    certificate = certify(config.certificate, trained, exports, run / "certificate", force=True)
    evaluation = evaluate(config.evaluation, model, corpus, run / "evaluation", force=True)
    report = write_report(run, run / "report", force=True)
    _show_result(report, certificate, evaluation, time.monotonic() - started)
    return report


def _show_result(report: Artifact, certificate: Artifact, evaluation: Artifact, seconds: float) -> None:
    bits = evaluation.metrics["bits_per_byte"]
    # Sampled, not greedy: the most likely next token again and again is what a small model repeats itself by.
    sample = next(sample for sample in evaluation.metrics["samples"] if sample["decoding"] != "greedy")
    console.print()
    took = f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"
    console.print(f"[bold]done[/bold] in {took}")
    console.print(f"  report       {os.path.relpath(report.path / 'report.html')}")
    console.print(
        f"  held-out     {bits['model']:.2f} bits a byte (gzip -9 {bits['gzip_9']:.2f}, unigram {bits['unigram']:.2f})"
    )
    console.print(f"  certificate  {'passed' if certificate.metrics['passed'] else 'FAILED'}: {certificate.summary}")
    console.print(f"  it writes    [bold]{_shown(sample['prompt'])}[/bold]{_shown(sample['completion'].rstrip())}")
    console.print(f"  talk to it   glide chat {os.path.relpath(report.path.parent)}")


def _shown(text: str) -> str:
    """Text of a model as it is: rich would read its square brackets as markup."""
    from rich.markup import escape

    return escape(text)
