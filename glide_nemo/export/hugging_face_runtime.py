"""transformers as GLiDE calls it: silent, from local files only, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError
from glide_nemo.export.quantized_runtime import load_quantized, quantization_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_network(path: Path, dtype: str = "float32") -> PreTrainedModel:
    """The model of a Hugging Face directory in float32, whatever its weights are stored in; `auto` leaves them so.

    Weights that an exporter packed are unpacked, and what enters them is rounded as their format says.
    """
    if quantization_config(path):
        return load_quantized(path)
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with _errors_as_ours(path, "the model"):
        # An absolute path can never be taken for a name on a hub.
        return AutoModelForCausalLM.from_pretrained(path.resolve(), dtype=dtype, local_files_only=True).eval()


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a Hugging Face directory."""
    from transformers import AutoTokenizer

    with _errors_as_ours(path, "the tokenizer"):
        return AutoTokenizer.from_pretrained(path.resolve(), local_files_only=True)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of plain text: nothing is added, and special tokens written out in it are text."""
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids


@contextmanager
def _errors_as_ours(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what transformers, tokenizers and safetensors raise has no common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise GlideError(f"transformers cannot load {what} in {path} ({reason}): export it again") from error
