"""Does a recipe fit this machine, said before anything is allocated, and which one does where it does not."""

from __future__ import annotations

from glide_nemo.errors import GlideError
from glide_nemo.planning.machine import Machine
from glide_nemo.planning.memory import GB
from glide_nemo.planning.plan import TrainingPlan
from glide_nemo.recipes.recipe import prefix, split_name


def check_fit(plan: TrainingPlan, machine: Machine) -> None:
    """Raises GlideError where a recipe cannot run here, saying what it needs, what is here, and which recipe fits."""
    needed = plan.memory.total / GB
    if plan.gpus:
        fitting = [memory for _, memory in machine.gpus if memory >= needed]
        if len(fitting) >= plan.gpus:
            return
        needs = f"{plan.gpus} GPU{'s' if plan.gpus > 1 else ''} with {needed:.0f} GB each"
    elif needed <= machine.memory_gb:
        return
    else:
        needs = f"{needed:.0f} GB of memory"
    phase, _ = split_name(plan.name)
    raise GlideError(
        f"{plan.name} needs {needs}, this machine has {machine}: "
        f"run {prefix('nano')}_{phase} here, or see the plan of this one with --dry-run"
    )
