"""The report of a run: one self-contained HTML file, made from artifact.json files alone, that asks no network."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glide_nemo.artifact import RECORD, Artifact, Draft, file_sha256, write_atomically
from glide_nemo.release import charts, story
from glide_nemo.release.charts import Chart, Line, Mark
from glide_nemo.release.histogram import histograms
from glide_nemo.release.position_chart import position_chart
from glide_nemo.steps import run_step

HERE = Path(__file__).parent
TEMPLATES = ("report.html.jinja", "parts.html.jinja", "curation.html.jinja", "report.css")
# Characters that HTML forbids or that turn the text around them: shown as the replacement character.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@dataclass
class ReportConfig:
    """What a report is made of: it is made again when any record it shows, or its own look, has changed."""

    records: dict[str, str]  # artifact name -> sha256 of its artifact.json
    unfinished: list[str]  # steps that were stopped on the way
    look: str  # sha256 of the templates


def write_report(run: Path, out: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """Writes report.html of a run directory, finished or not: what is missing is said to be missing.

    Equal artifacts give equal bytes. Raises GlideError where the run holds no finished artifact.
    """
    told = story.read(Path(run), Path(out))
    config = ReportConfig(
        records={name: file_sha256(artifact.path / RECORD) for name, artifact in told.artifacts.items()},
        unfinished=told.unfinished,
        look=hashlib.sha256("".join(file_sha256(HERE / name) for name in TEMPLATES).encode()).hexdigest(),
    )

    def write(draft: Draft) -> None:
        page = render(told)
        write_atomically(draft.path / "report.html", page)
        missing = ", ".join(told.missing)
        draft.metrics.update(bytes=len(page.encode()), artifacts=len(told.artifacts), missing=list(told.missing))
        draft.summary = f"report.html of {len(told.artifacts)} artifacts" + (f", no {missing} yet" if missing else "")

    return run_step("report", out, "release", config, dict(told.artifacts), write, force=force)


def render(told: story.Story) -> str:
    """The page. Autoescaped: nothing from an artifact is taken for markup; the page's own policy forbids scripts."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        human=charts.human,
        bytes=partial(charts.human, unit="B"),
        significant=charts.significant,
        pretty=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    )
    rows = list(told.artifacts.values())
    corpus = told.last("corpus")
    facts = told.facts(corpus) if corpus else None
    edges, width = charts.arcs([_rows_of(told, artifact, rows) for artifact in rows], row=64, step=9)
    page = environment.get_template("report.html.jinja").render(
        told=told,
        style=environment.loader.get_source(environment, "report.css")[0],
        title=_title(told),
        figures=key_figures(told),
        funnel=funnel(told),
        facts=facts,
        spreads=histograms(facts),
        bits_per_byte=bits_per_byte(told),
        charts=[*training_charts(told), *position_chart(told)],
        curve=curve_table(told),
        edges=edges,
        edge_width=width,
    )
    return UNPRINTABLE.sub("\ufffd", page)


def _rows_of(told: story.Story, artifact: Artifact, rows: list[Artifact]) -> list[int]:
    return [rows.index(source) for _, source in told.inputs(artifact) if source]


def _title(told: story.Story) -> str:
    checkpoint = told.last("checkpoint")
    name = (checkpoint.metrics.get("architecture") or {}).get("name") if checkpoint else None
    return f"GLiDE {name}" if name else "GLiDE"


def key_figures(told: story.Story) -> list[dict[str, str]]:
    """The headline: what one would ask first, each only where its artifact is there. `{value, label, note}`."""
    figures: list[dict[str, str]] = []

    def add(value: str, label: str, note: str = "", state: str = "") -> None:
        figures.append({"value": value, "label": label, "note": note, "state": state})

    if checkpoint := told.last("checkpoint"):
        metrics = checkpoint.metrics
        add(charts.human(metrics.get("parameters")), "parameters", "counted on the built model")
        tokens = sum(phase.artifact.metrics.get("tokens") or 0 for phase in told.phases)
        add(charts.human(tokens), "tokens trained on", " + ".join(phase.name for phase in told.phases))
    if evaluation := told.last("evaluation"):
        if bits := evaluation.metrics.get("bits_per_byte"):
            model, gzip = (charts.significant(bits[key]) for key in ("model", "gzip_9"))
            before = [f"{charts.significant(row['model'])} after {row['name']}; " for row in bits_per_byte(told)[:-1]]
            add(model, "bits per byte", f"held-out; {''.join(before)}gzip -9 {gzip}")
        for row in evaluation.metrics.get("lm_eval", [])[:1]:
            chance = f", chance {row['chance']:.0%}" if "chance" in row else ""
            add(f"{row['value']:.1%}", row["task"].replace("_", " "), f"± {row['stderr']:.1%}{chance}")
    if certificate := told.last("certificate"):
        checks = [check for check in certificate.metrics.get("checks", []) if check["bound"] is not None]
        passed = sum(bool(check["passed"]) for check in checks)
        state = "pass" if certificate.metrics.get("passed") else "fail"
        add(f"{passed} / {len(checks)}", "export checks passed", "against the trained model's logits", state)
    return figures


def bits_per_byte(told: story.Story) -> list[dict[str, Any]]:
    """`{name, model, stderr}` of each phase whose weights were evaluated so, the last phase's last."""
    rows = []
    for evaluation in told.every("evaluation").values():
        if bits := evaluation.metrics.get("bits_per_byte"):
            error = evaluation.metrics.get("bits_per_byte_stderr", {}).get("model")
            rows.append({"name": told.phase_of(evaluation), "model": bits["model"], "stderr": error})
    return rows


def funnel(told: story.Story) -> list[dict[str, Any]]:
    """What is left after each stage of curation, without the stages that left everything as it was."""
    corpus = told.last("corpus")
    rows = corpus.metrics.get("funnel", []) if corpus else []
    return [
        row
        for before, row in zip([None, *rows], rows, strict=False)
        if before is None or (row["documents"], row["bytes"]) != (before["documents"], before["bytes"])
    ]


def training_charts(told: story.Story) -> list[Chart]:
    """Loss, learning rate and throughput over the tokens trained on, all phases on one axis; and rewards of pairs."""
    phases = [phase for phase in told.phases if phase.curve]
    if not phases:
        return []
    styles = [f"series-{index % 2}" for index in range(len(phases))]
    borders = [Mark(phase.offset, phase.label, style=style) for phase, style in zip(phases, styles, strict=True)]
    heldout, losses, rates, speeds, rewards = [], [], [], [], []
    for phase, style in zip(phases, styles, strict=True):
        if phase.is_preference:
            rewards.append(_reward_chart(phase))
        else:
            loss = [(tokens, value) for tokens, value, _, _ in phase.curve]
            losses += [Line(loss, f"{style} faint"), Line(charts.smoothed(loss), style)]
            if (of_heldout := phase.artifact.metrics.get("heldout_loss")) is not None:
                heldout.append(Mark(loss[-1][0], charts.significant(of_heldout), of_heldout, style))
        rates.append(Line([(tokens, rate) for tokens, _, rate, _ in phase.curve], style))
        speeds.append(Line([(tokens, speed) for tokens, _, _, speed in phase.curve if speed is not None], style))
    names = " then ".join(phase.name for phase in phases)
    if not losses:
        return rewards
    first, final = losses[0].points[0][1], losses[-1].points[-1][1]
    of_tokens = [mark for mark, phase in zip(borders, phases, strict=True) if not phase.is_preference]
    result = [
        Chart("Training loss", f"Over {names} the loss falls from {first:.2f} to {final:.2f} nats a token.",
              "tokens", "nats a token; dots: held out", losses, of_tokens + heldout),
        Chart("Learning rate", f"The learning-rate schedule over {names}.",
              "tokens", "as scheduled", rates, borders, from_zero=True),
    ]  # fmt: skip
    if any(line.points for line in speeds):
        result.append(
            Chart("Throughput", f"Tokens trained on a second over {names}.",
                  "tokens", "tokens a second", speeds, borders, from_zero=True)
        )  # fmt: skip
    return result + rewards


def _reward_chart(phase: story.Phase) -> Chart:
    """How often the preferred answer of a pair gained more on the reference than the other one."""
    points = [(tokens, accuracy) for tokens, accuracy, _ in phase.rewards]
    lines = [Line(points, "series-1 faint"), Line(charts.smoothed(points), "series-1")]
    marks = []
    heldout = (phase.artifact.metrics.get("heldout") or {}).get("reward_accuracy")
    if heldout is not None:
        marks.append(Mark(points[-1][0], f"held-out {heldout:.0%}", heldout, "series-1"))
    told = f"In {phase.name} the accuracy of rewards goes from {points[0][1]:.0%} to {lines[1].points[-1][1]:.0%}."
    return Chart("Reward accuracy", told, "tokens", "share of pairs", lines, marks, from_zero=True)


def curve_table(told: story.Story, rows: int = 12) -> list[dict[str, Any]]:
    """About `rows` points of the training curves as numbers, for those who would rather read than look."""
    points = [
        {"phase": phase.name, "tokens": tokens, "loss": loss, "learning_rate": rate, "tokens_per_second": speed}
        for phase in told.phases
        for tokens, loss, rate, speed in phase.curve
    ]
    step = max(1, -(-len(points) // rows))
    return points[::step] + ([points[-1]] if points and (len(points) - 1) % step else [])
