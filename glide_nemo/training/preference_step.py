"""A preference step in Megatron-Bridge: pairs of rows through the model, and what is logged of them.

Megatron-Core's GPTModel gives the loss of each label, whole on each tensor-parallel rank, on the last pipeline stage;
over context-parallel ranks the answers are summed here. So one formula serves every layout.

Shape suffixes: B = rows, S = sequence, P = pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed.nn.functional as collective
from megatron.bridge.training.utils.flop_utils import accumulate_flops_metadata, get_model_chunk_vp_stage
from megatron.bridge.training.utils.pg_utils import get_pg_collection
from megatron.core.utils import get_batch_on_this_cp_rank

from glide_nemo.artifact import load
from glide_nemo.errors import GlideError
from glide_nemo.training.preference_losses import PreferenceLoss

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer
    from megatron.bridge.training.state import GlobalState

    from glide_nemo.training.run_recipe import Paths

Batch = dict[str, torch.Tensor]


def prepare_pairs(config: ConfigContainer, paths: Paths) -> None:
    """Trains on the pairs of `train` and evaluates on all of `heldout`, or as many as `eval_iters` allows.

    Raises GlideError where a batch would part a pair, or the tokens are no preference pairs of this length.
    """
    if paths.init_from is None:
        raise GlideError("preferences are learnt by a model that answers: pass --from with a fine-tuned checkpoint")
    for key in ("micro_batch_size", "global_batch_size"):
        if getattr(config.train, key) % 2:
            raise GlideError(
                f"train.{key}={getattr(config.train, key)} would part a pair, which takes two rows: pass an even number"
            )
    metrics = load(paths.tokens, "tokens").metrics
    if "pad" not in metrics:
        raise GlideError(f"no preference pairs in {paths.tokens}: make them with `glide dpo`")
    config.dataset.directory = str(paths.tokens)
    config.dataset.dtype, config.dataset.pad = metrics["dtype"], metrics["pad"]
    batches = -(-len(config.dataset.read("heldout")) // config.train.global_batch_size)
    config.validation.eval_iters = min(config.validation.eval_iters, batches)


def batch_of(data_iterator: Iterator[Batch], model: Any, reference: Any = None) -> tuple[Batch, torch.Tensor]:
    """The next batch, cut to this context-parallel rank, and the numbers of its rows."""
    group = get_pg_collection(model).cp
    batch = next(data_iterator)
    numbers = batch["row"]
    batch = {name: tensor for name, tensor in batch.items() if name != "row"}
    if reference is not None:
        batch["reference"] = reference.of(numbers, batch["tokens"].size(1))
    batch = {name: tensor.cuda(non_blocking=True) for name, tensor in batch.items()}
    return get_batch_on_this_cp_rank(batch, is_hybrid_cp=False, cp_group=group), numbers.cuda()


def token_losses(model: Any, batch: Batch) -> torch.Tensor:
    """-log p of each label, of shape (B, S), on the last pipeline stage; else what goes to the next stage."""
    return model(
        input_ids=batch["tokens"],
        position_ids=batch["position_ids"],
        attention_mask=None,  # causal; what follows an answer is padding, which nothing before it sees
        labels=batch["labels"],
    )


def count_flops(state: GlobalState, model: Any, batch: Batch) -> None:
    """For Bridge's own log of throughput."""
    stage, length = get_model_chunk_vp_stage(model), state.cfg.model.seq_length
    accumulate_flops_metadata(state, batch["tokens"], vp_stage=stage, config_seq_len=length)


def summed(values_BS: torch.Tensor, model: Any) -> torch.Tensor:
    """Row sums, of shape (B,), over all context-parallel ranks; the gradient reaches each rank's own part.

    Data parallelism averages gradients over the context-parallel ranks too: each gets the sum of what all would send.
    """
    group = get_pg_collection(model).cp
    sums_B = values_BS.float().sum(dim=1)
    return sums_B if group.size() == 1 else collective.all_reduce(sums_B, group=group)


def stepped(
    loss: PreferenceLoss, weight_P: torch.Tensor, logged_P: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """What Megatron takes from a loss function: the sum over pairs, their number, and sums and numbers to be logged.

    `weight_P` is 0 for a pair that only fills a batch.
    """
    margin_P = loss.chosen_reward_P - loss.rejected_reward_P
    logged_P = {
        "lm loss": loss.loss_P.detach(),  # Bridge's name for what is trained on
        "reward_margin": margin_P,
        "reward_accuracy": (margin_P > 0).float(),
        **logged_P,
    }
    pairs = weight_P.sum()
    report = {name: torch.stack([(values_P * weight_P).sum(), pairs]) for name, values_P in logged_P.items()}
    return (loss.loss_P * weight_P).sum(), pairs.to(torch.int), report
