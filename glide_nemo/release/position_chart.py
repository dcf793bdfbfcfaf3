"""Loss by position of each model that was evaluated so, in one chart: what a longer context is good for."""

from __future__ import annotations

from glide_nemo.artifact import Artifact
from glide_nemo.release.charts import Chart, Line, Mark, significant
from glide_nemo.release.story import Story


def position_chart(told: Story) -> list[Chart]:
    """The chart, if any evaluation states `loss_by_position`: a point in the middle of each bucket of positions.

    Only models evaluated over as many positions as the last one are in it.
    """
    evaluated = [
        found for found in told.artifacts.values() if found.kind == "evaluation" and "loss_by_position" in found.metrics
    ]
    if not evaluated:
        return []
    tokens = evaluated[-1].metrics["loss_by_position"]["tokens"]
    evaluated = [found for found in evaluated if found.metrics["loss_by_position"]["tokens"] == tokens]
    lines, marks, told_of = [], [], []
    for index, evaluation in enumerate(evaluated):
        name, style = _model(told, evaluation), f"series-{index % 2}"
        buckets = evaluation.metrics["loss_by_position"]["buckets"]
        points = [((bucket["start"] + bucket["end"]) / 2, bucket["nats"]) for bucket in buckets]
        lines.append(Line(points, style))
        marks.append(Mark(points[-1][0], name, points[-1][1], style))
        told_of.append(f"{name} from {significant(points[0][1])} to {significant(points[-1][1])}")
    described = f"Held-out loss over {tokens:,} positions: {', '.join(told_of)} nats a token."
    return [Chart("Loss by position", described, "tokens before it", "nats a token", lines, marks)]


def _model(told: Story, evaluation: Artifact) -> str:
    """The recipe whose weights were evaluated."""
    models = (found for entry, found in told.inputs(evaluation) if entry["kind"] == "model" and found)
    return next((model.metrics.get("recipe") or told.name(model) for model in models), told.name(evaluation))
