"""Which documents a step of training read: from the samples of its batch back to ids in the corpus.

A dataset's samples are the same in every run, so those of any step follow from how many came before. Of packed
documents Megatron-Core's GPTDataset holds the way back: `shuffle_index` from a sample to a stretch of tokens,
`sample_index` from there to where the stretch begins and ends, `document_index` to the documents in the `.idx`, which
stand as in the corpus (data/pack.py). Of fine-tuning data it is `documents(sample)` of GLiDE's own datasets, which are
lines of JSONL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, load, write_atomically
from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from glide_nemo.training.run_recipe import Paths


class Document(NamedTuple):
    """A document, conversation or pair by its place in packed tokens, from 0."""

    tokens: Path  # directory of the tokens
    number: int  # in their split `train`


def documents_of(dataset: Any, sample: int, tokens: Path) -> list[Document]:
    """The documents that a sample of a training dataset holds tokens of, in their order.

    `tokens` is where a dataset of GLiDE's own reads; Megatron's know it themselves.
    """
    if hasattr(dataset, "datasets"):  # a BlendedDataset
        part = dataset.datasets[int(dataset.dataset_index[sample])]
        return documents_of(part, int(dataset.dataset_sample_index[sample]), tokens)
    if hasattr(dataset, "documents"):
        return [Document(tokens, number) for number in dataset.documents(sample)]
    stretch = int(dataset.shuffle_index[sample])
    # The last one gives a token at least: the label of the one before.
    first, last = (int(dataset.sample_index[stretch + side][0]) for side in (0, 1))
    directory = Path(dataset.dataset_path).parent
    return [Document(directory, int(number)) for number in dataset.document_index[first : last + 1]]


def of_samples(
    name: str, overrides: Sequence[str], paths: Paths, step: int, samples: range, report: Any
) -> list[list[Document]]:
    """The documents of each of a training's `samples`, which its step number `step` read. Called by a worker.

    The dataset is built as the training builds it, from the same indices where those are still there.
    Raises GlideError where samples are not read one after the other.
    """
    from megatron.bridge.data.loaders import get_train_valid_test_num_samples
    from megatron.bridge.data.utils import get_dataset_provider
    from megatron.bridge.training.tokenizers.tokenizer import build_tokenizer

    from glide_nemo.training.curriculum import enter_stage
    from glide_nemo.training.run_recipe import recipe_of_run

    config = recipe_of_run(name, overrides, paths)[0].config
    if hasattr(config, "curriculum") and config.curriculum.stages:
        enter_stage(config, step - 1)
    dataset = config.dataset
    if dataset.dataloader_type != "single":
        raise GlideError(f"dataset.dataloader_type={dataset.dataloader_type} reads samples in an order of its own")
    if hasattr(dataset, "tokenizer"):  # Megatron's own, which are finished with one
        dataset.tokenizer = build_tokenizer(config.tokenizer)
    if hasattr(dataset, "finalize"):
        dataset.finalize()
    train, _, _ = get_dataset_provider(dataset)(get_train_valid_test_num_samples(config), dataset)
    return [documents_of(train, sample, paths.tokens) for sample in samples]


def names(tokens: Artifact, numbers: Iterable[int]) -> dict[int, str]:
    """Documents by number as the user knows them: ids of the corpus, or `file:line` of the JSONL that was given.

    Raises GlideError where the corpus was moved or changed.
    """
    wanted = set(numbers)
    if "corpus" in tokens.record["inputs"]:
        ids = (record["id"] for record in corpora.records(tokens.input("corpus"), "train", ("id",)))
        return {number: str(id_) for number, id_ in zip(range(max(wanted) + 1), ids, strict=False) if number in wanted}
    lines = tokens.path / "train.lines.npy"
    if not lines.exists():  # packed before lines were kept
        return {number: f"example {number}" for number in wanted}
    import numpy

    places, files = numpy.load(lines, mmap_mode="r"), tokens.config["files"]
    return {number: f"{files[places[number][0]]['name']}:{places[number][1]}" for number in wanted}


def write_documents(path: Path, stated: dict[str, Any], sequences: Sequence[Sequence[Document]]) -> list[str]:
    """Adds the documents of a batch to what is `stated` of it, as JSON; returns their names, each once, in order.

    `documents` has each once, with the tokens it lies in; `sequences` the names for each sequence of the batch.
    """
    each = list(dict.fromkeys(document for sequence in sequences for document in sequence))
    named: dict[Document, str] = {}
    for directory in dict.fromkeys(document.tokens for document in each):
        numbers = [document.number for document in each if document.tokens == directory]
        found = names(load(directory, "tokens"), numbers)
        named |= {Document(directory, number): found[number] for number in numbers}
    content = stated | {
        "documents": [
            {"id": named[document], "tokens": os.path.relpath(document.tokens, path.parent)} for document in each
        ],
        "sequences": [[named[document] for document in sequence] for sequence in sequences],
    }
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return [named[document] for document in each]
