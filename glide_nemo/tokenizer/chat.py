"""The chat template as token ids: what training learns from, and what a served model is asked with.

Put together from ids and not by tokenizing the template's text, so that no turn can forge a control symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from glide_nemo.tokenizer.special import TURN_END, TURN_START

Turn = tuple[str, str]  # role and content
ASSISTANT = "assistant"
ON_TURNS = ("sft", "dpo", "orpo")  # objectives whose models were trained to answer; others go on with text


class Encoder(Protocol):
    """A tokenizer as the template needs it."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: nothing is added, and special tokens written out in it are text."""

    def symbol(self, name: str) -> int:
        """The id of a control symbol."""


class SentencePieceEncoder:
    """A SentencePieceProcessor, which finds no control symbol in text."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def symbol(self, name: str) -> int:
        return self._processor.piece_to_id(name)


def turn_tokens(encoder: Encoder, turns: Sequence[Turn]) -> list[int]:
    """The tokens of turns, up to where the assistant begins to answer."""
    ids, _ = conversation_tokens(encoder, turns)
    return [*ids, *_opening(encoder, ASSISTANT)]


def conversation_tokens(encoder: Encoder, turns: Sequence[Turn]) -> tuple[list[int], list[bool]]:
    """The tokens of turns, and of each whether the assistant wrote it: its content and the end of its turn.

    No piece of GLiDE's tokenizers holds a line break, so that a role and its content may be encoded one by one.
    """
    end, after = encoder.symbol(TURN_END), encoder.encode("\n")
    ids: list[int] = []
    written: list[bool] = []
    for role, content in turns:
        opening, said = _opening(encoder, role), [*encoder.encode(content), end]
        ids += [*opening, *said, *after]
        written += [False] * len(opening) + [role == ASSISTANT] * len(said) + [False] * len(after)
    return ids, written


def _opening(encoder: Encoder, role: str) -> list[int]:
    return [encoder.symbol(TURN_START), *encoder.encode(f"{role}\n")]
