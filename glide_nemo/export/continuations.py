"""What each runtime writes after the same held-out tokens, always the likeliest next: the model as readers meet it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glide_nemo.export.hugging_face_runtime import load_network
from glide_nemo.export.llama_cpp_runtime import opened
from glide_nemo.tokenizer.train import load_processor

if TYPE_CHECKING:
    import numpy

PROMPT, WRITTEN = 16, 24  # tokens
Tokens = list[int]


def prompts(tokens_BS: numpy.ndarray, count: int) -> list[Tokens]:
    """The first tokens of the first `count` sequences; none where the sequences leave no room to go on."""
    return tokens_BS[:count, :PROMPT].tolist() if tokens_BS.shape[1] >= PROMPT + WRITTEN else []


def greedy(next_token: Callable[[Tokens], int], prompt: Tokens) -> Tokens:
    """What follows a prompt, token by token."""
    written: Tokens = []
    for _ in range(WRITTEN):
        written.append(next_token(prompt + written))
    return written


def hugging_face_continuations(model: Path, prompted: Sequence[Tokens]) -> list[Tokens]:
    """By transformers' own generate(), with its cache of keys and values."""
    import torch

    network = load_network(model)
    found = []
    for prompt in prompted:
        ids = torch.tensor([prompt])
        whole = network.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=WRITTEN, eos_token_id=None,
            pad_token_id=0,
        )  # fmt: skip
        found.append(whole[0, PROMPT:].tolist())
    return found


def llama_cpp_continuations(model: Path, prompted: Sequence[Tokens]) -> list[Tokens]:
    """By llama.cpp's sampler at temperature 0, without its penalty on repetition."""
    found = []
    with opened(model, PROMPT + WRITTEN) as network:
        for prompt in prompted:
            network.reset()
            stream = network.generate(prompt, temp=0.0, repeat_penalty=1.0)
            found.append([token for _, token in zip(range(WRITTEN), stream, strict=False)])
    return found


def agreement(expected: Sequence[Tokens], found: Sequence[Tokens]) -> float:
    """Share of the tokens up to the first that differs, over all continuations: after it the two go separate ways."""
    same = 0
    for wanted, written in zip(expected, found, strict=True):
        differing = (i for i, pair in enumerate(zip(wanted, written, strict=True)) if pair[0] != pair[1])
        same += next(differing, len(wanted))
    return same / sum(map(len, expected))


def as_text(tokenizer: Path, continuations: Sequence[Tokens]) -> list[str]:
    """Decoded, for a reader."""
    processor = load_processor(tokenizer)
    return [processor.decode(tokens) for tokens in continuations]
