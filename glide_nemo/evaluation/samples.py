"""What the model writes: greedy and sampled continuations of a few prompts, one from a held-out document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glide_nemo.evaluation.subject import Subject


@dataclass
class SamplesConfig:
    prompts: list[str] = field(default_factory=lambda: ["This module provides", "Return a list of", "class "])
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
    rows = []
    for prompt, source in prompts:
        for decoding in ("greedy", f"temperature {config.temperature:g}, top-k {config.top_k}, seed {config.seed}"):
            completion = complete(subject, prompt, config, greedy=decoding == "greedy")
            rows.append({"prompt": prompt, "completion": completion, "decoding": decoding, "source": source})
    return {"samples": rows}


def complete(subject: Subject, prompt: str, config: SamplesConfig, *, greedy: bool) -> str:
    """The text that the model writes after `prompt`, up to its end-of-text token or `max_new_tokens`."""
    import torch
    from transformers import GenerationConfig

    tokenizer, network = subject.tokenizer, subject.network
    room = max(1, subject.context - config.max_new_tokens - 1)
    ids = [subject.first_token, *subject.encode([prompt])[0][-room:]]
    generation = GenerationConfig(
        max_new_tokens=config.max_new_tokens,
        do_sample=not greedy,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id or subject.first_token,
        **({} if greedy else {"temperature": config.temperature, "top_k": config.top_k}),
    )
    inputs = torch.tensor([ids], device=network.device)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(config.seed)
        written = network.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=generation)
    return tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True)
