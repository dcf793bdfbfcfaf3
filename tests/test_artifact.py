"""What a step may rely on: finished means whole, unfinished is gone on with, nothing foreign is ever touched."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from glide_nemo.artifact import RECORD, Artifact, Draft, create, file_sha256, in_run, last, load
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step


def make(out: Path, config: dict, inputs: dict[str, Artifact] | None = None, *, kind: str = "corpus") -> Artifact:
    def write(draft: Draft) -> None:
        (draft.path / "text.txt").write_text(json.dumps(config))
        (draft.logs / "times.txt").write_text(str(time.time()))
        draft.metrics["value"] = 1
        draft.summary = "one file"

    return run_step("step", out, kind, config, inputs or {}, write)


def test_the_record_says_what_was_made_from_what_and_of_which_files(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"a": 1})
    made = make(tmp_path / "made", {"b": 2}, {"source": source}, kind="tokens")
    record = json.loads((made.path / RECORD).read_text())
    assert record["kind"] == "tokens"
    assert record["config"] == {"b": 2}
    assert record["inputs"] == {"source": {"path": "../source", "kind": "corpus", "sha256": source.sha256}}
    assert {file["path"]: file["sha256"] for file in record["files"]}["text.txt"] == file_sha256(made.path / "text.txt")
    assert record["environment"]["python"] and record["glide_version"] and record["created"]
    assert made.input("source").sha256 == source.sha256


def test_equal_runs_have_equal_digests_whatever_their_logs_say(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one", {"a": 1}), make(tmp_path / "other", {"a": 1})
    assert (one.path / "logs/times.txt").read_text() != (other.path / "logs/times.txt").read_text()
    assert one.sha256 == other.sha256
    assert make(tmp_path / "third", {"a": 2}).sha256 != one.sha256


def test_a_finished_step_is_reused_and_left_as_it_is(tmp_path: Path) -> None:
    made = make(tmp_path / "out", {"a": 1})
    before = (made.path / RECORD).stat().st_mtime_ns
    assert make(tmp_path / "out", {"a": 1}).sha256 == made.sha256
    assert (made.path / RECORD).stat().st_mtime_ns == before


def test_a_finished_step_is_never_replaced_without_force(tmp_path: Path) -> None:
    make(tmp_path / "out", {"a": 1})
    with pytest.raises(GlideError, match=r"already holds a finished corpus.*--force"):
        make(tmp_path / "out", {"a": 2})
    assert load(tmp_path / "out").config == {"a": 1}


def test_an_equal_unfinished_step_keeps_its_files_and_an_unequal_one_does_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RuntimeError), create(out, "corpus", {"a": 1}) as draft:
        (draft.path / "half").write_text("kept")
        raise RuntimeError("killed")
    with pytest.raises(GlideError, match="unfinished"):
        load(out)
    with pytest.raises(RuntimeError), create(out, "corpus", {"a": 1}) as draft:
        assert (draft.path / "half").read_text() == "kept"
        raise RuntimeError("killed again")
    with create(out, "corpus", {"a": 2}) as draft:
        assert not (draft.path / "half").exists()


def test_a_directory_of_someone_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(GlideError, match="not GLiDE's"):
        make(tmp_path, {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(GlideError, match="is a file"):
        make(tmp_path / "thesis.txt", {"a": 1})


def _hold(out: Path, opened: multiprocessing.synchronize.Event) -> None:
    with create(out, "corpus", {"a": 1}):
        opened.set()
        time.sleep(60)


def test_two_processes_do_not_write_one_directory_and_a_killed_one_does_not_block_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    opened = context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "out", opened))
    other.start()
    try:
        assert opened.wait(30)
        with pytest.raises(GlideError, match="another process is writing"):
            make(tmp_path / "out", {"a": 1})
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.join()
    assert make(tmp_path / "out", {"a": 1}).metrics == {"value": 1}


def test_an_input_that_has_changed_since_is_noticed(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"a": 1})
    made = make(tmp_path / "made", {"b": 1}, {"source": source})
    with create(tmp_path / "source", "corpus", {"a": 2}, force=True) as draft:
        (draft.path / "text.txt").write_text("other")
    with pytest.raises(GlideError, match="has changed since"):
        made.input("source")


def test_a_run_can_be_moved_as_a_whole(tmp_path: Path) -> None:
    make(tmp_path / "run/made", {"b": 1}, {"source": make(tmp_path / "run/source", {"a": 1})})
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    moved = load(tmp_path / "elsewhere/made")
    assert moved.input("source").path.resolve() == (tmp_path / "elsewhere/source").resolve()


def test_the_last_checkpoint_is_the_one_that_no_other_started_from(tmp_path: Path) -> None:
    first = make(tmp_path / "z_first", {"a": 1}, kind="checkpoint")
    make(tmp_path / "a_second", {"a": 2}, {"init_from": first}, kind="checkpoint")
    assert last(tmp_path, "checkpoint").path.name == "a_second"
    assert [artifact.path.name for artifact in in_run(tmp_path)] == ["a_second", "z_first"]
    with pytest.raises(GlideError, match="no finished evaluation"):
        last(tmp_path, "evaluation")


@pytest.mark.parametrize("content", ["", "{", '{"kind"'])
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(GlideError, match=r"unreadable .*artifact.json"):
        load(tmp_path)


def test_a_full_disk_is_one_line_and_the_step_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of a file stands in for the disk's: the kernel answers a write with an error either way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def write(draft: Draft) -> None:
        (draft.path / "large").write_bytes(bytes(1 << 20))
        draft.summary = "large"

    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
        with pytest.raises(GlideError, match=r"large") as caught:
            run_step("step", tmp_path / "out", "corpus", {}, {}, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert run_step("step", tmp_path / "out", "corpus", {}, {}, write).summary == "large"
