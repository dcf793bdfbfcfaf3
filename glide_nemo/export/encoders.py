"""Text to token ids in each runtime, and how often that differs from SentencePiece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from glide_nemo.export.hugging_face_runtime import encode_text, load_tokenizer
from glide_nemo.export.llama_cpp_runtime import opened
from glide_nemo.tokenizer.train import load_processor

Encode = Callable[[str], list[int]]


@contextmanager
def hugging_face_encoder(model: Path) -> Iterator[Encode]:
    """Encodes as transformers does; special tokens written out in text are text. GlideError where it cannot load."""
    tokenizer = load_tokenizer(model)
    yield lambda text: encode_text(tokenizer, text)


@contextmanager
def llama_cpp_encoder(model: Path) -> Iterator[Encode]:
    """Encodes as llama.cpp does, without begin-of-text and with special tokens in text as text."""
    with opened(model, context=32, vocabulary_only=True) as network:
        yield lambda text: network.tokenize(text.encode(), add_bos=False, special=False)


def mismatches(tokenizer: Path, encode: Encode, texts: Sequence[str]) -> int:
    """How many of `texts` do not get the ids that SentencePiece gives them with the tokenizer in a directory."""
    processor = load_processor(tokenizer)
    return sum(encode(text) != processor.encode(text) for text in texts)
