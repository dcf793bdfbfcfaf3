"""Packages that Megatron imports for what no training on a CPU calls: a third of its imports' time, left for later.

They are installed, and whoever imports them afterwards gets them. wandb is asked for again by Bridge where a run logs
to it; scikit-learn, TRL and chardet are only probed for, by transformers, ModelOpt and requests; ModelOpt changes
models, and a process that has not imported it can hold none that it changed.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROBED_FOR = ("wandb", "sklearn", "trl", "chardet")  # `except ImportError` where they are imported
MODELOPT = (  # bridge/training/checkpointing.py:56, train.py:65, eval.py:29, gpt_step.py:19
    "modelopt",
    "modelopt.torch",
    "modelopt.torch.distill",
    "modelopt.torch.distill.plugins",
    "modelopt.torch.distill.plugins.megatron",
    "modelopt.torch.opt",
    "modelopt.torch.opt.plugins",
)


class _Late(type):
    """Of names imported from ModelOpt: called, they ask the package if it has been imported since, else say None.

    None is what Bridge hears of a model without quantisers and without a teacher: nothing to save, restore or adjust.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module = sys.modules.get(cls.__module__)
        return getattr(module, cls.__name__)(*args, **kwargs) if module is not None else None

    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules.get(cls.__module__)
        return module is not None and isinstance(instance, getattr(module, cls.__name__))


class _LateModule(types.ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Late(name, (), {"__module__": self.__name__})


@contextmanager
def probes_find_nothing() -> Iterator[None]:
    """Within it, importing any of these packages raises ModuleNotFoundError, unless it has been imported before."""
    with in_place(dict.fromkeys((*PROBED_FOR, MODELOPT[0]))):
        yield


@contextmanager
def modelopt_later() -> Iterator[None]:
    """Within it, names can be imported from ModelOpt, which is not."""
    modules = {name: _LateModule(name) for name in MODELOPT}
    for name, module in modules.items():
        module.__path__ = []
        module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    with in_place(dict.fromkeys(PROBED_FOR) | modules):
        yield


@contextmanager
def in_place(stand_ins: dict[str, types.ModuleType | None]) -> Iterator[None]:
    """Puts stand-ins in sys.modules, None for a package that is not to be found, and takes them out again."""
    roots = {name.partition(".")[0] for name in stand_ins}
    free = {root for root in roots if root not in sys.modules}
    added = {name: module for name, module in stand_ins.items() if name.partition(".")[0] in free}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name, module in added.items():
            if sys.modules.get(name) is module:
                sys.modules.pop(name, None)
