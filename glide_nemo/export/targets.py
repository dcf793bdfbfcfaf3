"""Names for exports on the command line: `hf`, `gguf:f16`; which directory of a run each is, and making them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glide_nemo import artifact, plugins
from glide_nemo.artifact import Artifact
from glide_nemo.config import apply_overrides, check_known_keys, dotted_keys, split_overrides
from glide_nemo.errors import GlideError
from glide_nemo.export.hf import HfConfig, export_hf

HUGGING_FACE = "hf"


@dataclass(frozen=True)
class Target:
    """An exporter and its variant, which is the value of the exporter's first setting."""

    exporter: str
    variant: str | None = None

    @property
    def directory(self) -> str:
        return f"{self.exporter}_{self.variant}" if self.variant else self.exporter


def parse_targets(text: str) -> list[Target]:
    """`hf,gguf:f16` as targets. GlideError for an exporter that is not registered."""
    targets = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        exporter, _, variant = item.partition(":")
        if exporter not in plugins.available("exporters"):
            known = ", ".join(sorted(plugins.available("exporters")))
            raise GlideError(f"unknown target '{item}': write {known}, with a variant after a colon (gguf:q4_k_m)")
        targets.append(Target(exporter, variant or None))
    if not targets:
        raise GlideError("no target: write hf, gguf:f16 or gguf:q4_k_m, with commas between them")
    return targets


def export(
    run: Path, targets: str, overrides: Sequence[str] = (), out: Path | None = None, *, force: bool = False
) -> list[Artifact]:
    """Exports the checkpoint that a run ended with, each target into a directory of its own in `out` (or the run).

    Every other target is made from the Hugging Face model, which is made first where the run has none.
    Overrides set an exporter's other settings (`dtype=bfloat16`).

    Raises GlideError for an unknown target, variant or setting.
    """
    checkpoint = artifact.last(run, "checkpoint")
    folder = out or (checkpoint.path.parent if run.samefile(checkpoint.path) else run)
    wanted = parse_targets(targets)
    configs = _configs(wanted, overrides)
    made = []
    # Read off the overrides: where only GGUF files are wanted, no exporter's config is the one with the weights.
    weights = split_overrides(overrides).get("weights", "trained")
    remade = HUGGING_FACE in [target.exporter for target in wanted]
    model = None if remade else made_from(folder, checkpoint, weights)
    if model is None:
        target = next((target for target in wanted if target.exporter == HUGGING_FACE), Target(HUGGING_FACE))
        model = export_hf(
            configs.get(target, HfConfig(weights=weights)), checkpoint, folder / target.directory, force=force
        )
        made.append(model)
    for target in wanted:
        if target.exporter != HUGGING_FACE:
            step = plugins.get("exporters", target.exporter)
            made.append(step(configs[target], model, folder / target.directory, force=force))
    return made


def made_from(run: Path, checkpoint: Artifact, weights: str = "trained") -> Artifact | None:
    """The model in a run that was exported from these weights of this very checkpoint, if there is one."""
    for found in artifact.in_run(run) if run.is_dir() else []:
        of_it = found.kind == "model" and found.record["inputs"]["checkpoint"]["sha256"] == checkpoint.sha256
        if of_it and found.config.get("weights", "trained") == weights:
            return found
    return None


def _configs(targets: Sequence[Target], overrides: Sequence[str]) -> dict[Target, Any]:
    """Each target's config: defaults, the variant, and those overrides that its exporter has a setting for."""
    defaults = {}
    for target in targets:
        config = typing.get_type_hints(plugins.get("exporters", target.exporter))["config"]()
        setting = dataclasses.fields(config)[0].name
        defaults[target] = dataclasses.replace(config, **{setting: target.variant}) if target.variant else config
    model = dotted_keys(HfConfig())  # which is made on the way to any other
    check_known_keys(overrides, {*model, *(key for config in defaults.values() for key in dotted_keys(config))})
    return {
        target: apply_overrides(config, [item for item in overrides if item.partition("=")[0] in dotted_keys(config)])
        for target, config in defaults.items()
    }
