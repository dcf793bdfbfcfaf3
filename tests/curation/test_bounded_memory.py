"""Memory is bounded by the partition and a stated limit, not by the corpus: the same job on eight times the input."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from curator_pipelines.index import connect
from curator_pipelines.scatter import in_order
from glide_nemo.errors import GlideError

HERE = Path(__file__).parent
MEMORY_MB = 128
DOCUMENTS = 10_000
PER_PARTITION = 500

WRITE = """
import random, sys
from pathlib import Path
from partitions_of_texts import write_texts
chance = random.Random(0)
words = [f"word{number}" for number in range(20_000)]
count = int(sys.argv[2])
originals = [" ".join(chance.choices(words, k=80)) for _ in range(count * 3 // 4)]
copies = [text + " and so on" for text in originals[: count // 4]]
write_texts(Path(sys.argv[1]), originals + copies, count // int(sys.argv[3]))
"""
RUN = """
import json, resource, sys, time
from pathlib import Path
from partitions_of_texts import run_stages
from curator_pipelines.config import CurationConfig
from curator_pipelines.corpus_record import conclude_corpus
from curator_pipelines.stages.exact_duplicates import DropExactDuplicates
from curator_pipelines.stages.hold_out import HoldOut
from curator_pipelines.stages.near_duplicates import DropNearDuplicates
from curator_pipelines.stages.write_corpus import WriteCorpus
from glide_nemo.artifact import Draft
work, memory_mb, partitions = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
draft = Draft(work / "out")
stages = [DropExactDuplicates(), DropNearDuplicates(0.8, 24), HoldOut(0.05), WriteCorpus(str(work / "out"))]
started, cpu = time.time(), time.process_time()
done = run_stages(work, *stages, memory_mb=memory_mb)
conclude_corpus(CurationConfig(memory_mb=memory_mb), draft, done, [work], partitions, 1)
print(json.dumps({
    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "left": draft.metrics["funnel"][-1]["documents"],
    "seconds": round(time.time() - started, 1), "cpu_seconds": round(time.process_time() - cpu, 1),
    "stages": {s.stage_name: round(s.process_time, 1) for s in done._stage_perf},
}))
"""


def python(code: str, *arguments: object) -> str:
    path = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parent.parent)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_sees_all_documents_takes_no_more_memory_for_eight_times_as_many(tmp_path: Path) -> None:
    """Index, exact and near deduplication, split, sorted corpus and ledgers, of 10,000 and of 80,000 documents."""
    measured = []
    for times in (1, 8):
        work = tmp_path / str(times)
        python(WRITE, work, times * DOCUMENTS, PER_PARTITION)
        measured.append(json.loads(python(RUN, work, MEMORY_MB, times * DOCUMENTS // PER_PARTITION).splitlines()[-1]))
    print(measured)
    assert [row["left"] for row in measured] == [DOCUMENTS * 3 // 4, 8 * DOCUMENTS * 3 // 4]
    assert measured[1]["peak_mb"] <= 1.3 * measured[0]["peak_mb"]


def test_too_little_memory_is_one_line_and_more_goes_on(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match="memory_mb=64 is too little"), connect(tmp_path, 64) as database:
        database.sql(
            "SELECT repeat(md5(range::VARCHAR), 30) AS text FROM range(400000) ORDER BY hash(range)"
        ).fetchall()


def test_rows_come_in_order_from_any_number_of_buckets(tmp_path: Path) -> None:
    chance = random.Random(0)
    numbers = [number for number in range(100, 1100) if number % 3]
    chance.shuffle(numbers)
    schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
    rows = [{"number": number, "text": f"text {number}"} for number in numbers]
    batches = [pa.RecordBatch.from_pylist(rows[start : start + 90], schema) for start in range(0, len(rows), 90)]
    for buckets in (1, 7, 5000):
        made = in_order(tmp_path / "scattered", batches, schema, 100, 1099, buckets)
        assert [row for batch in made for row in batch.to_pylist()] == sorted(rows, key=lambda row: row["number"])
        assert not list((tmp_path / "scattered").iterdir())
