"""A recipe's layout over processes: one that does not divide the model is refused, with the nearest that does.

Megatron-Core asserts each of these for itself, deep in the construction of the model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glide_nemo.errors import GlideError
from glide_nemo.model.architecture import VOCABULARY_MULTIPLE

if TYPE_CHECKING:
    from glide_nemo.recipes.recipe import TrainingRecipe

LARGEST = 128  # processes along one dimension that a nearest layout is looked for among
UNEVEN = (  # settings of Megatron by which stages of a pipeline get other numbers of layers
    "num_layers_in_first_pipeline_stage",
    "num_layers_in_last_pipeline_stage",
    "account_for_embedding_in_pipeline_split",
    "account_for_loss_in_pipeline_split",
    "pipeline_model_parallel_layout",
)
SIZES = {
    "tensor": "tensor_model_parallel_size",
    "pipeline": "pipeline_model_parallel_size",
    "context": "context_parallel_size",
}


def check_layout(recipe: TrainingRecipe) -> None:
    """Raises GlideError where the layout does not divide the model, its sequences, the batch or the GPUs."""
    model = recipe.config.model
    wanted = {dimension: getattr(model, key) for dimension, key in SIZES.items()}
    whys = [why for dimension, size in wanted.items() for why in _against(recipe, dimension, size)]
    copy = processes_of_a_copy(recipe)
    if not whys and recipe.gpus % copy:  # on a CPU, 0: there are as many processes as one copy takes
        whys = [f"one copy of the model takes {copy} GPUs, which does not divide {recipe.gpus}"]
    if whys:
        nearest = _nearest(recipe, wanted)
        raise _refused(
            recipe, whys[0], *(f"{SIZES[name]}={nearest[name]}" for name in SIZES if nearest[name] != wanted[name])
        )
    if model.sequence_parallel and wanted["tensor"] == 1:
        raise _refused(recipe, "model.sequence_parallel needs tensor parallelism", "sequence_parallel=false")
    _check_stages(recipe)


def settle_layout(recipe: TrainingRecipe) -> None:
    """Sets what follows from the layout, so that a checkpoint of one loads at every other."""
    model = recipe.config.model
    # Megatron pads the vocabulary to a multiple of this times the tensor-parallel size.
    model.make_vocab_size_divisible_by = VOCABULARY_MULTIPLE // model.tensor_model_parallel_size


def _against(recipe: TrainingRecipe, dimension: str, size: int) -> Iterator[str]:
    """Why a size of a dimension is no good."""
    model = recipe.config.model
    if size < 1:
        yield f"model.{SIZES[dimension]} is {size}"
        return
    divided: dict[str, int] = {}
    if dimension == "tensor":
        divided = {
            "attention heads": model.num_attention_heads,
            "query groups": model.num_query_groups or model.num_attention_heads,
            "columns of the feed-forward layer": model.ffn_hidden_size,
            "rows that the vocabulary is padded to": VOCABULARY_MULTIPLE,
        }
        lora = getattr(recipe.config, "lora", None)
        if lora and lora.dim:
            divided["rows of an adapter"] = lora.dim
        if model.sequence_parallel:
            divided["tokens of a sequence"] = model.seq_length // max(model.context_parallel_size, 1)
    elif dimension == "pipeline" and not any(getattr(model, name, None) for name in UNEVEN):
        stages = model.virtual_pipeline_model_parallel_size or 1
        of_all = model.num_layers % stages or stages == 1  # else of each round through the pipeline
        divided = {"layers": model.num_layers} if of_all else {"layers of a round": model.num_layers // stages}
    elif dimension == "context" and size > 1:  # two chunks a process, so that each has as much to attend to
        divided = {"pairs of tokens in a sequence": model.seq_length // 2 if model.seq_length % 2 == 0 else 1}
    for what, number in divided.items():
        if number % size:
            yield f"model.{SIZES[dimension]}={size} does not divide {number} {what}"


def _nearest(recipe: TrainingRecipe, wanted: dict[str, int]) -> dict[str, int]:
    """The sizes that divide, by the sum of their ratios to the wanted ones; the smaller one of two."""
    fitting = [[size for size in range(1, LARGEST + 1) if not any(_against(recipe, name, size))] for name in SIZES]
    layouts = (sizes for sizes in itertools.product(*fitting) if recipe.gpus % math.prod(sizes) == 0)

    def distance(sizes: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        pairs = zip(sizes, wanted.values(), strict=True)
        return sum(abs(math.log(size / max(goal, 1))) for size, goal in pairs), sizes

    return dict(zip(SIZES, min(layouts, key=distance), strict=True))


def _check_stages(recipe: TrainingRecipe) -> None:
    """Interleaving: each process holds several stages, and takes micro-batches in rounds of the pipeline's length."""
    model, train = recipe.config.model, recipe.config.train
    key, stages = "virtual_pipeline_model_parallel_size", model.virtual_pipeline_model_parallel_size or 1
    pipeline = model.pipeline_model_parallel_size
    if stages == 1:
        return
    if pipeline == 1:
        raise _refused(recipe, f"model.{key}={stages} needs a pipeline", f"{key}=null")
    layers = model.num_layers // pipeline
    if layers % stages:
        fitting = min((n for n in range(1, layers + 1) if layers % n == 0), key=lambda n: (abs(n - stages), n))
        why = f"model.{key}={stages} does not divide the {layers} layers of a process"
        raise _refused(recipe, why, f"{key}={fitting}")
    together = pipeline * train.micro_batch_size * max(recipe.gpus // processes_of_a_copy(recipe), 1)
    if train.global_batch_size % together:
        raise GlideError(
            f"{recipe.name} cannot be laid out so, its interleaved pipelines take {together} sequences at a time, "
            f"which does not divide train.global_batch_size={train.global_batch_size}: the nearest that it divides is "
            f"{max(round(train.global_batch_size / together), 1) * together}"
        )


def _refused(recipe: TrainingRecipe, why: str, *instead: str) -> GlideError:
    advice = " ".join(f"model.{setting}" for setting in instead)
    return GlideError(f"{recipe.name} cannot be laid out so, {why}: the nearest layout that divides is {advice}")


def processes_of_a_copy(recipe: TrainingRecipe) -> int:
    """Over how many processes one copy of the model is laid out."""
    return math.prod(getattr(recipe.config.model, key) for key in SIZES.values())
