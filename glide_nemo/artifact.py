"""What every step reads and writes: a directory with an artifact.json that says what it is and what it was made from.

A step writes its files into the directory and artifact.json last, atomically. A directory without it is unfinished:
the step that finds it goes on with it (same config, same inputs) or starts over, and never mistakes it for done.

    with create(out, "tokenizer", config, {"corpus": corpus}) as draft:
        ...write files into draft.path...
        draft.metrics["vocab_size"] = 4096
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import glide_nemo
from glide_nemo.config import as_plain, digest
from glide_nemo.errors import GlideError, from_os_error

KINDS = (
    "crawl",  # WARC files
    "corpus",  # parquet shards and the ledgers of what left
    "tokenizer",  # SentencePiece model and the equal tokenizer.json
    "benchmarks",  # items of evaluation sets, and the index that finds them in documents
    "ngram",  # SentencePiece model, n-grams in ARPA form, thresholds of perplexity
    "classifier",  # fastText model of quality
    "conversations",  # JSONL in messages form
    "tokens",  # Megatron .bin/.idx
    "checkpoint",  # Megatron torch_dist
    "model",  # Hugging Face directory
    "export",  # gguf, tensorrt_llm, vllm
    "certificate",  # how far the exports are from the trained model
    "evaluation",
    "speed",  # how fast a served model answers
    "release",  # report and cards
)
RECORD = "artifact.json"
DRAFT = ".draft.json"  # config and inputs of a step under way, so that only an equal rerun goes on with its files
LOCK = ".lock"
VOLATILE = "logs"  # times and rates: written and listed, but not part of the digest, since no two runs agree on them


@dataclass(frozen=True)
class Artifact:
    """A finished step: its directory and its artifact.json."""

    path: Path
    record: dict[str, Any]

    @property
    def kind(self) -> str:
        return self.record["kind"]

    @property
    def sha256(self) -> str:
        """Digest over the relative paths and digests of its files."""
        return self.record["sha256"]

    @property
    def config(self) -> dict[str, Any]:
        return self.record["config"]

    @property
    def metrics(self) -> dict[str, Any]:
        return self.record["metrics"]

    @property
    def summary(self) -> str:
        return self.record["summary"]

    def input(self, name: str) -> Artifact:
        """The artifact this one was made from, by the name it went by. GlideError where it was moved or changed."""
        if name not in self.record["inputs"]:
            raise GlideError(f"{self.path} was not made from a {name}: its inputs are {list(self.record['inputs'])}")
        entry = self.record["inputs"][name]
        found = load(self.path / entry["path"], entry["kind"])
        if found.sha256 != entry["sha256"]:
            raise GlideError(f"{found.path} has changed since {self.path} was made from it: run that step again")
        return found


@dataclass
class Draft:
    """A step under way: the directory it writes into and the metrics it will state."""

    path: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    summary: str = ""  # the key figures in a few words, for the terminal and the report

    @property
    def logs(self) -> Path:
        """Where files that differ from run to run go (timings, rates)."""
        folder = self.path / VOLATILE
        folder.mkdir(exist_ok=True)
        return folder


def load(path: str | os.PathLike[str], kind: str | None = None) -> Artifact:
    """The finished artifact in a directory. GlideError where there is none, or one of another kind."""
    path = Path(path)
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        state = "is unfinished" if (path / DRAFT).exists() else "holds no artifact.json"
        raise GlideError(f"no finished {kind or 'artifact'}, {path} {state}: run the step that writes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GlideError(f"unreadable {path / RECORD} ({error}): delete the directory and run its step again") from None
    if kind and record["kind"] != kind:
        raise GlideError(f"{path} is a {record['kind']}, a {kind} is needed: pass another directory")
    return Artifact(path, record)


def in_run(run: str | os.PathLike[str]) -> list[Artifact]:
    """The finished artifacts in the directories of a run (such as runs/quickstart), oldest first."""
    run = Path(run)
    if not run.is_dir():
        raise GlideError(f"no run directory {run}: pass one that `glide quickstart` wrote")
    artifacts = [load(path.parent) for path in sorted(run.glob(f"*/{RECORD}"))]
    return sorted(artifacts, key=lambda artifact: (artifact.record["created"], artifact.path.name))


def last(run: str | os.PathLike[str], kind: str) -> Artifact:
    """The artifact of a kind that a run ended with: the one that no other of that kind was made from.

    `run` may also be that artifact's own directory. GlideError where there is none.
    """
    if (Path(run) / RECORD).exists():
        return load(run, kind)
    found = [artifact for artifact in in_run(run) if artifact.kind == kind]
    used = {entry["sha256"] for artifact in found for entry in artifact.record["inputs"].values()}
    ends = [artifact for artifact in found if artifact.sha256 not in used]
    if not ends:
        raise GlideError(f"no finished {kind} in {run}: run the step that writes it, or `glide quickstart`")
    return ends[-1]


def find(out: Path, kind: str, config: Any, inputs: Mapping[str, Artifact] | None = None) -> Artifact | None:
    """The artifact in `out` if it is finished and was made from this very config and these very inputs, else None."""
    try:
        artifact = load(out, kind)
    except GlideError:
        return None
    return artifact if _identity(artifact.record) == _identity(_claim(kind, config, inputs or {}, out)) else None


@contextlib.contextmanager
def create(
    out: str | os.PathLike[str],
    kind: str,
    config: Any,
    inputs: Mapping[str, Artifact] | None = None,
    *,
    force: bool = False,
) -> Iterator[Draft]:
    """Opens `out` for one step and, if its body ends well, seals it with artifact.json.

    Files of an unfinished equal run (same kind, config, inputs) are kept for the body to go on with; those of an
    unequal unfinished run are removed. A finished artifact is only replaced with `force`.

    Raises GlideError where `out` holds something else, is being written by another process, or cannot be written.
    """
    assert kind in KINDS, kind
    out = Path(out)
    claim = _claim(kind, config, inputs or {}, out)
    try:
        _refuse_foreign(out)
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise GlideError(f"another process is writing {out}: wait for it, or choose another --out") from None
        try:
            _prepare(out, claim, force)
            draft = Draft(out)
            yield draft
            _seal(out, claim, draft)
        finally:
            lock.release()
    except OSError as error:
        raise from_os_error(error) from error


def write_atomically(path: Path, text: str) -> None:
    """A text file that appears under its name only when whole and on disk."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def copy_atomically(source: Path, path: Path) -> None:
    """A copy that appears under its name only when whole."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.copyfile(source, partial)
    os.replace(partial, path)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claim(kind: str, config: Any, inputs: Mapping[str, Artifact], out: Path) -> dict[str, Any]:
    """What an artifact says of its making before it is made."""
    return {
        "kind": kind,
        "config": as_plain(config),
        "config_sha256": digest(config),
        "inputs": {
            name: {
                # Relative, so that a directory of artifacts can be moved or mounted elsewhere as a whole.
                "path": os.path.relpath(artifact.path, out),
                "kind": artifact.kind,
                "sha256": artifact.sha256,
            }
            for name, artifact in inputs.items()
        },
    }


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
    inputs = {name: entry["sha256"] for name, entry in record["inputs"].items()}
    return record["kind"], record["config_sha256"], inputs


def _refuse_foreign(out: Path) -> None:
    if out.is_file():
        raise GlideError(f"{out} is a file: choose a directory as --out")
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in (RECORD, DRAFT, LOCK)):
        raise GlideError(f"{out} holds files that are not GLiDE's: choose an empty or new directory as --out")


def _prepare(out: Path, claim: dict[str, Any], force: bool) -> None:
    """Leaves in `out` only what the claimed step may go on with."""
    if (out / RECORD).exists() and not force:
        raise GlideError(
            f"{out} already holds a finished {load(out).kind} made from other settings or inputs: "
            "choose another --out, or pass --force to replace it"
        )
    try:
        resumable = _identity(json.loads((out / DRAFT).read_text(encoding="utf-8"))) == _identity(claim)
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        resumable = False
    if not resumable or (out / RECORD).exists():
        for entry in sorted(out.iterdir(), key=lambda entry: entry.name != RECORD):  # the claim to be done goes first
            if entry.name == LOCK:
                continue
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        write_atomically(out / DRAFT, json.dumps(claim, indent=1))


def _seal(out: Path, claim: dict[str, Any], draft: Draft) -> None:
    """Digests every file, then writes artifact.json: the last thing a step does."""
    files = []
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name not in (RECORD, DRAFT, LOCK) and not path.name.endswith(".partial"):
            files.append({"path": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)})
    stable = "".join(
        f"{item['path']} {item['sha256']}\n" for item in files if not item["path"].startswith(f"{VOLATILE}/")
    )
    record = {
        "kind": claim["kind"],
        "sha256": hashlib.sha256(stable.encode()).hexdigest(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "glide_version": glide_nemo.__version__,
        "git_commit": _git_commit(),
        "config": claim["config"],
        "config_sha256": claim["config_sha256"],
        "inputs": claim["inputs"],
        "summary": draft.summary,
        "metrics": as_plain(draft.metrics),
        "environment": _environment(),
        "files": files,
    }
    write_atomically(out / RECORD, json.dumps(record, indent=1, allow_nan=False))
    (out / DRAFT).unlink(missing_ok=True)


@cache
def _git_commit() -> str | None:
    """The commit this code is at, with `+` where the tree differs from it; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


@cache
def _environment() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("torch", "megatron-core", "megatron-bridge", "nemo-curator", "transformers", "llama-cpp-python"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    versions["device"] = f"{os.cpu_count()} CPU cores"
    torch = sys.modules.get("torch")  # asked only where the step used it: importing it takes seconds
    if torch is not None and torch.version.cuda and torch.cuda.device_count():
        versions["device"] = torch.cuda.get_device_name(0)
    return versions
