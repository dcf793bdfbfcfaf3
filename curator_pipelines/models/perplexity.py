"""The perplexity-model step: a SentencePiece model and a 5-gram over its pieces, learned from a clean corpus.

KenLM's own trainer comes with no Python package. kaldingram trains the same back-off form (Kneser-Ney, ARPA), in
memory: about 1.5 kB a token, so `input_bytes` bounds it. Any model that KenLM reads may stand in its place.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curator_pipelines.models import normalize
from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.console import progress
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

if TYPE_CHECKING:
    import kenlm
    import sentencepiece

PIECES = "sentencepiece.model"
NGRAMS = "ngrams.arpa.gz"
THRESHOLDS = "thresholds.json"  # {"head": perplexity, "tail": perplexity}
UNKNOWN = "<unk>"
MAX_LINE = 10_000  # characters; a longer line is data, and SentencePiece's training takes long over it


@dataclass
class NgramConfig:
    """An n-gram model, and where head, middle and tail of the documents that it scores part."""

    order: int = 5  # as CCNet
    vocab_size: int = 8_000  # of SentencePiece, at most; CCNet's 65,536 need gigabytes of text
    input_bytes: int = 4_000_000  # of text to learn from: 1.3 GB of memory, half a minute
    sample_bytes: int = 20_000_000  # of text that the thresholds come from
    head_quantile: float = 1 / 3  # even thirds (Wenzek et al., 2020)
    tail_quantile: float = 2 / 3

    def check(self) -> None:
        """Raises GlideError for a value that no model could have."""
        if not 2 <= self.order <= 5:
            raise GlideError(f"order={self.order} cannot be trained: choose 2 to 5")
        if not 0 < self.head_quantile < self.tail_quantile < 1:
            raise GlideError(
                f"head_quantile={self.head_quantile} and tail_quantile={self.tail_quantile} part nothing: "
                "choose shares between 0 and 1, the first smaller"
            )


def train_ngrams(
    config: NgramConfig,
    corpus: Artifact,
    out: str | os.PathLike[str],
    *,
    sample: Artifact | None = None,
    force: bool = False,
) -> Artifact:
    """The `ngram` artifact in `out`: SentencePiece model, gzipped ARPA, thresholds. Equal input gives equal bytes.

    Learned from the train split of `corpus`. The thresholds are quantiles over the documents of `sample`, a corpus of
    what is to be filtered, as CCNet takes them; without one, over the held-out documents of `corpus`, unseen as well.

    Raises GlideError where there is too little text.
    """
    config.check()
    inputs = {"corpus": corpus, **({"sample": sample} if sample else {})}

    def write(draft: Draft) -> None:
        trained = _train(config, corpus, draft)
        model = PerplexityModel(draft.path)
        texts = corpora.sample(sample or corpus, "train" if sample else "heldout", config.sample_bytes)
        measured = sorted(value for text in texts if math.isfinite(value := model.perplexity(text)))
        if not measured:
            raise GlideError(f"no line of text in {(sample or corpus).path}: curate more text")
        head, tail = (quantile(measured, share) for share in (config.head_quantile, config.tail_quantile))
        write_atomically(draft.path / THRESHOLDS, json.dumps({"head": head, "tail": tail}))
        middle = quantile(measured, 0.5)
        draft.metrics = {**trained, "head": head, "tail": tail, "median": middle, "sampled_documents": len(measured)}
        draft.summary = (
            f"{config.order}-gram of {trained['tokens']:,} tokens, perplexity {middle:,.0f} on unseen text, "
            f"head below {head:,.0f}, tail above {tail:,.0f}"
        )

    return run_step("perplexity-model", out, "ngram", config, inputs, write, force=force)


class PerplexityModel:
    """The model of a directory: `sentencepiece.model`, and `ngrams.arpa.gz` or any other that KenLM reads."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        import sentencepiece

        pieces, ngrams = Path(directory) / PIECES, Path(directory) / NGRAMS
        for path in (pieces, ngrams):
            if not path.is_file():
                raise GlideError(f"no {path}: pass a directory that `glide perplexity-model` wrote")
        self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
        self._ngrams = load_ngrams(ngrams)

    def perplexity(self, text: str) -> float:
        """Of a document, per piece, line by line, each line's end counted; infinite where it has no line.

        10 ** (-log10 p / (pieces + lines)), as CCNet has it.
        """
        log10, count = 0.0, 0
        for pieces in encode(self._pieces, normalize.lines(text)):
            log10 += self._ngrams.score(" ".join(pieces), bos=True, eos=True)
            count += len(pieces) + 1
        return round(10 ** (-log10 / count), 2) if count else math.inf


def load_ngrams(path: Path) -> kenlm.Model:
    """A KenLM model from ARPA (gzipped or not) or KenLM's binary form, silently. GlideError where it is none."""
    import kenlm

    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(os.fspath(path), config)
    except (OSError, RuntimeError) as error:
        raise GlideError(f"{path} is no model that KenLM reads: train it again") from error


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the sorted values that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def encode(pieces: sentencepiece.SentencePieceProcessor, lines: Sequence[str]) -> list[list[str]]:
    """Lines as SentencePiece's pieces."""
    return pieces.encode(list(lines), out_type=str)


def _train(config: NgramConfig, corpus: Artifact, draft: Draft) -> dict[str, int]:
    with progress("reading", None, "documents") as advance:
        lines: list[str] = []
        for text in corpora.sample(corpus, "train", config.input_bytes):
            lines += [line for line in normalize.lines(text) if len(line) <= MAX_LINE]
            advance()
    if not lines:
        raise GlideError(f"no line of text in the train split of {corpus.path}: curate more text")
    pieces = _learn_pieces(config, lines)
    _write_bytes(draft.path / PIECES, pieces.serialized_model_proto())
    encoded = encode(pieces, lines)
    arpa = learn_ngrams(encoded, config.order)
    _write_bytes(draft.path / NGRAMS, gzip.compress(arpa.encode(), mtime=0))
    return {"lines": len(lines), "tokens": sum(map(len, encoded)), "pieces": pieces.piece_size()}


def _learn_pieces(config: NgramConfig, lines: Iterable[str]) -> sentencepiece.SentencePieceProcessor:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=config.vocab_size,
            hard_vocab_limit=False,  # little text has fewer pieces
            normalization_rule_name="identity",  # normalize.lines has done it
            max_sentence_length=4 * MAX_LINE,
            num_threads=1,  # sums come out in one order
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise GlideError(f"SentencePiece cannot learn from this corpus ({reason}): curate more text") from error
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def learn_ngrams(encoded: Iterable[Sequence[str]], order: int) -> str:
    """Kneser-Ney n-grams of tokenised lines, as an ARPA file. GlideError where too little text repeats itself.

    Without count cut-offs: kaldingram's leave n-grams of probability 0 behind, and perplexities of 10**15 with them.
    """
    from kaldingram.train import NgramCounts

    arpa = io.StringIO()
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        counts = NgramCounts(order)
        for tokens in encoded:
            counts.add_raw_counts_from_line(" ".join(tokens))
        counts.add_raw_counts_from_line(UNKNOWN)  # once, so that a character never seen is rare, not impossible
        counts.cal_discounting_constants()
        if max(counts.d) >= 1:  # all that is seen would be given away to the unseen
            raise GlideError(
                f"no {counts.d.index(max(counts.d)) + 1}-gram of the corpus occurs twice: "
                "curate more text, or pass a smaller order"
            )
        counts.cal_f()
        counts.cal_bow()
        counts.print_as_arpa(arpa)
    return arpa.getvalue()


def _write_bytes(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
