"""The same pipeline on Ray, on one node and on two: the same corpus, nothing left running, errors of one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from every_stage import assert_every_stage_took_something, curated, write_inputs
from glide_process import files_in, start, wait_for
from ray_nodes import Nodes, end, no_ray_is_left, ray_processes
from small_warc import topic_pages, write_pages

from glide_nemo.artifact import Artifact, load

pytestmark = pytest.mark.needs_ray
TIMEOUT = 500  # seconds


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("every")
    return write_inputs(folder), folder


@pytest.fixture(scope="module")
def local(inputs: tuple[list[str], Path]) -> Artifact:
    corpus = curated(*inputs, "local", "workers=1")
    assert_every_stage_took_something(corpus)
    return corpus


@pytest.mark.slow
def test_ray_writes_the_corpus_that_local_processes_write(inputs: tuple[list[str], Path], local: Artifact) -> None:
    assert curated(*inputs, "ray", "executor=ray", "workers=2").sha256 == local.sha256
    assert no_ray_is_left()


@pytest.mark.slow
def test_a_run_that_is_killed_takes_its_ray_along_and_goes_on(inputs: tuple[list[str], Path], local: Artifact) -> None:
    arguments, folder = inputs
    command = [*arguments, "--out", "killed"]
    process = start(*command, "executor=ray", "workers=1", cwd=folder)
    wait_for(lambda: files_in(folder / "killed/work/first_pass", "[0-9]*.json") >= 2, process)
    process.kill()
    process.wait()
    assert no_ray_is_left()
    assert not (folder / "killed/artifact.json").exists()
    assert curated(arguments, folder, "killed", "workers=1").sha256 == local.sha256


@pytest.mark.slow
def test_two_nodes_share_the_work_and_write_the_corpus_of_one_process(
    inputs: tuple[list[str], Path], local: Artifact, tmp_path: Path
) -> None:
    """Started elsewhere, with paths that are relative to the run's directory, as in a cluster."""
    with Nodes(tmp_path / "nodes") as cluster:
        corpus = curated(*inputs, "two", "executor=ray", **cluster.environment)
        assert len(ray_processes()) == 3, "a raylet a node and one server, and no Ray of its own"
    by_node = corpus.metrics["partitions_by_node"]
    assert len(by_node) == 2 and min(by_node.values()) > 0, by_node
    assert corpus.sha256 == local.sha256
    assert no_ray_is_left()


@pytest.mark.slow
def test_a_node_that_dies_costs_no_document(inputs: tuple[list[str], Path], local: Artifact, tmp_path: Path) -> None:
    arguments, folder = inputs
    with Nodes(tmp_path / "nodes") as cluster:
        command = [*arguments, "--out", "died", "executor=ray"]
        process = start(*command, cwd=folder, env=os.environ | cluster.environment)
        wait_for(lambda: files_in(folder / "died/work/first_pass", "[0-9]*.json") >= 1, process)
        end(cluster.processes.pop(), kill=True)
        assert process.wait(timeout=TIMEOUT) == 0
    assert load(folder / "died").sha256 == local.sha256
    assert no_ray_is_left()


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages.warc.gz", topic_pages(2))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "glide_nemo",
            "curate",
            "--warc",
            str(pages),
            "--out",
            str(tmp_path / "out"),
            "executor=ray",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1"},
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no Ray cluster at RAY_ADDRESS=127.0.0.1:1")
