"""Megatron's distributed optimizer over torch's fused Adam, which takes the place of Transformer Engine's.

Megatron-Core 0.19.2 saves this pairing but cannot resume it: it reads the step count from a state that Adam has not
made yet, and the count that it loads does not reach that state, so that Adam corrects its bias as if it began anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from glide_nemo.cpu.seams import Seams

DISTRIBUTED = "megatron.core.optimizer.distrib_optimizer:DistributedOptimizer"


def apply(seams: Seams) -> None:
    """Skips the question whether a CUDA graph is being captured, and makes loading a checkpoint work."""
    seams.replace(
        torch.optim.Optimizer,
        "_accelerator_graph_capture_health_check",
        lambda self: None,  # it would reach for a CUDA driver, now that `torch.cuda.is_available()` says yes
        answers="Adam.step, torch/optim/adam.py:222",
    )
    seams.replace(
        torch.optim, "AdamW", FusedAdamW, answers="adam_cls = torch.optim.AdamW, core/optimizer/__init__.py:557"
    )
    seams.wrap_in(DISTRIBUTED, "state_dict", _with_state, answers="len(steps) == 1, distrib_optimizer.py:839")
    seams.wrap_in(
        DISTRIBUTED, "load_state_dict", _with_own_steps, answers='s["step"] = step, distrib_optimizer.py:1022'
    )
    seams.wrap_in(
        DISTRIBUTED,
        "_set_main_param_and_optimizer_states",
        _with_a_step,
        answers="tensors[key] of a resharded checkpoint, which has no step, distrib_optimizer.py:1223",
    )


class FusedAdamW(torch.optim.AdamW):
    """torch's AdamW by its fused kernel, one pass over weights and moments instead of ten."""

    def __init__(self, params: Any, **settings: Any) -> None:
        super().__init__(params, fused=True, **settings)


def _with_a_step(set_states: Callable[[Any, Any, dict], None]) -> Callable[[Any, Any, dict], None]:
    def set_states_and_step(self: Any, parameter: Any, tensors: dict[str, torch.Tensor]) -> None:
        # The count itself comes with the parameter's group, `_with_own_steps`.
        set_states(self, parameter, {"step": torch.tensor(0.0), **tensors})

    return set_states_and_step


def _with_state(state_dict: Callable[[Any], dict]) -> Callable[[Any], dict]:
    def state_dict_of_made_state(self: Any) -> dict:
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if not self.optimizer.state[parameter]:
                    self.optimizer.state[parameter] = {
                        "step": torch.tensor(0.0),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }
        return _interned(state_dict(self))

    return state_dict_of_made_state


def _interned(value: Any) -> Any:
    """The same state with names that are one object each: pickle writes a second mention of an object as a reference.

    The names of a resumed optimizer come out of a file, those of a fresh one out of code; checkpoints would differ.
    """
    if isinstance(value, dict):
        return {sys.intern(key) if type(key) is str else key: _interned(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_interned(item) for item in value)
    return sys.intern(value) if type(value) is str else value


def _with_own_steps(load_state_dict: Callable[[Any, dict], None]) -> Callable[[Any, dict], None]:
    def load_state_dict_with_own_steps(self: Any, state: dict) -> None:
        load_state_dict(self, state)
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                self.optimizer.state[parameter]["step"] = torch.tensor(float(group["step"]))

    return load_state_dict_with_own_steps
