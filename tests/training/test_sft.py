"""Fine-tuning on packed conversations: examples do not see each other, and the loss is Hugging Face's on each alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_chat import sums, write_lines

from glide_nemo.artifact import Artifact
from glide_nemo.data.conversations import ConversationsConfig, pack_conversations
from glide_nemo.errors import GlideError
from glide_nemo.training.loop import Report
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import run_with_megatron

ROW = 160  # tokens: three or four examples
SHORT = (f"model.seq_length={ROW}", "train.train_iters=6", "checkpoint.save_interval=3", "validation.eval_interval=6")


@pytest.fixture(scope="session")
def conversations(small_tokenizer: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("chat")
    data = write_lines(folder / "sums.jsonl", sums(200))
    return pack_conversations(ConversationsConfig(seq_length=ROW), [data], small_tokenizer, folder / "out")


def losses_of_a_batch(rows: Path, dtype: str, report: Report) -> dict[str, Any]:
    """Losses of two packed rows in Megatron's model, before and after one example is changed, and Hugging Face's."""
    import dataclasses
    import itertools

    import torch
    from bridge_weights import hugging_face_config, hugging_face_weights
    from megatron.bridge.training.model_load_save import temporary_distributed_context
    from megatron.bridge.training.utils.packed_seq_utils import get_packed_seq_params
    from transformers import LlamaForCausalLM

    from glide_nemo.data.packed_dataset import PackedConversations, joined, row_sample
    from glide_nemo.model.architecture import nano
    from glide_nemo.model.provider import model_provider

    read = PackedConversations(seq_length=ROW, directory=str(rows), dtype=dtype).read("train")
    batch = joined([row_sample(read, 0), row_sample(read, 1)])
    borders = batch["cu_seqlens_q"].tolist()
    spans = [slice(first, last) for first, last in itertools.pairwise(borders)]
    shape = dataclasses.replace(nano(), num_layers=2, vocab_size=1_024, init_method_std=0.1)  # no rows that pad
    with temporary_distributed_context(backend="gloo"):
        provider = model_provider(shape)
        provider.finalize()
        (model,) = provider.provide_distributed_model(wrap_with_ddp=False)
        model.eval()

        def each(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            packed = get_packed_seq_params(dict(batch))
            fields = {"input_ids": batch["tokens"], "position_ids": batch["position_ids"], "labels": batch["labels"]}
            with torch.inference_mode():
                return model(**fields, attention_mask=None, packed_seq_params=packed)[0]

        before = each(batch)
        changed = 1
        perturbed = dict(batch)
        perturbed["tokens"] = batch["tokens"].clone()
        perturbed["tokens"][0, spans[changed]] = (perturbed["tokens"][0, spans[changed]] + 1) % 1_000
        after = each(perturbed)
        config = hugging_face_config(shape, 512)
        weights = {name: weight.clone() for name, weight in hugging_face_weights(model, config)}
    alone = LlamaForCausalLM(config)
    alone.load_state_dict(weights, strict=False)
    ours, theirs = [], []
    for span in spans:
        mask = batch["loss_mask"][0, span].bool()
        if not mask.any():
            continue  # padding
        ids = batch["tokens"][:, span]
        with torch.inference_mode():
            logits = alone.eval()(input_ids=ids).logits[0, :-1]
        wanted = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        ours.append(float(before[span][mask].mean()))
        theirs.append(float(wanted[mask[:-1]].mean()))
    difference = (after - before).abs()
    inside = difference[spans[changed]].max()
    difference[spans[changed]] = 0
    return {"examples": len(spans), "changed": float(inside), "others": float(difference.max()), "ours": ours,
            "hf": theirs, "learnt": float(batch["loss_mask"].sum())}  # fmt: skip


@pytest.fixture(scope="module")
def losses(conversations: Artifact) -> dict[str, Any]:
    return run_with_megatron(losses_of_a_batch, conversations.path, conversations.metrics["dtype"])


def test_changing_one_example_changes_no_loss_of_the_others(losses: dict[str, Any]) -> None:
    assert losses["examples"] > 4
    assert losses["changed"] > 0.1
    assert losses["others"] == 0.0


def test_the_loss_of_each_example_is_hugging_faces_on_it_alone(losses: dict[str, Any]) -> None:
    assert len(losses["ours"]) >= 4
    assert losses["ours"] == pytest.approx(losses["hf"], rel=1e-5)


def test_fine_tuning_lowers_the_loss_and_ends_the_same_twice(
    conversations: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    plan = plan_training("glide_nano_sft", (*tiny, *SHORT))
    runs = [pretrain(plan, conversations, tmp_path / out, init_from=uninterrupted) for out in ("one", "deeper/two")]
    assert runs[0].sha256 == runs[1].sha256
    metrics = runs[0].metrics
    assert metrics["final_loss"] < metrics["curve"][0][1] - 0.1
    assert metrics["heldout_loss"] is not None


def test_conversations_packed_for_another_length_are_refused(
    conversations: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    plan = plan_training("glide_nano_sft", (*tiny, *SHORT, "model.seq_length=32"))
    with pytest.raises(GlideError, match="packed into 160 tokens and the recipe trains on 32"):
        pretrain(plan, conversations, tmp_path / "out")


def test_text_in_place_of_conversations_is_refused(
    small_tokens: Artifact, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(GlideError, match="no packed conversations in"):
        pretrain(plan_training("glide_nano_sft", (*tiny, *SHORT)), small_tokens, tmp_path / "out")


def test_a_killed_run_ends_with_the_same_weights(
    conversations: Artifact, uninterrupted: Artifact, tiny: tuple[str, ...], tmp_path: Path, killed_at: Any
) -> None:
    plan = plan_training("glide_nano_sft", (*tiny, *SHORT))
    whole = pretrain(plan, conversations, tmp_path / "whole", init_from=uninterrupted)
    with killed_at(5):  # the last checkpoint is of step 3
        pretrain(plan, conversations, tmp_path / "killed", init_from=uninterrupted)
    assert pretrain(plan, conversations, tmp_path / "killed", init_from=uninterrupted).sha256 == whole.sha256
