"""`glide curate executor=ray` in a SLURM allocation of two nodes: one cluster, one corpus, every process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray_nodes import no_ray_is_left
from slurm_here import Slurm, missing
from small_warc import topic_pages, write_pages

from glide_nemo.artifact import load
from glide_nemo.cli import main

pytestmark = pytest.mark.needs_ray
SCRIPT = Path(__file__).parents[2] / "recipes" / "curate.sbatch"


@pytest.mark.slow
@pytest.mark.needs_slurm
@pytest.mark.skipif(bool(missing()), reason=f"no SLURM here: {', '.join(missing())} not found")
def test_the_nodes_of_a_slurm_job_are_one_cluster_that_writes_the_corpus_of_one_process(tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages.warc.gz", topic_pages(24))
    arguments = ["--warc", str(pages), "partition_bytes=8000"]
    assert main(["curate", *arguments, "--out", str(tmp_path / "local"), "workers=1"]) == 0
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(SCRIPT.parents[1]),
    }
    with Slurm() as slurm:
        job = subprocess.run(
            ["sbatch", "--parsable", f"--output={tmp_path}/job.txt", str(SCRIPT), *arguments, "--out", "corpus"],
            cwd=tmp_path,
            env=os.environ | slurm.environment | environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        state = slurm.wait_for_job(job, seconds=500)
        said = (tmp_path / "job.txt").read_text(errors="replace")
        assert state == "COMPLETED", said
    corpus = load(tmp_path / "corpus")
    assert len(corpus.metrics["partitions_by_node"]) == 2, corpus.metrics["partitions_by_node"]
    assert corpus.sha256 == load(tmp_path / "local").sha256
    assert "another process is writing" not in said and "INFO" not in said and "ERR" not in said, said
    assert no_ray_is_left()
    assert {path.name for path in tmp_path.iterdir()} == {
        "pages.warc.gz", "local", "local.crawl", "corpus", "corpus.crawl", "job.txt",
    }  # fmt: skip


def in_a_step(tmp_path: Path, **variables: str) -> str:
    """The one line that a process of a step of two nodes ends with."""
    slurm = {
        "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1",
        "SLURM_LOCALID": "0", "SLURM_STEP_NODELIST": "first.invalid,second.invalid",
    }  # fmt: skip
    pages = write_pages(tmp_path / "pages.warc.gz", topic_pages(2))
    arguments = ["curate", "--warc", str(pages), "--out", str(tmp_path / "out"), "executor=ray"]
    done = subprocess.run(
        [sys.executable, "-m", "glide_nemo", *arguments],
        env=os.environ | slurm | variables,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.crawl").exists(), "written before it may"
    return done.stderr


def test_two_processes_on_a_node_are_one_line(tmp_path: Path) -> None:
    assert "pass --ntasks-per-node=1 to srun" in in_a_step(tmp_path, SLURM_LOCALID="1")


def test_nodes_that_do_not_find_each_other_are_one_line(tmp_path: Path) -> None:
    said = in_a_step(tmp_path)
    assert said.startswith("error: the nodes of this SLURM step do not make a Ray cluster (") and "run it" in said
