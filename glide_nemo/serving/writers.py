"""A model that writes on from tokens, as a stream of text: in llama.cpp or in transformers, behind one interface.

Sampling is the same in both: temperature, then top-k 40 and top-p 0.95, no repetition penalty; temperature 0 is greedy.
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from glide_nemo.export.hugging_face_runtime import encode_text, load_network, load_tokenizer
from glide_nemo.export.llama_cpp_runtime import opened
from glide_nemo.tokenizer.chat import Encoder

TOP_K, TOP_P = 40, 0.95


class Writer(Encoder, Protocol):
    """What chat needs of a runtime."""

    context: int  # tokens that the model can look at, prompt and answer together

    def write(self, ids: list[int], max_tokens: int, temperature: float, seed: int) -> Iterator[str]:
        """What the model writes after `ids`, piece by piece, up to an end-of-text or end-of-turn token.

        Stops writing when the iterator is closed.
        """


class LlamaCppWriter:
    """A GGUF file in llama.cpp."""

    def __init__(self, model: Any) -> None:
        self._model = model
        # As the file says: llama.cpp rounds n_ctx() up to a multiple of 256, its Python buffers do not.
        self.context = min(model.n_ctx(), int(model.metadata["llama.context_length"]))

    def encode(self, text: str) -> list[int]:
        return self._model.tokenize(text.encode(), add_bos=False, special=False)

    def symbol(self, name: str) -> int:
        (identifier,) = self._model.tokenize(name.encode(), add_bos=False, special=True)
        return identifier

    def write(self, ids: list[int], max_tokens: int, temperature: float, seed: int) -> Iterator[str]:
        import llama_cpp

        vocabulary = llama_cpp.llama_model_get_vocab(self._model.model)
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be spelled by several tokens
        self._model.set_seed(seed)
        tokens = self._model.generate(
            ids, temp=temperature, top_k=TOP_K, top_p=TOP_P, min_p=0.0, repeat_penalty=1.0
        )  # fmt: skip
        for _, token in zip(range(max_tokens), tokens, strict=False):
            if llama_cpp.llama_vocab_is_eog(vocabulary, token):
                break
            if text := utf8.decode(self._model.detokenize([token])):
                yield text
        if rest := utf8.decode(b"", final=True):
            yield rest


class TransformersWriter:
    """A Hugging Face directory in transformers."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.context = model.config.max_position_embeddings

    def encode(self, text: str) -> list[int]:
        return encode_text(self._tokenizer, text)

    def symbol(self, name: str) -> int:
        return self._tokenizer.convert_tokens_to_ids(name)

    def write(self, ids: list[int], max_tokens: int, temperature: float, seed: int) -> Iterator[str]:
        import torch
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        stop = threading.Event()
        inputs = torch.tensor([ids], device=self._model.device)
        sampling = {"do_sample": True, "temperature": temperature, "top_k": TOP_K, "top_p": TOP_P}

        def generate() -> None:
            try:
                torch.manual_seed(seed)
                self._model.generate(
                    inputs,
                    attention_mask=torch.ones_like(inputs),
                    max_new_tokens=max_tokens,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([lambda *_: torch.tensor([stop.is_set()])]),
                    **(sampling if temperature else {"do_sample": False}),
                )
            finally:
                streamer.end()  # or the reader would wait for ever

        thread = threading.Thread(target=generate)
        thread.start()
        try:
            yield from filter(None, streamer)
        finally:
            stop.set()
            thread.join()


@contextmanager
def llama_cpp_writer(path: Path) -> Iterator[Writer]:
    """A writer for a GGUF file, with the context that it was trained at."""
    with opened(path, context=0) as model:  # 0: what the file says
        yield LlamaCppWriter(model)


@contextmanager
def transformers_writer(path: Path) -> Iterator[Writer]:
    """A writer for a Hugging Face directory. GlideError where it cannot be loaded."""
    yield TransformersWriter(load_network(path), load_tokenizer(path))
