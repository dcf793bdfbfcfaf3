"""Adapters: only they are trained, the merged model is the adapted one everywhere, and a killed run ends the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_chat import sums, write_lines
from small_pairs import packed_pairs

from glide_nemo.artifact import Artifact
from glide_nemo.data.conversations import ConversationsConfig, pack_conversations
from glide_nemo.errors import GlideError
from glide_nemo.export.targets import export
from glide_nemo.training import loop
from glide_nemo.training import pretrain as step
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import run_with_megatron

ROW = 160  # tokens: three or four examples
SHORT = (
    f"model.seq_length={ROW}", "train.train_iters=6", "checkpoint.save_interval=3", "validation.eval_interval=6",
    "optimizer.lr=0.02", "optimizer.min_lr=0.002", "lora.dim=4", "lora.alpha=8",
)  # fmt: skip
IDS = [[7, 300, 21, 999, 4, 500, 18, 250]]


@pytest.fixture(scope="module")
def conversations(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("chat")
    data = write_lines(folder / "sums.jsonl", sums(200))
    return pack_conversations(ConversationsConfig(seq_length=ROW), [data], small_tokenizer, folder / "out")


train = loop.train


def train_before_a_witness(name: str, overrides: Sequence[str], paths: loop.Paths, report: loop.Report) -> Any:
    """Trains, and keeps what the model in training is at its last checkpoint: its parameters and logits."""
    import torch
    from megatron.core.utils import unwrap_model

    from glide_nemo.model.bridge import logits
    from glide_nemo.training.lora import MergedWeights

    saved = MergedWeights.on_checkpoint_save

    def save(self: MergedWeights, context: Any) -> None:
        saved(self, context)
        if context.state.train_state.step < context.state.cfg.train.train_iters:
            return
        (model,) = unwrap_model(context.model)
        weights = {key: (weight.detach().clone(), weight.requires_grad) for key, weight in model.named_parameters()}
        found = logits(model.eval(), torch.tensor(IDS))
        torch.save({"weights": weights, "logits": found}, paths.out.parent / "witness.pt")

    MergedWeights.on_checkpoint_save = save
    return train(name, overrides, paths, report)


@pytest.fixture(scope="module")
def adapted(
    conversations: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    plan = plan_training("glide_nano_sft", (*tiny, *SHORT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step.loop, "train", train_before_a_witness)
        return pretrain(plan, conversations, tmp_path_factory.mktemp("lora") / "out", init_from=uninterrupted)


def weights_of(checkpoints: Path, report: loop.Report) -> dict[str, Any]:
    from glide_nemo.model.bridge import loaded_model

    with loaded_model(checkpoints) as model:
        return {name: weight.detach().clone().numpy() for name, weight in model.named_parameters()}


def test_the_adapters_learn_and_the_weights_stay_as_they_were(adapted: Artifact, uninterrupted: Artifact) -> None:
    import numpy
    import torch

    witness = torch.load(adapted.path.parent / "witness.pt")["weights"]
    before = run_with_megatron(weights_of, uninterrupted.path / "checkpoints")
    frozen = {name.replace(".to_wrap", ""): weight for name, (weight, learns) in witness.items() if not learns}
    assert set(frozen) == set(before)
    assert all(numpy.array_equal(frozen[name].numpy(), weight) for name, weight in before.items())
    learnt = {name: weight for name, (weight, learns) in witness.items() if learns}
    assert len(learnt) == 2 * 4 * 2 and all(".adapter." in name for name in learnt)
    assert all(weight.abs().max() > 0 for weight in learnt.values()), "an adapter is where it began"
    metrics = adapted.metrics
    assert metrics["final_loss"] < metrics["curve"][0][1] - 0.1
    assert metrics["heldout_loss"] < metrics["curve"][0][1]


def test_the_exported_model_is_the_one_that_was_trained(adapted: Artifact, uninterrupted: Artifact) -> None:
    import torch
    from transformers import LlamaForCausalLM

    wanted = torch.load(adapted.path.parent / "witness.pt")["logits"]
    (model,) = export(adapted.path, "hf")
    (start,) = export(uninterrupted.path, "hf", out=adapted.path.parent / "start")
    found, other = (LlamaForCausalLM.from_pretrained(each.path)(torch.tensor(IDS)).logits for each in (model, start))
    wanted = wanted[..., : found.size(-1)]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    assert (other - wanted).abs().max() > 0.1, "the adapters change nothing, so nothing shows that they were merged"


def test_exported_for_peft_the_adapters_on_their_base_are_the_merged_model(
    adapted: Artifact, uninterrupted: Artifact, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    merged, adapters = export(adapted.path, "hf,peft", out=tmp_path)
    (base,) = export(uninterrupted.path, "hf", out=tmp_path / "base")
    assert adapters.metrics["parameters"] > adapted.metrics["trainable_parameters"]  # query, key and value share an A
    assert adapters.metrics["base"] == uninterrupted.sha256 == base.record["inputs"]["checkpoint"]["sha256"]
    wanted = LlamaForCausalLM.from_pretrained(merged.path).eval()
    adapted_base = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base.path), adapters.path).eval()
    with torch.inference_mode():
        found, expected, start = (
            network(torch.tensor(IDS)).logits
            for network in (adapted_base, wanted, LlamaForCausalLM.from_pretrained(base.path))
        )
    assert (start - expected).abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    unloaded = adapted_base.merge_and_unload().state_dict()
    for name, weight in wanted.state_dict().items():
        torch.testing.assert_close(unloaded[name], weight, rtol=0, atol=1e-6)


def test_a_run_without_adapters_has_none_to_export(uninterrupted: Artifact, tmp_path: Path) -> None:
    with pytest.raises(GlideError, match=r"trained no adapters: pass a run with lora\.dim=8"):
        export(uninterrupted.path, "peft", out=tmp_path)


def test_the_settings_are_recorded_and_the_parameters_counted(adapted: Artifact) -> None:
    assert adapted.config["lora"]["dim"] == 4 and adapted.config["lora"]["alpha"] == 8
    hidden, feed_forward, heads, key_value = 128, 256, 4 * 64, 2 * 2 * 64
    inputs_and_outputs = (
        (hidden + heads + key_value) + (heads + hidden) + (hidden + 2 * feed_forward) + (feed_forward + hidden)
    )
    assert adapted.metrics["trainable_parameters"] == 2 * 4 * inputs_and_outputs
    assert adapted.metrics["parameters"] > 10 * adapted.metrics["trainable_parameters"]


def test_the_plan_has_memory_for_the_gradients_of_adapters_alone(adapted: Artifact, tiny: tuple[str, ...]) -> None:
    memory = plan_training("glide_nano_sft", (*tiny, *SHORT)).memory
    assert memory.gradients == 4 * adapted.metrics["trainable_parameters"]
    whole = plan_training("glide_nano_sft", (*tiny, *SHORT, "lora.dim=0")).memory
    assert memory.weights - whole.weights == memory.gradients
    assert memory.optimizer < whole.optimizer / 10


def test_a_killed_run_goes_on_with_its_adapters(
    adapted: Artifact, conversations: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path: Path,
    killed_at: Any,
) -> None:  # fmt: skip
    plan = plan_training("glide_nano_sft", (*tiny, *SHORT))
    with killed_at(5):  # the last checkpoint is of step 3
        pretrain(plan, conversations, tmp_path / "out", init_from=uninterrupted)
    assert (tmp_path / "out" / "adapter" / "iter_0000003").exists()
    assert not (tmp_path / "out" / "checkpoints").exists()
    again = pretrain(plan, conversations, tmp_path / "out", init_from=uninterrupted)
    assert again.sha256 == adapted.sha256


def test_the_next_phase_starts_from_the_merged_model(
    adapted: Artifact, small_tokenizer: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    pairs = packed_pairs(tmp_path, small_tokenizer)
    overrides = (*tiny, "model.seq_length=32", "train.train_iters=3", "validation.eval_interval=3", "lora.dim=2")
    run = pretrain(plan_training("glide_nano_dpo", overrides), pairs, tmp_path / "dpo", init_from=adapted)
    assert run.metrics["curve"][0][1] == pytest.approx(0.693147, abs=1e-5), "it does not begin as its reference"
    assert (run.path / "adapter").exists() and (run.path / "checkpoints").exists()


@pytest.mark.parametrize("layout", ["tensor", "pipeline"])
def test_merged_over_two_processes_it_is_as_good_as_the_adapters_were(
    layout: str, conversations: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    laid_out = (*tiny, *SHORT, f"model.{layout}_model_parallel_size=2", "train.micro_batch_size=1")
    run = pretrain(plan_training("glide_nano_sft", laid_out), conversations, tmp_path / "out", init_from=uninterrupted)
    assert run.metrics["final_loss"] < run.metrics["curve"][0][1] - 0.1
    still = (*tiny, *SHORT, "lora.dim=0", "train.train_iters=1", "optimizer.lr=0", "optimizer.min_lr=0")
    same = pretrain(plan_training("glide_nano_sft", still), conversations, tmp_path / "same", init_from=run)
    assert same.metrics["heldout_loss"] == pytest.approx(run.metrics["heldout_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lora.dim=-1", "cannot adapt with lora.dim=-1: pass 1 or more"),
        ("lora.dim=many", "cannot set lora.dim to 'many': it takes a whole number"),
        ("lora.dims=8", "unknown key 'lora.dims': did you mean 'lora.dim'"),
        ("peft.dim=8", "peft follows from the section lora: pass lora.dim=8"),
        ("lora.alpha=0", "cannot adapt with lora.alpha=0"),
        ("lora.dropout=1.0", "cannot adapt with lora.dropout=1.0"),
        ("lora.target_modules=[linear_kqv]", "unknown module 'linear_kqv'.*did you mean 'linear_qkv'"),
        ("lora.target_modules=linear_qkv", r"cannot read lora.target_modules=linear_qkv: write \[linear_qkv,"),
        ("model.tensor_model_parallel_size=2 lora.dim=5", "does not divide 5 rows of an adapter"),
    ],
)
def test_settings_that_adapt_nothing_are_refused(override: str, said: str, tiny: tuple[str, ...]) -> None:
    with pytest.raises(GlideError, match=said):
        plan_training("glide_nano_sft", (*tiny, *SHORT, *override.split()))


def test_adapters_and_an_average_are_not_had_together(
    conversations: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    plan = plan_training("glide_nano_sft", (*tiny, *SHORT, "ema.interval=2"))
    with pytest.raises(GlideError, match="cannot average the weights that it adapts"):
        pretrain(plan, conversations, tmp_path / "out", init_from=uninterrupted)


def test_adapters_need_weights_to_adapt(small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path) -> None:
    plan = plan_training("glide_nano_phaseA", (*tiny, "lora.dim=4"))
    with pytest.raises(GlideError, match="adapts weights that are trained: pass --from with a checkpoint"):
        pretrain(plan, small_tokens, tmp_path / "out")


def adapt_with_the_optimizer_of_the_phase_before(overrides: tuple[str, ...], report: loop.Report) -> None:
    from glide_nemo.recipes.recipe import build_recipe
    from glide_nemo.training.lora import adapt

    recipe = build_recipe("glide_nano_sft", overrides)
    recipe.continues_optimizer = True
    adapt(recipe, loop.Paths(Path("tokens"), Path("tokenizer"), Path("out"), Path("start")))


def test_adapters_have_no_use_for_the_optimizer_of_the_phase_before(tiny: tuple[str, ...]) -> None:
    with pytest.raises(GlideError, match="goes on with the optimizer of all weights"):
        run_with_megatron(adapt_with_the_optimizer_of_the_phase_before, (*tiny, *SHORT))
