"""The whole road on one machine: crawl to report, each step an artifact directory under one run directory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curator_pipelines import workers
from curator_pipelines.config import CurationConfig
from curator_pipelines.curate import curate
from curator_pipelines.decontamination.fetch import IndexConfig, fetch
from curator_pipelines.english import nano as nano_curation
from curator_pipelines.models.perplexity import NgramConfig, train_ngrams
from curator_pipelines.models.quality import QualityConfig, train_quality
from glide_nemo import fork_server
from glide_nemo.artifact import Artifact, last
from glide_nemo.console import console
from glide_nemo.crawl.crawl import CrawlConfig, crawl
from glide_nemo.crawl.descriptions import DescriptionsConfig, record_descriptions
from glide_nemo.data.documented_pairs import DocumentedPairsConfig, derive_pairs
from glide_nemo.data.pack import PackConfig, pack
from glide_nemo.data.questions import QuestionsConfig, ask_questions
from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate
from glide_nemo.evaluation.safety.prompts import OWN as UNIT_PROMPTS
from glide_nemo.export.certificate import CertificateConfig
from glide_nemo.export.hf import HfConfig, export_hf
from glide_nemo.recipes.chain import Chain, glide_nano
from glide_nemo.release.data_card import DataCardConfig, beside, write_data_card
from glide_nemo.release.report import write_report
from glide_nemo.run import run_chain
from glide_nemo.tokenizer.train import TokenizerConfig, train_tokenizer
from glide_nemo.training.worker import imported_ahead


def _every_stage() -> CurationConfig:
    """Thresholds of reference text, and the stages that only a caller can ask for: its models come from the road."""
    config = nano_curation()
    config.paragraphs.drop_repeated = True
    config.max_toxicity = 0.9
    config.min_quality = 0.01  # the thirtieth that is least like prose: lists of methods that say nothing of them
    return config


def _reference() -> CurationConfig:
    """Descriptions of packages, of licences that let others use them. What names none is left out."""
    config = nano_curation()
    config.licenses = ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "PSF-2.0"]
    return config


def _few_samples() -> QualityConfig:
    """A hundred texts of each kind: single words, and as few turns as still part what is held out."""
    return QualityConfig(word_ngrams=1, epochs=5)


def _over_positions(*evaluators: str) -> EvaluationConfig:
    """Loss by position as far as phase C's context goes, which is beyond phase B's; and other evaluators."""
    config = EvaluationConfig(evaluators=["loss_by_position", *evaluators])
    config.loss_by_position.tokens = 1_024
    return config


@dataclass
class QuickstartConfig:
    """The settings of every step of the road; of the training phases, key=value overrides of their recipes."""

    crawl: CrawlConfig = field(default_factory=CrawlConfig)
    packages: DescriptionsConfig = field(default_factory=DescriptionsConfig)
    reference: CurationConfig = field(default_factory=_reference)
    candidates: CurationConfig = field(default_factory=nano_curation)
    classifier: QualityConfig = field(default_factory=_few_samples)
    ngrams: NgramConfig = field(default_factory=lambda: NgramConfig(input_bytes=1_000_000))
    benchmarks: IndexConfig = field(default_factory=IndexConfig)
    curation: CurationConfig = field(default_factory=_every_stage)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    tokens: PackConfig = field(default_factory=PackConfig)
    questions: QuestionsConfig = field(default_factory=QuestionsConfig)
    pairs: DocumentedPairsConfig = field(default_factory=DocumentedPairsConfig)
    phase_a: list[str] = field(default_factory=list)
    phase_b: list[str] = field(default_factory=list)
    phase_b_evaluation: EvaluationConfig = field(default_factory=_over_positions)
    phase_c: list[str] = field(default_factory=list)
    phase_c_evaluation: EvaluationConfig = field(default_factory=lambda: _over_positions("bits_per_byte"))
    sft: list[str] = field(default_factory=list)
    dpo: list[str] = field(default_factory=list)
    certificate: CertificateConfig = field(default_factory=CertificateConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def chain(self) -> Chain:
        """The declared chain, with the overrides of its phases."""
        chain = glide_nano()
        for name, phase in chain.phases.items():
            phase.overrides = getattr(self, name)
        return chain


def nano() -> QuickstartConfig:
    """a 4 M parameter model from Python's documentation site, about 10 minutes on two cores"""
    return QuickstartConfig()


def tiny() -> QuickstartConfig:
    """every step in seconds and a model that has learnt nothing: for tests"""
    config = QuickstartConfig()
    config.crawl.max_pages = 24
    config.packages.max_packages = 40
    config.classifier.min_samples = 4
    config.ngrams.order, config.ngrams.vocab_size, config.ngrams.input_bytes = 3, 500, 50_000
    config.tokenizer.vocab_size = 512
    config.phase_a = [
        "model.num_layers=1",
        "model.ffn_hidden_size=256",
        "train.train_iters=4",
        "train.global_batch_size=4",
        "train.micro_batch_size=4",
        "validation.eval_iters=1",
        "checkpoint.save_interval=2",
    ]
    config.phase_b = config.sft = config.dpo = config.phase_a
    config.phase_c = [*config.phase_a, "model.seq_length=256"]  # the little text that is held out is no longer
    config.phase_b_evaluation.loss_by_position.max_stretches = 2
    config.phase_c_evaluation.loss_by_position.max_stretches = 2
    return config


RECIPES = {"nano": nano, "tiny": tiny}


def quickstart(config: QuickstartConfig, run: Path, *, warcs: Sequence[Path] = ()) -> Artifact:
    """Runs each step that is not finished, in order, and returns the report.

    A step whose settings or inputs have changed since is done again, and so is all that was made from it.
    """
    started = time.monotonic()
    if not (run / "report" / "artifact.json").exists():
        fork_server.start(*workers.modules(), *imported_ahead())  # imports Curator and Megatron while pages are crawled
    pages = crawl(config.crawl, run / "crawl", warcs=warcs, force=True)
    corpus = curate(_with_models(config, pages, run), pages, run / "corpus", force=True)
    tokenizer = train_tokenizer(config.tokenizer, corpus, run / "tokenizer", force=True)
    data = {
        "web": pack(config.tokens, corpus, tokenizer, run / "tokens", force=True).path,
        "questions": ask_questions(config.questions, corpus, run / "questions", force=True).path,
        "pairs": derive_pairs(config.pairs, corpus, run / "pairs", force=True).path,
    }

    def compare_contexts(phase: str, checkpoint: Artifact) -> None:
        """What phase C's longer context is good for: phase B's loss by position beside its own."""
        if settings := getattr(config, f"{phase}_evaluation", None):
            model = export_hf(HfConfig(), checkpoint, run / f"{phase}_hf", force=True)
            evaluate(settings, model, corpus, run / f"{phase}_evaluation", force=True)

    certificate = run_chain(config.chain, data, run, config.certificate, after=compare_contexts)
    evaluation = evaluate(config.evaluation, certificate.input("hf"), corpus, run / "evaluation", force=True)
    write_data_card(DataCardConfig(), [corpus], run / "data_card", beside([corpus]), force=True)
    report = write_report(run, run / "report", force=True)
    _show_result(report, certificate, evaluation, last(run / "phase_c_evaluation", "evaluation"), started)
    return report


def _with_models(config: QuickstartConfig, pages: Artifact, run: Path) -> CurationConfig:
    """The curation, given what it compares documents with: other prose, and the prompts that evaluations ask."""
    packages = record_descriptions(config.packages, run / "packages", force=True)
    reference = curate(config.reference, packages, run / "reference", force=True)
    ngrams = train_ngrams(config.ngrams, reference, run / "ngrams", force=True)
    benchmarks = fetch(config.benchmarks, run / "benchmarks", files=[UNIT_PROMPTS], force=True)
    decontamination = replace(config.curation.decontamination, benchmarks=str(benchmarks.path))
    return replace(
        config.curation,
        perplexity_model=str(ngrams.path),
        quality_model=_quality_model(config, reference, pages, run),
        decontamination=decontamination,
    )


def _quality_model(config: QuickstartConfig, reference: Artifact, pages: Artifact, run: Path) -> str:
    """Quality is likeness to other prose rather than to what the heuristics leave of the crawl (Li et al., 2024: DCLM).

    "", which is no model, where that is too little to learn from.
    """
    candidates = curate(config.candidates, pages, run / "candidates", force=True)
    fewest = min(corpus.metrics["split"]["train"]["documents"] for corpus in (reference, candidates))
    if fewest < config.classifier.min_samples:
        console.print(f"  quality classifier: skipped, {fewest} samples are fewer than {config.classifier.min_samples}")
        return ""
    return str(
        train_quality(config.classifier, [reference.path], [candidates.path], run / "classifier", force=True).path
    )


def _show_result(
    report: Artifact, certificate: Artifact, evaluation: Artifact, before: Artifact, started: float
) -> None:
    bits, pretrained = evaluation.metrics["bits_per_byte"], before.metrics["bits_per_byte"]
    seconds = time.monotonic() - started
    console.print()
    took = f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"
    console.print(f"[bold]done[/bold] in {took}")
    console.print(f"  report       {os.path.relpath(report.path / 'report.html')}")
    console.print(
        f"  held-out     {pretrained['model']:.2f} bits a byte pretrained, {bits['model']:.2f} fine-tuned "
        f"(gzip -9 {bits['gzip_9']:.2f}, unigram {bits['unigram']:.2f})"
    )
    console.print(f"  certificate  {'passed' if certificate.metrics['passed'] else 'FAILED'}: {certificate.summary}")
    for verb, sample in _told(evaluation.metrics["samples"]):
        told = f"[bold]{_shown(sample['prompt'])}[/bold] {_shown(sample['completion'].strip())}"
        console.print(f"  {verb:<12} {told}")
    console.print(f"  talk to it   glide chat {os.path.relpath(report.path.parent)}")


def _told(samples: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """An answer, and a text that was sampled: by its likeliest tokens alone a small model repeats itself."""
    answer = next(sample for sample in samples if sample["source"] == "question")
    text = next(sample for sample in samples if sample["source"] != "question" and sample["decoding"] != "greedy")
    return [("it answers", answer), ("it writes", text)]


def _shown(text: str) -> str:
    """Text of a model as it is: rich would read its square brackets as markup."""
    from rich.markup import escape

    return escape(text)
