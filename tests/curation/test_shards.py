"""Shards: bounded by rows and bytes, the same wherever batches end, and readable as a corpus in either format."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ledgers import curate_files
from small_warc import topic_pages, write_pages

from curator_pipelines import shards
from curator_pipelines.shards import write_shards
from glide_nemo.corpus import documents, records
from glide_nemo.errors import GlideError

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])


def batches(sizes: list[int], cuts: list[int]):  # noqa: ANN201
    rows = [{"id": str(number), "text": "ä" * size} for number, size in enumerate(sizes)]
    for start, end in pairwise([0, *cuts, len(rows)]):
        yield pa.RecordBatch.from_pylist(rows[start:end], SCHEMA)


@pytest.mark.parametrize("output_format", ["parquet", "jsonl.zst"])
def test_where_batches_end_does_not_show(tmp_path: Path, output_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "GROUP_BYTES", 3000)
    sizes = [1, 1000, 2000, 5, 5, 9000, *[10] * 2500]
    for name, cuts in (("a", []), ("b", [1, 2, 3, 4, 700, 1500]), ("c", [2400])):
        write_shards(tmp_path / name, SCHEMA, batches(sizes, cuts), output_format, shard_bytes=10_000)
    contents = [[(path.name, path.read_bytes()) for path in sorted((tmp_path / name).iterdir())] for name in "abc"]
    assert contents[0] == contents[1] == contents[2] and len(contents[0]) > 3
    assert all(name.endswith(f".{output_format}") for name, _ in contents[0])


def test_no_shard_holds_more_than_it_may_but_for_one_large_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "GROUP_BYTES", 3000)
    write_shards(tmp_path, SCHEMA, batches([100] * 500 + [30_000] + [100] * 500, []), shard_bytes=10_000)
    sizes = []
    for path in sorted(tmp_path.glob("*.parquet")):
        sizes.append(sum(len(text.encode()) for text in pq.read_table(path)["text"].to_pylist()))
    assert sum(sizes) == 260_000 and sorted(sizes)[-2] <= 10_000 < max(sizes)


def test_no_row_is_one_empty_shard(tmp_path: Path) -> None:
    write_shards(tmp_path, SCHEMA, iter([]))
    assert pq.read_table(tmp_path / "00000.parquet").num_rows == 0


def test_a_corpus_in_json_lines_reads_as_one_in_parquet_does(tmp_path: Path) -> None:
    warc = write_pages(tmp_path / "pages.warc.gz", topic_pages(15))
    parquet = curate_files(tmp_path / "parquet", [warc], "heldout_share=0.2")
    lines = curate_files(tmp_path / "lines", [warc], "heldout_share=0.2", "output_format=jsonl.zst")
    assert list((lines.path / "train").glob("*.jsonl.zst")) and not list((lines.path / "train").glob("*.parquet"))
    for split in ("train", "heldout"):
        assert list(documents(lines, split)) == list(documents(parquet, split))
        assert list(records(lines, split, ("id", "url"), 2)) == list(records(parquet, split, ("id", "url"), 2))
    (lines.path / "train" / "00000.jsonl.zst").write_bytes(b"no zstd")
    with pytest.raises(GlideError, match=r"cannot read .*curate the corpus again"):
        list(documents(lines, "train"))
