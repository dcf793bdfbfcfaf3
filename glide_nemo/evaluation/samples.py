"""What the model writes: greedy and sampled continuations of a few prompts, and answers where it was trained to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glide_nemo.evaluation.generation import SubjectEncoder, written
from glide_nemo.tokenizer.chat import ON_TURNS, turn_tokens

if TYPE_CHECKING:
    from glide_nemo.evaluation.subject import Subject

QUESTION = "question"  # the source of a prompt that is asked as a turn


@dataclass
class SamplesConfig:
    prompts: list[str] = field(default_factory=lambda: ["This module provides", "Return a list of", "class "])
    questions: list[str] = field(
        default_factory=lambda: [
            "What does `os.path.join` do?",
            "What are the arguments of `textwrap.fill`?",
            "What is `collections.Counter`?",
        ]
    )  # asked as turns, of a model that was trained on them
    heldout_prompts: int = 1
    heldout_prompt_characters: int = 100
    max_new_tokens: int = 60
    temperature: float = 0.8
    top_k: int = 50
    seed: int = 0


def samples(subject: Subject) -> dict[str, Any]:
    """The evaluator: for each prompt the greedy continuation and one drawn at `temperature` with a fixed seed."""
    config: SamplesConfig = subject.config.samples
    prompts = [(prompt, "config") for prompt in config.prompts]
    for document in subject.heldout(config.heldout_prompts * 8_000, 8_000)[: config.heldout_prompts]:
        opening = document.text[: config.heldout_prompt_characters].rsplit(maxsplit=1)
        prompts.append((opening[0] if opening else document.text, f"held-out document {document.id}"))
    if subject.model.metrics["objective"] in ON_TURNS:
        prompts = [(question, QUESTION) for question in config.questions] + prompts
    rows = []
    for prompt, source in prompts:
        for decoding in ("greedy", f"temperature {config.temperature:g}, top-k {config.top_k}, seed {config.seed}"):
            completion = complete(subject, prompt, config, greedy=decoding == "greedy", turn=source == QUESTION)
            rows.append({"prompt": prompt, "completion": completion, "decoding": decoding, "source": source})
    return {"samples": rows}


def complete(subject: Subject, prompt: str, config: SamplesConfig, *, greedy: bool = True, turn: bool = False) -> str:
    """What the model writes after `prompt`, or answers to it as a turn."""
    room = max(1, subject.context - config.max_new_tokens - 1)
    if turn:
        ids = turn_tokens(SubjectEncoder(subject), [("user", prompt)])[-room:]
    else:
        ids = [subject.first_token, *subject.encode([prompt])[0][-room:]]
    temperature = 0.0 if greedy else config.temperature
    return written(subject, ids, config.max_new_tokens, temperature=temperature, top_k=config.top_k, seed=config.seed)
