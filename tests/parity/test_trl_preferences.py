"""DPO and ORPO losses and gradients against TRL's own trainers: the same Llama, the same pairs, to 1e-5."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from glide_nemo.training.preference_losses import (
    answer_log_probabilities,
    dpo_loss,
    orpo_loss,
    token_log_probabilities,
)

BOUND = 1e-5
BETA = 0.3
# Tokens of prompts, and of answers of unequal length.
PAIRS = (
    ([5, 9, 17, 3], [40, 41, 42, 43, 44], [50, 51]),
    ([8, 8, 2], [61, 7], [12, 99, 31, 64, 77, 3]),
    ([30], [31, 32, 33], [34, 35, 36]),
)


@pytest.fixture(scope="module")
def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2, tie_word_embeddings=True, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).float()


@pytest.fixture(scope="module")
def reference(llama: Any) -> Any:
    """Another model, so that the rewards are not nothing."""
    other = copy.deepcopy(llama)
    torch.manual_seed(1)
    for parameter in other.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return other


@pytest.fixture(scope="module")
def words() -> Any:
    """A tokenizer of whole words, as TRL's trainers want one; they are handed token ids here."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({f"w{i}": i for i in range(128)}, unk_token="w1"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="w0", eos_token="w2", bos_token="w4")


def rows(pairs: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Padded tokens, and masks of the labels of answers and of all text: GLiDE's batch, chosen and rejected in turn."""
    texts = [(prompt, answer) for prompt, chosen, rejected in pairs for answer in (chosen, rejected)]
    length = max(len(prompt) + len(answer) for prompt, answer in texts)
    tokens = torch.zeros(len(texts), length, dtype=torch.long)
    answers, whole = torch.zeros(len(texts), length - 1), torch.zeros(len(texts), length - 1)
    for row, (prompt, answer) in enumerate(texts):
        end = len(prompt) + len(answer)
        tokens[row, :end] = torch.tensor([*prompt, *answer])
        answers[row, len(prompt) - 1 : end - 1] = 1
        whole[row, : end - 1] = 1
    return tokens, answers, whole


def log_probabilities(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    return token_log_probabilities(model(input_ids=tokens).logits[:, :-1], tokens[:, 1:])


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_equal(ours: tuple[float, dict[str, Any]], theirs: tuple[float, dict[str, Any]]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=BOUND)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in ours[1].items():
        assert gradient.abs().max() > 1e-4, f"{name} has no gradient to compare"
        torch.testing.assert_close(gradient, theirs[1][name], rtol=BOUND, atol=BOUND)


@pytest.mark.parametrize("form", ["sigmoid", "sigmoid_norm"])
def test_dpo_equals_trl(llama: Any, reference: Any, words: Any, form: str, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    with torch.no_grad():
        tokens, answers, _ = rows(PAIRS)
        start = answer_log_probabilities(-log_probabilities(reference, tokens), answers)
    policy = answer_log_probabilities(-log_probabilities(llama, tokens), answers)
    if form == "sigmoid_norm":
        start, policy = start / answers.sum(1), policy / answers.sum(1)
    found = dpo_loss(policy[::2], policy[1::2], start[::2], start[1::2], beta=BETA)
    loss = found.loss_P.mean()
    ours = loss.item(), gradients(llama, loss)

    config = DPOConfig(
        output_dir=str(tmp_path), beta=BETA, loss_type=[form], report_to=[], bf16=False, use_cpu=True,
        gradient_checkpointing=False, per_device_train_batch_size=len(PAIRS), max_length=None,
    )  # fmt: skip
    text = [{"prompt": "w5", "chosen": "w6", "rejected": "w7"}]
    trainer = DPOTrainer(
        copy.deepcopy(llama), copy.deepcopy(reference), config, train_dataset=Dataset.from_list(text),
        processing_class=words,
    )  # fmt: skip
    examples = [{"prompt_ids": prompt, "chosen_ids": a, "rejected_ids": b} for prompt, a, b in PAIRS]
    trainer.model.train()
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(examples))
    assert_equal(ours, (theirs.item(), gradients(trainer.model, theirs)))
    if form == "sigmoid":  # TRL logs the rewards of sums in either form
        margin = (found.chosen_reward_P - found.rejected_reward_P).mean().item()
        assert trainer._metrics["train"]["rewards/margins"][-1] == pytest.approx(margin, rel=BOUND)


def test_orpo_equals_trl(llama: Any, words: Any, tmp_path: Path) -> None:
    """TRL averages the likelihood over the tokens of a batch, the paper over pairs: one pair is compared at a time."""
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    config = ORPOConfig(
        output_dir=str(tmp_path), beta=BETA, report_to=[], bf16=False, use_cpu=True, gradient_checkpointing=False,
        max_length=64, per_device_train_batch_size=1,
    )  # fmt: skip
    text = [{"prompt": "w5", "chosen": "w6", "rejected": "w7"}]
    trainer = ORPOTrainer(copy.deepcopy(llama), config, train_dataset=Dataset.from_list(text), processing_class=words)
    trainer.model.train()
    for pair in PAIRS:
        tokens, answers, whole = rows([pair])
        each = log_probabilities(llama, tokens)
        mean = answer_log_probabilities(-each, answers) / answers.sum(1)
        nll = -answer_log_probabilities(-each, whole) / whole.sum(1)
        loss = orpo_loss(mean[::2], mean[1::2], nll[::2], beta=BETA).loss_P.mean()
        ours = loss.item(), gradients(llama, loss)

        prompt, chosen, rejected = pair
        example = {}
        for name, answer in (("chosen", chosen), ("rejected", rejected)):
            example[f"{name}_input_ids"] = [*prompt, *answer]
            example[f"{name}_attention_mask"] = [1] * (len(prompt) + len(answer))
            example[f"{name}_labels"] = [-100] * len(prompt) + answer
        theirs, _ = trainer.get_batch_loss_metrics(trainer.model, trainer.data_collator([example]))
        assert_equal(ours, (theirs.item(), gradients(trainer.model, theirs)))
