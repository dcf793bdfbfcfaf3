"""The certificate step: that every export computes the trained model, in numbers, passed or failed against bounds."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, Draft
from glide_nemo.config import as_plain
from glide_nemo.console import console
from glide_nemo.errors import GlideError
from glide_nemo.export import bounds, logits
from glide_nemo.export.compare import compare
from glide_nemo.export.continuations import (
    Tokens,
    agreement,
    as_text,
    hugging_face_continuations,
    llama_cpp_continuations,
    prompts,
)
from glide_nemo.export.encoders import hugging_face_encoder, llama_cpp_encoder, mismatches
from glide_nemo.export.gguf import QUANTIZED
from glide_nemo.export.subjects import Subject, parse_against, subject
from glide_nemo.steps import run_step
from glide_nemo.tokenizer.agreement import ADVERSARIAL
from glide_nemo.training.lineage import context_of, pretraining_tokens
from glide_nemo.training.pretrain import weights_of
from glide_nemo.training.worker import run_with_megatron

if TYPE_CHECKING:
    from pathlib import Path

    import numpy

__all__ = ["CertificateConfig", "certify", "parse_against", "show"]

REFERENCE = "megatron"


@dataclass
class CertificateConfig:
    """On how much the runtimes are compared: held-out tokens for the logits, held-out text for the tokenizers.

    `continuations` are what each runtime writes by itself, after the beginning of so many sequences.
    """

    tokens: int = logits.COMPARED_TOKENS
    seq_length: int = 0  # tokens of a sequence; 0 is the context of the model
    text_bytes: int = 200_000
    continuations: int = 3

    def check(self) -> None:
        if self.tokens < 2 or min(self.seq_length, self.text_bytes, self.continuations) < 0:
            raise GlideError(f"cannot compare on tokens={self.tokens} of seq_length={self.seq_length}: ask for more")


def certify(
    config: CertificateConfig,
    checkpoint: Artifact,
    exports: Mapping[str, Path | Artifact],
    out: str | os.PathLike[str],
    *,
    force: bool = False,
) -> Artifact:
    """Compares the logits and tokens of exports with those of a checkpoint in Megatron-Core, on held-out text.

    `exports` as `parse_against` gives them. A failed check raises nothing: metrics["passed"] is False.
    Metrics: `passed`, `checks` (`runtime, against, measure, value, bound, at_least, passed`; bound None is for
    information), `tokens_compared`, `sequences`, `seq_length`, `strings_compared`, `continuations` (`prompt`, and by
    runtime what it writes).

    Raises GlideError where an export cannot be loaded at all, or was made from another checkpoint.
    """
    config.check()
    subjects = [subject(name, export, checkpoint) for name, export in exports.items()]
    compared = {tested.weights for tested in subjects}
    if len(compared) > 1:
        raise GlideError("exports of trained and of averaged weights: certify each on its own, into its own --out")
    weights = weights_of(checkpoint, compared.pop())

    def write(draft: Draft) -> None:
        tokens = pretraining_tokens(checkpoint)
        tokenizer = tokens.input("tokenizer")
        length = config.seq_length or min(context_of(checkpoint), tokens.metrics["heldout"]["tokens"])
        count = max(1, config.tokens // length)
        tokens_BS = logits.heldout_sequences(tokens.path, tokens.metrics["dtype"], count, length)
        texts = [*ADVERSARIAL, *corpora.sample(tokenizer.input("corpus"), "heldout", config.text_bytes)]
        prompted = prompts(tokens_BS, config.continuations)
        reference_BSV, written = _reference(weights, tokens_BS, tokenizer.metrics["vocab_size"], prompted, draft)
        checks = []
        told = {"prompt": as_text(tokenizer.path, prompted), REFERENCE: as_text(tokenizer.path, written)}
        for tested in subjects:
            console.print(f"  comparing {tested.name} with {REFERENCE}")
            checks += _check_tokenizer(tested, tokenizer.path, texts)
            checks += _check_logits(tested, reference_BSV, tokens_BS)
            checks += _check_against_half(tested, subjects, tokens_BS)
            if prompted and _same_vocabulary(checks, tested):
                writes = hugging_face_continuations if tested.runtime == "hf" else llama_cpp_continuations
                found = writes(tested.path, prompted)
                told[tested.name] = as_text(tokenizer.path, found)
                checks.append(_check(tested, REFERENCE, "greedy_agreement", agreement(written, found), tested.limits))
        draft.metrics = {
            "passed": all(check["passed"] for check in checks),
            "checks": checks,
            "tokens_compared": int(tokens_BS.size),
            "sequences": len(tokens_BS),
            "seq_length": length,
            "strings_compared": len(texts),
            "continuations": [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)],
        }
        failed = [f"{check['runtime']} {check['measure']}" for check in checks if not check["passed"]]
        differences = [
            f"{check['runtime']} {check['value']:.1e}"
            for check in checks
            if check["measure"] == "kl_divergence" and check["against"] == REFERENCE
        ]
        draft.summary = f"FAILED: {', '.join(failed)}" if failed else f"agree, KL divergence {', '.join(differences)}"

    stated = as_plain(config) | {"given": {tested.name: tested.digest for tested in subjects if not tested.artifact}}
    inputs = {"checkpoint": checkpoint} | {tested.name: tested.artifact for tested in subjects if tested.artifact}
    return run_step("certificate", out, "certificate", stated, inputs, write, force=force)


def show(certificate: Artifact) -> None:
    """The checks as a table on the terminal."""
    table = Table("runtime", "against", "measure", "value", "bound", "", box=box.SIMPLE)
    for check in certificate.metrics["checks"]:
        bound = verdict = ""
        if check["bound"] is not None:
            bound = f"{'>=' if check['at_least'] else '<='} {check['bound']:g}"
            verdict = "[green]passed[/green]" if check["passed"] else "[red]FAILED[/red]"
        table.add_row(check["runtime"], check["against"], check["measure"], f"{check['value']:.4g}", bound, verdict)
    console.print(table)
    for row in certificate.metrics.get("continuations", [])[:1]:
        told = Table("", "writes, the likeliest token each time", box=box.SIMPLE, title=escape(repr(row["prompt"])))
        for name, text in row.items():
            if name != "prompt":
                told.add_row(name, escape(repr(text)))
        console.print(told)


def _reference(
    weights: Path, tokens_BS: numpy.ndarray, vocab_size: int, prompted: list[Tokens], draft: Draft
) -> tuple[numpy.ndarray, list[Tokens]]:
    """`logits_BSV` of the trained model in Megatron-Core, on disk: for a large vocabulary they are gigabytes.

    And what it writes after the prompts.
    """
    import numpy

    path = draft.path / ".megatron_logits.npy.partial"
    console.print(f"  logits of {tokens_BS.size:,} held-out tokens in Megatron-Core")
    written = run_with_megatron(
        logits.write_megatron_logits, weights, tokens_BS, vocab_size, prompted, path,
        log=draft.logs / "megatron.log",
    )  # fmt: skip
    reference_BSV = numpy.load(path, mmap_mode="r")
    path.unlink()  # the mapping keeps it until it is done with
    return reference_BSV, written


def _check_tokenizer(tested: Subject, tokenizer: Path, texts: list[str]) -> list[dict[str, Any]]:
    """How many of `texts` a runtime tokenizes otherwise than SentencePiece with the tokenizer trained on."""
    encoder = hugging_face_encoder if tested.runtime == "hf" else llama_cpp_encoder
    with encoder(tested.path) as encode:
        count = mismatches(tokenizer, encode, texts)
    return [_check(tested, "sentencepiece", "tokenizer_mismatches", count, bounds.TOKENIZER)]


def _check_logits(tested: Subject, reference_BSV: numpy.ndarray, tokens_BS: numpy.ndarray) -> list[dict[str, Any]]:
    """A runtime's logits against those of the trained model, measure by measure."""
    runtime = logits.hugging_face_logits if tested.runtime == "hf" else logits.llama_cpp_logits
    found = runtime(tested.path, tokens_BS)
    first = next(found)
    if first.shape[-1] != reference_BSV.shape[-1]:
        difference = abs(first.shape[-1] - reference_BSV.shape[-1])
        return [_check(tested, REFERENCE, "vocabulary_difference", difference, bounds.TOKENIZER)]
    measured = compare(reference_BSV, itertools.chain([first], found), tokens_BS)
    limits = tested.limits | bounds.FINITE
    return [_check(tested, REFERENCE, measure, value, limits) for measure, value in measured.items()]


def _same_vocabulary(checks: list[dict[str, Any]], tested: Subject) -> bool:
    """Whether a runtime has as many tokens as the model, and finite logits: else there is nothing to write."""
    measured = {check["measure"] for check in checks if check["runtime"] == tested.name}
    return not measured & {"vocabulary_difference", "finite_logits"}


def _check_against_half(tested: Subject, subjects: Sequence[Subject], tokens_BS: numpy.ndarray) -> list[dict[str, Any]]:
    """The divergence of a quantized file from the F16 one beside it, which is what llama.cpp's own figures are of."""
    half = next((other for other in subjects if other.quantization == "f16"), None)
    if half is None or tested.quantization not in QUANTIZED:
        return []
    expected, found = (logits.llama_cpp_logits(each.path, tokens_BS) for each in (half, tested))
    measured = compare(expected, found, tokens_BS)
    value = measured.get("kl_divergence", math.inf)
    return [_check(tested, half.name, "kl_divergence", value, tested.limits)]


def _check(
    tested: Subject, against: str, measure: str, value: float, limits: Mapping[str, bounds.Bound]
) -> dict[str, Any]:
    bound = limits.get(measure)
    return {
        "runtime": tested.name,
        "against": against,
        "measure": measure,
        "value": value,
        "bound": bound.limit if bound else None,
        "at_least": bool(bound and bound.at_least),
        "passed": bound is None or bound.passes(value),
    }
