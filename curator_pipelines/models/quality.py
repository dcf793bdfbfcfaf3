"""The quality-classifier step: fastText learns to tell good samples from bad, and says how well on some held out."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curator_pipelines.models import normalize
from curator_pipelines.models.samples import Source, sources
from curator_pipelines.models.zeroed_memory import zeroed_memory
from glide_nemo.artifact import Artifact, Draft
from glide_nemo.config import as_plain
from glide_nemo.console import progress
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

MODEL = "quality.bin"
HIGH, LOW = "__label__high", "__label__low"
THRESHOLDS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))  # at which precision and recall are reported


@dataclass
class QualityConfig:
    """fastText's settings; a linear model over words and word pairs, as DCLM and CCNet's successors use."""

    dim: int = 32
    word_ngrams: int = 2  # Li et al., 2024 (DCLM), find pairs better than words alone
    epochs: int = 10
    learning_rate: float = 0.5
    min_count: int = 2  # a rarer word is not learned
    buckets: int = 100_000  # hashed word pairs; the model takes 4 * dim bytes for each
    min_samples: int = 10  # of each kind, below which nothing held out says anything
    max_samples: int = 200_000
    max_words: int = 2_000  # read of each sample
    heldout_share: float = 0.1
    seed: int = 1

    def check(self) -> None:
        """Raises GlideError for a value that no model could be trained with."""
        if not 0 < self.heldout_share < 1:
            raise GlideError(f"heldout_share={self.heldout_share} is no share: choose one between 0 and 1")
        for name in ("dim", "word_ngrams", "epochs", "min_count", "buckets", "min_samples", "max_samples", "max_words"):
            if getattr(self, name) < 1:
                raise GlideError(f"{name}={getattr(self, name)} is too small: choose a number above 0")


def train_quality(
    config: QualityConfig,
    positive: Sequence[Path],
    negative: Sequence[Path],
    out: str | os.PathLike[str],
    *,
    force: bool = False,
) -> Artifact:
    """The `classifier` artifact in `out`. Equal samples and config give equal bytes: one thread, a stated seed.

    As many positive as negative samples are used, so that 0.5 parts them; which, and which are held out, the hash of
    a sample decides. A text that is on both sides is left out. Metrics: `samples`, `auc`, `thresholds` (precision and
    recall of "high" over the held-out samples at each).

    Raises GlideError where there are too few samples.
    """
    config.check()
    given = {"positive": sources(positive), "negative": sources(negative)}
    corpora = [(side, source) for side, found in given.items() for source in found if source.corpus]
    inputs = {f"{side}_{number}": source.corpus for number, (side, source) in enumerate(corpora)}
    settings = as_plain(config) | {
        side: [source.sha256 if source.corpus else [source.path.name, source.sha256] for source in found]
        for side, found in given.items()
    }

    def write(draft: Draft) -> None:
        high, low = (_samples(found, config) for found in given.values())
        both = high.keys() & low.keys()
        high, low = ({key: text for key, text in side.items() if key not in both} for side in (high, low))
        count = min(len(high), len(low), config.max_samples)
        if count < config.min_samples:
            raise GlideError(
                f"too few samples, {len(high)} positive and {len(low)} negative differ: "
                f"pass at least {config.min_samples} of each"
            )
        labelled = sorted([(key, HIGH) for key in sorted(high)[:count]] + [(key, LOW) for key in sorted(low)[:count]])
        texts = high | low
        held = round(config.heldout_share * count) or 1
        heldout = {key for label in (HIGH, LOW) for key in [k for k, own in labelled if own == label][:held]}
        _fit(config, [(label, texts[key]) for key, label in labelled if key not in heldout], draft.path / MODEL)
        scores = QualityModel(draft.path).scores([texts[key] for key, _ in labelled if key in heldout], normalized=True)
        of = [label for key, label in labelled if key in heldout]
        good, bad = ([score for score, label in zip(scores, of, strict=True) if label == own] for own in (HIGH, LOW))
        draft.metrics = {
            "samples": {"each": count, "heldout_each": held, "on_both_sides": len(both)},
            "auc": round(auc(good, bad), 4),
            "thresholds": [_at(threshold, good, bad) for threshold in THRESHOLDS],
        }
        half = _at(0.5, good, bad)
        draft.summary = (
            f"{count:,} samples of each kind, held out: AUC {draft.metrics['auc']:.3f}, "
            f"at 0.5 precision {half['precision'] or 0:.2f}, recall {half['recall']:.2f}"
        )

    return run_step("quality-classifier", out, "classifier", settings, inputs, write, force=force)


class QualityModel:
    """The model of a directory that `glide quality-classifier` wrote."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        import fasttext

        path = Path(directory) / MODEL
        if not path.is_file():
            raise GlideError(f"no {path}: pass a directory that `glide quality-classifier` wrote")
        try:
            self._model = fasttext.load_model(str(path))
        except ValueError as error:
            raise GlideError(f"{path} is no fastText model: train it again") from error
        if HIGH not in self._model.get_labels():
            raise GlideError(f"{path} has no label {HIGH}: train it with `glide quality-classifier`")

    def scores(self, texts: Sequence[str], *, normalized: bool = False) -> list[float]:
        """The probability that each text is of the good kind, to four places."""
        given = list(texts) if normalized else [normalize.words(text) for text in texts]
        labels, probabilities = self._model.predict(given, k=-1)  # a list: a string fails with numpy 2
        return [
            round(min(1.0, dict(zip(names, values, strict=True))[HIGH].item()), 4)
            for names, values in zip(labels, probabilities, strict=True)
        ]


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """The probability that a good sample scores above a bad one, ties counted half: the Mann-Whitney U over pairs."""
    from scipy.stats import rankdata

    ranks = rankdata([*good, *bad])[: len(good)]
    return float((ranks.sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad)))


def precision_and_recall(threshold: float, good: Iterable[float], bad: Iterable[float]) -> tuple[float | None, float]:
    """Of keeping what scores at least `threshold`; the precision is None where nothing is kept."""
    kept = [score >= threshold for score in good]
    wrong = sum(score >= threshold for score in bad)
    return (sum(kept) / (sum(kept) + wrong) if sum(kept) + wrong else None), sum(kept) / len(kept)


def _at(threshold: float, good: Sequence[float], bad: Sequence[float]) -> dict[str, float | None]:
    precision, recall = precision_and_recall(threshold, good, bad)
    rounded = None if precision is None else round(precision, 4)
    return {"threshold": threshold, "precision": rounded, "recall": round(recall, 4)}


def _samples(found: Sequence[Source], config: QualityConfig) -> dict[str, str]:
    """Normalised texts, each once, cut to `max_words`, by their hash."""
    texts: dict[str, str] = {}
    with progress("reading", None, "samples") as advance:
        for source in found:
            for text in source.texts():
                cut = " ".join(normalize.words(text).split(" ")[: config.max_words])
                if cut:
                    texts[hashlib.sha256(cut.encode()).hexdigest()] = cut
                advance()
    return texts


def _fit(config: QualityConfig, labelled: Iterable[tuple[str, str]], path: Path) -> None:
    """Trains on samples in the order given, which has to mix both labels, and writes the model."""
    import fasttext

    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "samples.txt"
        lines.write_text("".join(f"{label} {text}\n" for label, text in labelled), encoding="utf-8")
        try:
            with zeroed_memory():
                model = fasttext.train_supervised(
                    input=str(lines),
                    dim=config.dim,
                    wordNgrams=config.word_ngrams,
                    epoch=config.epochs,
                    lr=config.learning_rate,
                    minCount=config.min_count,
                    bucket=config.buckets,
                    seed=config.seed,
                    thread=1,  # more would write into one matrix in any order
                    verbose=0,
                )
        except (ValueError, RuntimeError) as error:
            raise GlideError(
                f"fastText cannot learn from these samples ({error}): pass more, or other settings"
            ) from error
    partial = path.with_name(f".{path.name}.partial")
    model.save_model(str(partial))
    os.replace(partial, path)
