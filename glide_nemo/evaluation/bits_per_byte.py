"""Held-out bits per byte of the model, of gzip and of a unigram model, on the same text.

Bits per byte = sum of -log2 p(token) over the held-out documents / their UTF-8 bytes. Unlike perplexity it does not
depend on how the tokenizer cuts the text, so that models with other tokenizers, and compressors, compare.

Each document is scored on its own as p(text | BOS). BOS is given and not scored; no EOS is scored, since it encodes no
byte (lm-eval's `loglikelihood_rolling` does the same). Documents longer than the context are scored in windows that
overlap: each token is scored once, with at least `context - stride` tokens before it where the document has them.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import write_atomically
from glide_nemo.console import progress
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from glide_nemo.evaluation.subject import Document, Subject

RESAMPLES = 2_000  # of the bootstrap: its own error is then below 2 % of the standard error
TOKENS_A_BATCH = 8_192


@dataclass
class BitsPerByteConfig:
    max_bytes: int = 150_000  # of held-out text
    max_document_bytes: int = 8_000  # so that a few long documents do not make up the whole sample
    stride: int = 0  # tokens a window moves on; 0: half the context
    unigram_bytes: int = 4_000_000  # of training text that the unigram model is fitted on
    seed: int = 0  # of the bootstrap


@dataclass(frozen=True)
class Window:
    """Tokens `begin` to `end` (exclusive) go into the model; the predictions from position `scored` on count."""

    document: int
    begin: int
    scored: int
    end: int


def bits_per_byte(subject: Subject) -> dict[str, Any]:
    """The evaluator: model, gzip -9 and unigram on the same held-out text, with bootstrap errors over documents."""
    config: BitsPerByteConfig = subject.config.bits_per_byte
    documents = subject.heldout(config.max_bytes, config.max_document_bytes)
    sizes = [document.bytes for document in documents]
    tokens = subject.encode([document.text for document in documents])
    context = subject.context
    stride = config.stride or max(1, context // 2)
    if not 0 < stride <= context:
        raise GlideError(f"bits_per_byte.stride={stride} skips tokens: choose 1 to {context}, the model's context")

    model_bits = score(subject, tokens, context, stride)
    training = subject.training(config.unigram_bytes)
    unigram_bits = unigram(subject.encode(training), tokens, len(subject.tokenizer))

    rows = [
        {"id": document.id, "bytes": size, "tokens": len(ids), "model_bits": bits, "unigram_bits": unigram_}
        for document, size, ids, bits, unigram_ in zip(documents, sizes, tokens, model_bits, unigram_bits, strict=True)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomically(subject.out / "documents.jsonl", lines)
    total = sum(sizes)
    token_count = sum(map(len, tokens))
    return {
        "bits_per_byte": {
            "model": math.fsum(model_bits) / total,
            "gzip_9": gzip_bits(documents) / total,
            "unigram": math.fsum(unigram_bits) / total,
        },
        "bits_per_byte_stderr": {
            "model": bootstrap_error(model_bits, sizes, config.seed),
            "unigram": bootstrap_error(unigram_bits, sizes, config.seed),
        },
        "perplexity": 2.0 ** (math.fsum(model_bits) / max(1, token_count)),
        "heldout": {
            "documents": len(documents),
            "bytes": total,
            "tokens": token_count,
            "bytes_per_token": total / max(1, token_count),
            "cut_documents": sum(not document.complete for document in documents),
            "lossy_documents": lossy(subject, documents, tokens),
            "context": context,
            "stride": stride,
            "unigram_training_bytes": sum(len(text.encode()) for text in training),
        },
    }


def windows(document: int, length: int, context: int, stride: int) -> Iterator[Window]:
    """The windows of a document of `length` tokens, BOS included: every token but BOS is predicted exactly once."""
    last = length - 1  # it is predicted, never read
    end = min(context, last)
    if last:
        yield Window(document, 0, 0, end)
    while end < last:
        predicted, end = end, min(end + stride, last)
        yield Window(document, end - context, predicted - (end - context), end)


def score(subject: Subject, tokens: list[list[int]], context: int, stride: int) -> list[float]:
    """Bits that the model needs for each document, in fp32; sums are exact (math.fsum)."""
    import torch

    sequences = [[subject.first_token, *ids] for ids in tokens]
    todo = [window for index, ids in enumerate(sequences) for window in windows(index, len(ids), context, stride)]
    todo.sort(key=lambda window: window.begin - window.end)  # longest first: little padding, and memory peaks at once
    batch_size = max(1, TOKENS_A_BATCH // context)
    terms: list[list[float]] = [[] for _ in tokens]
    with torch.inference_mode(), progress("bits per byte", len(todo), "windows") as advance:
        for first in range(0, len(todo), batch_size):
            batch = todo[first : first + batch_size]
            for window, bits in zip(batch, _score_batch(subject, sequences, batch), strict=True):
                terms[window.document].append(bits)
            advance(len(batch))
    return [math.fsum(parts) for parts in terms]


def _score_batch(subject: Subject, sequences: list[list[int]], batch: list[Window]) -> list[float]:
    """Bits of the scored tokens of each window. Padding goes to the right, where a causal model does not look."""
    import torch
    import torch.nn.functional as F

    network = subject.network
    longest = max(window.end - window.begin for window in batch)
    inputs = torch.zeros(len(batch), longest, dtype=torch.long)  # (B, T)
    targets = torch.full((len(batch), longest), -100)  # (B, T); cross_entropy leaves -100 out
    for row, window in enumerate(batch):
        ids = torch.tensor(sequences[window.document][window.begin : window.end + 1])
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, window.scored : len(ids) - 1] = ids[window.scored + 1 :]
    logits = network(input_ids=inputs.to(network.device), use_cache=False).logits.float()  # (B, T, V)
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten().to(network.device), reduction="none")
    return (nats.view_as(targets).double().sum(dim=1) / math.log(2)).tolist()


def gzip_bits(documents: list[Document]) -> int:
    """Bits of one gzip -9 stream over the documents joined end to end, its header included.

    One stream, as gzip would be used: it may look back over document borders (32 kB), which helps it more than its
    20-byte frame a document would cost. It sees no training text; it has none to see.
    """
    return 8 * len(gzip.compress(b"".join(document.text.encode() for document in documents), 9, mtime=0))


def unigram(training: list[list[int]], tokens: list[list[int]], vocab_size: int) -> list[float]:
    """Bits of each document under token frequencies of the training text, one added to each count (Laplace)."""
    import numpy as np

    counts = np.ones(vocab_size)
    for ids in training:
        counts += np.bincount(ids, minlength=vocab_size)
    bits = -np.log2(counts / counts.sum())
    return [float(bits[np.asarray(ids, dtype=np.int64)].sum()) for ids in tokens]


def bootstrap_error(bits: list[float], sizes: list[int], seed: int) -> float:
    """Standard error of sum(bits) / sum(bytes) when documents are drawn again with replacement; 0 for one document."""
    import numpy as np

    draws = np.random.default_rng(seed).integers(0, len(bits), (RESAMPLES, len(bits)))
    return float((np.asarray(bits)[draws].sum(axis=1) / np.asarray(sizes)[draws].sum(axis=1)).std())


def lossy(subject: Subject, documents: list[Document], tokens: list[list[int]]) -> int:
    """Documents that the tokenizer does not give back whole: their bits would be for less than their bytes."""
    decoded = subject.tokenizer.batch_decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return sum(text != document.text for text, document in zip(decoded, documents, strict=True))
