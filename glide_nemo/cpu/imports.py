"""Importing Megatron where Transformer Engine and nvidia-resiliency-ext are not installed, or not to be used.

Megatron-Core probes for both and falls back to its own layers; Megatron-Bridge imports them at module level for
features that a CPU never reaches (LoRA over TE layers, in-process restart). So Core is imported first and finds
neither, then Bridge with empty stand-ins in sys.modules, which are taken out again: whoever asks later gets an honest
ImportError.

Transformer Engine and Apex can be installed where there is no GPU, as in a container on a login node. Nothing of theirs
computes on a CPU: there they count as absent, while Megatron is imported and while it runs.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from glide_nemo.cpu.postponed import in_place, modelopt_later, probes_find_nothing

STAND_INS = (
    "transformer_engine",
    "transformer_engine.pytorch",  # megatron/bridge/peft/lora_layers.py:20
    "nvidia_resiliency_ext",
    "nvidia_resiliency_ext.inprocess",  # megatron/bridge/training/pretrain.py:19, inprocess_restart.py:22
)
CORE = (
    "megatron.core",
    "megatron.core.extensions.transformer_engine",
    "megatron.core.models.gpt.gpt_layer_specs",
    "megatron.training.config",
    "megatron.core.models.hybrid.hybrid_layer_specs",
)
# core/optimizer/__init__.py:20, core/optimizer/clip_grads.py:23, core/tensor_parallel/layers.py:51
OF_A_GPU = ("transformer_engine", "apex", "amp_C", "fused_weight_gradient_mlp_cuda")
BRIDGE = ("megatron.bridge.training.pretrain", "megatron.bridge.training.gpt_step", "megatron.bridge.models.llama")


class _AbsentClass(type):
    """Of classes that can be inherited from and asked for any attribute, but are never instances of anything."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _AbsentClass(name, (), {"__module__": cls.__module__})


class _AbsentModule(types.ModuleType):
    """A module whose every name is such a class, for `class X(te.Linear)` and annotations like `te.ops.Sequential`."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _AbsentClass(name, (), {"__module__": self.__name__})


@contextmanager
def _stand_ins() -> Iterator[None]:
    absent = [name for name in STAND_INS if importlib.util.find_spec(name.partition(".")[0]) is None]
    for name in absent:
        module = _AbsentModule(name)
        module.__path__ = []  # a package, so that `import transformer_engine.pytorch` finds its child
        module.__spec__ = importlib.util.spec_from_loader(name, loader=None, is_package=True)
        sys.modules[name] = module
    for name in absent:  # `import a.b as c` reads attribute b of a
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and isinstance(sys.modules[parent], _AbsentModule):
            setattr(sys.modules[parent], child, sys.modules[name])
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


def import_megatron(*, on_gpu: bool = False) -> None:
    """Imports Megatron-Core, then Megatron-Bridge's training and GPT parts. About 14 s on two cores, once a process.

    For a GPU: with Transformer Engine and Apex where they are installed, and torch compiles what Megatron marks for it.
    """
    if not on_gpu:
        # With `torch.cuda.is_available()` answered yes, Dynamo would ask for a CUDA stream. Read as torch is imported.
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    hidden = nullcontext() if on_gpu else without_gpu_libraries()
    with warnings.catch_warnings(), _without_collection(), hidden:
        warnings.simplefilter("ignore")  # dozens of "TE is not installed", said once by `glide doctor` instead
        with probes_find_nothing():
            for name in CORE:
                importlib.import_module(name)
        with _stand_ins(), modelopt_later():
            for name in BRIDGE:
                importlib.import_module(name)


@contextmanager
def without_gpu_libraries() -> Iterator[None]:
    """Within it nobody finds Transformer Engine or Apex, unless they were imported before."""
    with in_place(dict.fromkeys(OF_A_GPU)):
        yield


@contextmanager
def _without_collection() -> Iterator[None]:
    """Modules are not garbage: looking for some among their millions of objects, again and again, takes a second."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()
