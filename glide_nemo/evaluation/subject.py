"""What every evaluator gets: the model, its tokenizer and the held-out documents, each loaded when first asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export.hf_config import read_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Document:
    """A document of the corpus; `complete` is false where `text` is only its beginning."""

    id: str
    text: str
    complete: bool = True

    @property
    def bytes(self) -> int:
        return len(self.text.encode())


@dataclass
class Subject:
    """One evaluation: what is evaluated (`model`), on what (`corpus`), how (`config`), and where files go (`out`).

    lm-eval's tasks are scored by transformers, or by llama.cpp on `gguf`, which was made from `model`, or by `vllm`.
    """

    model: Artifact
    corpus: Artifact
    config: Any
    out: Path
    gguf: Path | None = None
    vllm: bool = False

    @cached_property
    def network(self) -> PreTrainedModel:
        """The model in fp32, whatever it was exported in, so that rounding is no part of the result."""
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            # An absolute path can never be taken for a name on a hub.
            network = AutoModelForCausalLM.from_pretrained(
                self.model.path.resolve(), dtype=torch.float32, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise GlideError(f"cannot load the model in {self.model.path} ({_line(error)}): export it again") from error
        return network.eval().to(device)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.model.path.resolve(), local_files_only=True)
        except (OSError, ValueError) as error:
            raise GlideError(f"no tokenizer in {self.model.path} ({_line(error)}): export it again") from error

    @property
    def first_token(self) -> int:
        """What a document begins with: the begin-of-text token, or the end-of-text token where there is none."""
        tokenizer = self.tokenizer
        token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if token is None:
            raise GlideError(f"the tokenizer in {self.model.path} has neither a BOS nor an EOS token: name one")
        return token

    @property
    def context(self) -> int:
        """Tokens that the model was trained to look at."""
        if self.gguf or self.vllm:  # then the network need not be loaded
            return int(read_config(self.model.path)["max_position_embeddings"])
        return int(self.network.config.max_position_embeddings)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text with nothing added; a control symbol spelled out in the text stays plain text."""
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]

    def heldout(self, max_bytes: int, max_document_bytes: int | None = None) -> list[Document]:
        """Held-out documents of `max_bytes` together at most, each cut to `max_document_bytes`.

        In an order that depends on their ids alone, so that a small budget is still a fair draw of the whole split.
        Raises GlideError where there is none.
        """
        rows = [(str(id_), text) for id_, text in corpora.documents(self.corpus, "heldout") if text]
        if not rows:
            raise GlideError(f"no held-out text in {self.corpus.path}: curate more text")
        rows.sort(key=lambda row: hashlib.sha256(row[0].encode()).digest())
        return _within(rows, max_bytes, max_document_bytes)

    def training(self, max_bytes: int) -> list[str]:
        """Texts of about `max_bytes` of the training split, drawn from all over it."""
        return list(corpora.sample(self.corpus, "train", max_bytes))


def _within(rows: list[tuple[str, str]], max_bytes: int, max_document_bytes: int | None) -> list[Document]:
    """Documents from the front of `rows` up to a budget in bytes; the last one is cut to what is left of it."""
    chosen, left = [], max_bytes
    for id_, text in rows:
        if left <= 0:
            break
        kept = text.encode()[: min(left, max_document_bytes or left)].decode(errors="ignore")  # no half characters
        if kept:
            chosen.append(Document(id_, kept, complete=len(kept) == len(text)))
        left -= len(kept.encode())
    return chosen


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
