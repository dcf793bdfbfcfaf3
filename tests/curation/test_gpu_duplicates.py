"""Curator's GPU deduplication as far as a machine without one can test it: when it is chosen, what its files become."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import nemo_curator
import pandas as pd
import pytest
from nemo_curator.stages.deduplication import id_generator
from partitions_of_texts import lost_to, run_stages, write_texts
from small_inputs import curate_inputs, jsonl, rows

from curator_pipelines.config import NearDuplicates
from curator_pipelines.deduplication import backend_of, duplicate_stages
from curator_pipelines.stages import gpu_duplicates
from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
from curator_pipelines.stages.gpu_duplicates import DropExactDuplicatesOnGpu, DropNearDuplicatesOnGpu
from curator_pipelines.stages.near_duplicates import DropNearDuplicates
from glide_nemo.cli import main
from glide_nemo.errors import GlideError

SOURCES = Path(nemo_curator.__file__).parent / "stages" / "deduplication"  # importing them needs cudf
NEAR = NearDuplicates()
BASE = " ".join(f"word{number}" for number in range(200))
TEXTS = [BASE, "something else " * 40, f"{BASE} and more", "a third text " * 40, f"{BASE} and", "a fourth one " * 40]


@pytest.fixture
def cudf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of that name, empty until a test writes into it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "cudf.py").touch()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "cudf", raising=False)
    yield folder / "cudf.py"
    sys.modules.pop("cudf", None)


def test_the_gpu_is_used_where_cudf_imports(cudf: Path) -> None:
    assert [backend_of(name) for name in ("auto", "gpu", "cpu")] == ["gpu", "gpu", "cpu"]
    chosen = duplicate_stages(NEAR)
    assert [type(stage) for stage in chosen] == [DropExactDuplicatesOnGpu, DropNearDuplicatesOnGpu]
    assert [stage.name for stage in chosen] == ["exact_duplicates", "near_duplicates"]


def test_the_cpu_is_used_where_cudf_is_there_and_does_not_import(cudf: Path) -> None:
    cudf.write_text("raise RuntimeError('no CUDA driver is installed')")
    assert backend_of("auto") == "cpu"
    assert [type(stage) for stage in duplicate_stages(NEAR)] == [DropExactDuplicates, DropNearDuplicates]
    with pytest.raises(GlideError, match=r"needs cudf.*no CUDA driver.*install nemo-curator"):
        backend_of("gpu")


@pytest.mark.parametrize("value", ["gpu", "tpu"])
def test_a_backend_that_is_not_there_is_one_line(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.jsonl").write_bytes(jsonl(rows()))
    arguments = ["--input", str(tmp_path / "texts.jsonl"), "--out", str(tmp_path / "out"), "workers=1"]
    assert main(["curate", *arguments, f"near_duplicates.backend={value}"]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and ("needs cudf" if value == "gpu" else "choose one of auto, cpu, gpu") in said[0]


def test_which_one_ran_is_part_of_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_bytes(jsonl(rows()))
    corpus = curate_inputs(tmp_path / "corpus", [tmp_path / "texts.jsonl"])
    assert corpus.metrics["deduplication"] == "cpu"
    assert corpus.config["near_duplicates"]["backend"] == "cpu"  # of `auto`, what it was


def parameters(file: str, workflow: str) -> dict[str, str]:
    """The parameters of a class of Curator's, with their types, from its source."""
    tree = ast.parse((SOURCES / file).read_text())
    (class_,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == workflow]
    (start,) = [node for node in class_.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return {argument.arg: ast.unparse(argument.annotation) for argument in start.args.args[1:]}


@pytest.mark.parametrize(
    ("file", "workflow", "given"),
    [
        ("exact/workflow.py", "ExactDeduplicationWorkflow", gpu_duplicates.exact_arguments(Path("x"))),
        ("fuzzy/workflow.py", "FuzzyDeduplicationWorkflow", gpu_duplicates.near_arguments(Path("x"), NEAR)),
    ],
)
def test_the_installed_curator_takes_what_it_is_given(file: str, workflow: str, given: dict[str, object]) -> None:
    taken = parameters(file, workflow)
    for name, value in given.items():
        assert name in taken, f"{workflow} has no {name}"
        assert type(value).__name__ in taken[name] or repr(value) in taken[name].replace('"', "'"), name


def test_files_and_columns_are_named_as_in_the_installed_curator() -> None:
    assert gpu_duplicates.ID == id_generator.CURATOR_DEDUP_ID_STR
    assert f'DUPLICATE_GROUP_FIELD = "{gpu_duplicates.GROUP}"' in (SOURCES / "fuzzy/utils.py").read_text()
    assert (
        f'DUPLICATE_IDS_SUBDIR = "{gpu_duplicates.NEAR_IDS}"' in (SOURCES / "fuzzy/identify_duplicates.py").read_text()
    )
    assert f'name = "{gpu_duplicates.EXACT_IDS}"' in (SOURCES / "exact/identification.py").read_text()
    assert f"class {gpu_duplicates.COMPONENTS}" in (SOURCES / "fuzzy/connected_components.py").read_text()
    assert f'ID_GENERATOR_OUTPUT_FILENAME = "{gpu_duplicates.NUMBERING}"' in (SOURCES / "fuzzy/workflow.py").read_text()


class ExactAsCuratorWrites(DropExactDuplicatesOnGpu):
    """In place of the search: its file of ids to remove, any but one of each group."""

    def _search(self, folder: Path, texts: Path) -> None:
        found = pd.read_parquet(texts).sort_values("number", ascending=False)
        removed = found[found["text"].duplicated()][["number"]].sort_values("number")
        (folder / gpu_duplicates.EXACT_IDS).mkdir()
        removed.to_parquet(folder / gpu_duplicates.EXACT_IDS / "part.0.parquet", index=False)


class NearAsCuratorWrites(DropNearDuplicatesOnGpu):
    """In place of the search: its files, where all texts that begin with BASE are one group. It keeps the last."""

    missing = 0  # of the ids to remove

    def _search(self, folder: Path, files: list[Path]) -> None:
        numbering = id_generator.IdGeneratorBase()
        ids = []
        for file in reversed(files):  # whichever worker comes first
            found = pd.read_parquet(file)
            start = numbering.register_batch([str(file)], len(found))
            ids += [start + row for row, text in enumerate(found["text"]) if text.startswith(BASE)]
        numbering.to_disk(str(folder / gpu_duplicates.NUMBERING))
        groups = pd.DataFrame({gpu_duplicates.ID: ids, gpu_duplicates.GROUP: 7})
        for path, table in (
            (folder / "cache" / gpu_duplicates.COMPONENTS / "task.parquet", groups),
            (
                folder / gpu_duplicates.NEAR_IDS / "part.0.parquet",
                groups[[gpu_duplicates.ID]].iloc[: -1 - self.missing],
            ),
        ):
            path.parent.mkdir(parents=True)
            table.to_parquet(path, index=False)


def test_exact_duplicates_that_curator_finds_leave_as_on_the_cpu(tmp_path: Path) -> None:
    texts = ["b b", "a a", "B  b", "c c", "b b", "A a"]
    lost = []
    for name, stage in (("cpu", DropExactDuplicates()), ("gpu", ExactAsCuratorWrites())):
        write_texts(tmp_path / name, texts, partitions=2)
        run_stages(tmp_path / name, stage)
        lost.append(lost_to(tmp_path / name, "exact_duplicates"))
    pd.testing.assert_frame_equal(*lost)
    assert list(lost[1]["id"]) == ["00000002", "00000004", "00000005"]


@pytest.mark.parametrize("per_file", [256, 1])
def test_near_duplicates_that_curator_finds_leave_as_on_the_cpu(
    per_file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_duplicates, "PARTITIONS", per_file)
    lost = []
    for name, stage in (("cpu", DropNearDuplicates(0.8, 24)), ("gpu", NearAsCuratorWrites(0.8, 24))):
        write_texts(tmp_path / name, TEXTS, partitions=3)
        run_stages(tmp_path / name, stage)
        lost.append(lost_to(tmp_path / name, "near_duplicates"))
    pd.testing.assert_frame_equal(*lost)
    assert list(lost[1]["id"]) == ["00000000", "00000004"] and set(lost[1]["reason"]) == {"near_duplicate"}
    assert (lost[1]["score"] > 0.9).all()


def test_no_duplicates_is_no_file_of_ids(tmp_path: Path) -> None:
    class Nothing(DropNearDuplicatesOnGpu):
        def _search(self, folder: Path, files: list[Path]) -> None: ...

    write_texts(tmp_path, TEXTS)
    run_stages(tmp_path, Nothing(0.8, 24))
    assert lost_to(tmp_path, "near_duplicates").empty


def test_groups_that_are_not_those_of_the_ids_to_remove_are_refused(tmp_path: Path) -> None:
    write_texts(tmp_path, TEXTS)
    stage = NearAsCuratorWrites(0.8, 24)
    stage.missing = 1
    with pytest.raises(GlideError, match=r"lists 1 near-duplicates .* have 2.*backend=cpu"):
        run_stages(tmp_path, stage)
