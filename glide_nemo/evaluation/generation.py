"""What a model under evaluation writes after given tokens, and the chat template in its own tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError
from glide_nemo.tokenizer.special import END_OF_TEXT, TURN_END

if TYPE_CHECKING:
    from glide_nemo.evaluation.subject import Subject


class SubjectEncoder:
    """The exported tokenizer as the chat template needs it."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def encode(self, text: str) -> list[int]:
        return self._subject.encode([text])[0]

    def symbol(self, name: str) -> int:
        tokenizer = self._subject.tokenizer
        if name not in tokenizer.get_vocab():
            raise GlideError(f"the tokenizer in {self._subject.model.path} has no {name}: export a GLiDE model")
        return tokenizer.convert_tokens_to_ids(name)


def written(
    subject: Subject, ids: list[int], max_new_tokens: int, *, temperature: float = 0.0, top_k: int = 50, seed: int = 0
) -> str:
    """The text after `ids` up to the end of its text or turn, or `max_new_tokens`; greedy unless `temperature` is set.

    Special tokens are not shown. The caller's random state is left as it was.
    """
    import torch
    from transformers import GenerationConfig

    tokenizer, network = subject.tokenizer, subject.network
    known = tokenizer.get_vocab()
    ends = [known[name] for name in (END_OF_TEXT, TURN_END) if name in known] or tokenizer.eos_token_id
    generation = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature > 0,
        eos_token_id=ends,
        pad_token_id=tokenizer.eos_token_id or subject.first_token,
        **({"temperature": temperature, "top_k": top_k} if temperature else {}),
    )
    inputs = torch.tensor([ids], device=network.device)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        whole = network.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=generation)
    return tokenizer.decode(whole[0, len(ids) :], skip_special_tokens=True)
