"""A run as its report tells it: the artifacts, found through their inputs, and the training phases on one axis."""

from __future__ import annotations

import graphlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glide_nemo.artifact import DRAFT, Artifact, in_run, load
from glide_nemo.errors import GlideError

# Each kind the whole road has, and the command that makes it; `model` and `export` come from one.
ROAD = {
    "crawl": "glide crawl",
    "corpus": "glide curate",
    "tokenizer": "glide tokenizer",
    "tokens": "glide tokens",
    "checkpoint": "glide pretrain",
    "model": "glide export",
    "export": "glide export",
    "certificate": "glide certify",
    "evaluation": "glide evaluate",
}


@dataclass(frozen=True)
class Phase:
    """One training run of the chain that led to the last checkpoint; `offset` is the tokens trained on before it."""

    name: str
    artifact: Artifact
    offset: float

    @property
    def label(self) -> str:
        """As short as a chart needs it: `A` of phase_a, `SFT`."""
        return self.name.removeprefix("phase_").upper()

    @property
    def is_preference(self) -> bool:
        """Whether its loss is of pairs, which is no loss of tokens."""
        return "rewards" in self.artifact.metrics

    @property
    def rewards(self) -> list[tuple[float, float, float]]:
        """(tokens since the very first step, accuracy of rewards, their margin) a point, of a preference phase."""
        return [
            (self._tokens_at(step), accuracy, margin)
            for step, accuracy, margin in self.artifact.metrics.get("rewards", [])
        ]

    @property
    def curve(self) -> list[tuple[float, float, float, float | None]]:
        """(tokens since the very first step, loss, learning rate, tokens a second) a point."""
        return [
            (self._tokens_at(step), loss, rate, speed[0] if speed else None)
            for step, loss, rate, *speed in self.artifact.metrics.get("curve", [])
        ]

    def _tokens_at(self, step: int) -> float:
        metrics = self.artifact.metrics
        return self.offset + step / (metrics.get("train_iters") or 1) * (metrics.get("tokens") or 0)


@dataclass(frozen=True)
class Story:
    """The artifacts a run holds or was made from, by name, each after those it was made from."""

    artifacts: dict[str, Artifact]
    unfinished: list[str]

    def last(self, kind: str) -> Artifact | None:
        """The last artifact of a kind, which no other of that kind was made from."""
        found = [artifact for artifact in self.artifacts.values() if artifact.kind == kind]
        return found[-1] if found else None

    def made_from(self, artifact: Artifact | None, kind: str) -> Artifact | None:
        """The artifact of a kind that this one was made from; the last of that kind where it is not here."""
        sources = [found for _, found in self.inputs(artifact) if found and found.kind == kind] if artifact else []
        return sources[0] if sources else self.last(kind)

    def phase_of(self, evaluation: Artifact) -> str:
        """The name of the checkpoint whose weights were evaluated, or that of the evaluation where it is not here."""
        of_kind = {"evaluation": "model", "model": "checkpoint"}
        found: Artifact | None = evaluation
        while found is not None and found.kind in of_kind:
            wanted = of_kind[found.kind]
            found = next((source for _, source in self.inputs(found) if source and source.kind == wanted), None)
        return self.name(found or evaluation)

    def every(self, kind: str) -> dict[str, Artifact]:
        """All artifacts of a kind by name, in order."""
        return {name: artifact for name, artifact in self.artifacts.items() if artifact.kind == kind}

    def facts(self, corpus: Artifact) -> dict[str, Any] | None:
        """What the last data card states of a corpus as it is; None where there is no card."""
        stated = [facts for card in self.every("release").values() for facts in card.metrics["corpora"]]
        return next((facts for facts in reversed(stated) if facts["sha256"] == corpus.sha256), None)

    @property
    def missing(self) -> dict[str, str]:
        """Kinds that the run lacks, and the command that makes each."""
        return {kind: command for kind, command in ROAD.items() if self.last(kind) is None}

    @property
    def phases(self) -> list[Phase]:
        """The training phases in order, oldest first: the last checkpoint and those it continued from."""
        chain, checkpoint = [], self.last("checkpoint")
        while checkpoint is not None:
            chain.append(checkpoint)
            checkpoint = next(
                (found for _, found in self.inputs(checkpoint) if found and found.kind == "checkpoint"), None
            )
        phases, offset = [], 0.0
        for artifact in reversed(chain):
            phases.append(Phase(self.name(artifact), artifact, offset))
            offset += artifact.metrics.get("tokens") or 0
        return phases

    def name(self, artifact: Artifact) -> str:
        return next(name for name, known in self.artifacts.items() if known.path == artifact.path)

    def inputs(self, artifact: Artifact) -> list[tuple[dict[str, Any], Artifact | None]]:
        """What an artifact was made from: the entry in its record, and the artifact where it is still what it was."""
        by_digest = {found.sha256: found for found in self.artifacts.values()}
        return [
            ({"name": name, **entry}, by_digest.get(entry["sha256"]))
            for name, entry in artifact.record["inputs"].items()
        ]


def read(run: Path, out: Path) -> Story:
    """The story of a run directory, told in `out`. GlideError where it holds no finished artifact at all."""
    held = in_run(run)
    found = [artifact for artifact in held if artifact.kind != "release"]
    if not found:
        raise GlideError(f"no finished artifact in {run}: run `glide quickstart` first")
    drafts = (path.parent for path in run.glob(f"*/{DRAFT}"))
    unfinished = sorted(path.name for path in drafts if path.resolve() != out.resolve())
    told = _with_inputs(found)
    return Story(_ordered([*told, *_cards(held, told)]), unfinished)


def _cards(held: list[Artifact], told: list[Artifact]) -> list[Artifact]:
    """The data cards in a run, of corpora that are told of: they measure what no other artifact states."""
    known = {artifact.sha256 for artifact in told}
    return [
        artifact
        for artifact in held
        if artifact.kind == "release" and known & {facts["sha256"] for facts in artifact.metrics.get("corpora", [])}
    ]


def _with_inputs(found: list[Artifact]) -> list[Artifact]:
    """Adds what the artifacts were made from, where it lies outside the run and has not changed since."""
    known = {artifact.sha256: artifact for artifact in reversed(found)}
    queue = list(found)
    while queue:
        artifact = queue.pop()
        for entry in artifact.record["inputs"].values():
            if entry["sha256"] in known:
                continue
            try:
                source = load(artifact.path / entry["path"], entry["kind"])
            except GlideError:
                continue  # the report names it by its digest
            if source.sha256 == entry["sha256"]:
                known[source.sha256] = source
                queue.append(source)
    return list(known.values())


def _ordered(artifacts: list[Artifact]) -> dict[str, Artifact]:
    """By name (that of its directory), inputs before what was made from them, equal ranks by time and name."""
    by_digest = {artifact.sha256: artifact for artifact in artifacts}
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    rank = sorted(artifacts, key=lambda artifact: (artifact.record["created"], artifact.path.name))
    for artifact in rank:
        inputs = (entry["sha256"] for entry in artifact.record["inputs"].values())
        sorter.add(artifact.sha256, *(sha256 for sha256 in inputs if sha256 in by_digest))
    ordered: dict[str, Artifact] = {}
    for sha256 in sorter.static_order():
        artifact = by_digest[sha256]
        name = artifact.path.resolve().name
        while name in ordered:
            name += "′"
        ordered[name] = artifact
    return ordered
