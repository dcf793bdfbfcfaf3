"""Documents packed into one sequence do not see each other where that is asked for, and do where it is not."""

from __future__ import annotations

import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.training.loop import Report
from glide_nemo.training.pretrain import plan_training, pretrain
from glide_nemo.training.worker import run_with_megatron


def influence(masked: bool, report: Report) -> tuple[float, float]:
    """How much the losses of a sequence's first and second document change with the first document's tokens."""
    import dataclasses

    import torch
    from megatron.bridge.training.model_load_save import temporary_distributed_context
    from megatron.core.datasets.gpt_dataset import _get_ltor_masks_and_position_ids

    from glide_nemo.model.architecture import nano
    from glide_nemo.model.provider import model_provider

    shape = dataclasses.replace(nano(), num_layers=2, vocab_size=256, init_method_std=0.1)
    end, border = 1, 10
    torch.manual_seed(0)
    tokens = torch.randint(2, 256, (24,))
    tokens[border - 1] = end
    other = tokens.clone()
    other[: border - 1] = (other[: border - 1] + 7).clamp(max=255)
    with temporary_distributed_context(backend="gloo"):
        provider = model_provider(shape, seq_length=24)
        provider.finalize()
        (model,) = provider.provide_distributed_model(wrap_with_ddp=False)
        losses = []
        for given in (tokens, other):
            mask, _, positions = _get_ltor_masks_and_position_ids(given, end, False, True, False, True)
            labels = given.roll(-1).unsqueeze(0)
            with torch.inference_mode():
                of_each = model.eval()(
                    input_ids=given.unsqueeze(0),
                    position_ids=positions.unsqueeze(0),
                    attention_mask=mask.unsqueeze(0) if masked else None,
                    labels=labels,
                )
            losses.append(of_each[0])
    change = (losses[0] - losses[1]).abs()
    return float(change[: border - 1].max()), float(change[border:-1].max())


def test_a_document_does_not_change_the_next_ones_losses_where_they_are_kept_apart() -> None:
    first, second = run_with_megatron(influence, True)
    assert first > 0.1 and second == 0.0
    _, second = run_with_megatron(influence, False)
    assert second > 1e-3


def test_training_with_documents_apart_is_another_training(small_tokens: Artifact, tmp_path_factory, tiny) -> None:  # noqa: ANN001
    folder, losses = tmp_path_factory.mktemp("masks"), {}
    for apart in ("true", "false"):
        overrides = [*tiny, "train.train_iters=3", f"dataset.reset_attention_mask={apart}", "model.seq_length=512"]
        trained = pretrain(plan_training("glide_nano_phaseC", overrides), small_tokens, folder / apart)
        losses[apart] = trained.metrics["final_loss"]
    assert 0 < abs(losses["true"] - losses["false"]) < 0.5


def test_over_context_parallel_processes_it_is_refused(small_tokens: Artifact, tmp_path_factory, tiny) -> None:  # noqa: ANN001
    overrides = [*tiny, "dataset.reset_attention_mask=true", "model.context_parallel_size=2"]
    with pytest.raises(GlideError, match=r"not kept apart over model\.context_parallel_size"):
        pretrain(plan_training("glide_nano_phaseA", overrides), small_tokens, tmp_path_factory.mktemp("cp") / "out")
