"""Logits of the same tokens from each runtime: Megatron-Core, Hugging Face and llama.cpp.

Shape suffixes: B = sequences, S = tokens of a sequence, V = vocabulary of the tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.errors import GlideError
from glide_nemo.export.continuations import Tokens, greedy
from glide_nemo.export.hugging_face_runtime import load_network
from glide_nemo.export.llama_cpp_runtime import opened

if TYPE_CHECKING:
    import numpy

COMPARED_TOKENS = 4_096  # of a certificate, unless it is told otherwise


def heldout_sequences(tokens: Path, dtype: str, count: int, length: int) -> numpy.ndarray:
    """`tokens_BS` int64: sequences from all over the packed held-out split, as training reads them.

    Raises GlideError where the split is shorter than one sequence.
    """
    import numpy

    stream = heldout_stream(tokens, dtype)
    if len(stream) < length:
        raise GlideError(f"{tokens} holds {len(stream)} held-out tokens, {length} are needed: hold out more text")
    starts = heldout_starts(len(stream), min(count, len(stream) // length), length)
    return numpy.stack([stream[start : start + length] for start in starts]).astype(numpy.int64)


def not_compared(stream: numpy.ndarray, context: int, at_least: int) -> numpy.ndarray:
    """Held-out tokens without those that a certificate compares on by default: none is tested on what it was fitted to.

    All of them where fewer than `at_least` would be left.
    """
    import numpy

    whole = min(context, len(stream))
    compared = numpy.zeros(len(stream), bool)
    for start in heldout_starts(len(stream), min(max(1, COMPARED_TOKENS // whole), len(stream) // whole), whole):
        compared[start : start + whole] = True
    return stream[~compared] if (~compared).sum() >= at_least else stream


def heldout_stream(tokens: Path, dtype: str) -> numpy.ndarray:
    """The held-out split of packed documents, end to end."""
    import numpy

    return numpy.memmap(tokens / "heldout.bin", dtype, mode="r")


def heldout_starts(total: int, count: int, length: int) -> list[int]:
    """Where `count` sequences of `length` tokens begin that are spread evenly over a stream of `total`."""
    import numpy

    return numpy.linspace(0, total - length, count).astype(int).tolist()


def write_megatron_logits(
    checkpoints: Path,
    tokens_BS: numpy.ndarray,
    vocab_size: int,
    prompted: Sequence[Tokens],
    path: Path,
    report: Callable[[dict[str, Any]], None],
) -> list[Tokens]:
    """Saves logits_BSV, padded columns cut off, as float32 .npy; runs where Megatron is (`run_with_megatron`).

    Returns what the model writes after each prompt.
    """
    import numpy
    import torch

    from glide_nemo.model.bridge import loaded_model, logits

    shape = (*tokens_BS.shape, vocab_size)
    logits_BSV = numpy.lib.format.open_memmap(path, mode="w+", dtype=numpy.float32, shape=shape)
    with loaded_model(checkpoints) as model:
        for row, tokens_S in enumerate(tokens_BS):
            found = logits(model, torch.from_numpy(tokens_S)[None])[0, :, :vocab_size]
            logits_BSV[row] = found.float().cpu().numpy()

        def next_token(tokens: Tokens) -> int:
            return int(logits(model, torch.tensor([tokens]))[0, -1, :vocab_size].argmax())

        written = [greedy(next_token, prompt) for prompt in prompted]
    logits_BSV.flush()
    return written


def hugging_face_logits(model: Path, tokens_BS: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """`logits_SV` of each sequence from transformers, in float32. GlideError where the directory cannot be loaded."""
    import torch

    network = load_network(model)
    for tokens_S in tokens_BS:
        with torch.inference_mode():
            yield network(torch.from_numpy(tokens_S)[None]).logits[0].numpy()


def llama_cpp_logits(model: Path, tokens_BS: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """`logits_SV` of each sequence from llama.cpp, keys and values in float32."""
    length = tokens_BS.shape[1]
    with opened(model, length, exact=True) as network:
        for tokens_S in tokens_BS:
            network.reset()
            network.eval(tokens_S.tolist())
            yield network.scores[:length].copy()
