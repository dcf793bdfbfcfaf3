"""The CPU backend leaves no trace, and says which seam is missing where it does not fit."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import torch

from glide_nemo import fork_server
from glide_nemo.cpu.seams import Seams
from glide_nemo.errors import GlideError
from glide_nemo.training.worker import PRELOAD

STAND_INS = ("transformer_engine", "nvidia_resiliency_ext", "modelopt", "wandb", "sklearn", "trl", "chardet")
WATCHED = (
    "torch", "torch.cuda", "torch.cuda.random", "torch.cuda.nvtx", "torch.distributed",
    "torch.distributed.distributed_c10d", "torch.Tensor", "torch.nn.Module", "torch.optim.Optimizer",
    "megatron.core.tensor_parallel.random", "megatron.core.datasets.utils", "megatron.bridge.training.initialize",
    "megatron.core.optimizer.distrib_optimizer.DistributedOptimizer",
    "megatron.core.dist_checkpointing.strategies.filesystem_async", "megatron.core.optimizer.clip_grads",
    "megatron.core.pipeline_parallel.p2p_communication",
    "megatron.core.pipeline_parallel.p2p_communication.P2PCommunicator",
    "megatron.bridge.peft.utils", "megatron.bridge.peft.module_matcher",
)  # fmt: skip


def snapshot() -> dict[str, Any]:
    """Every attribute of what the backend reaches into and every loaded module, by identity."""
    import pkgutil

    owners = {name: pkgutil.resolve_name(name) for name in WATCHED}
    found = {f"{name}.{key}": id(value) for name, owner in owners.items() for key, value in vars(owner).items()}
    from torch.overrides import _get_current_function_mode_stack

    found |= {f"sys.modules.{name}": id(module) for name, module in sys.modules.items()}
    return found | {"modes": len(_get_current_function_mode_stack())}


def differing(before: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What is gone, is another or is new; but a module may be new, torch imports some when they are first asked for."""
    imported = {key for key in set(other) - set(before) if key.startswith("sys.modules.")}
    return sorted(key for key in set(before | other) - imported if before.get(key) != other.get(key))


def snapshots() -> tuple[list[str], list[str], list[str]]:
    """What differs within the backend and after it, and the stand-ins still loaded."""
    import torch

    from glide_nemo.cpu import megatron_on_cpu

    before = snapshot()
    with megatron_on_cpu():
        within = snapshot()
        assert torch.empty(1, device="cuda").device.type == "cpu"
        assert torch.empty(1).type() == "torch.cuda.FloatTensor"
    after = snapshot()
    leftover = [
        name
        for name, module in sys.modules.items()
        if name.split(".")[0] in STAND_INS and (module is None or module.__spec__.loader is None)
    ]
    return differing(before, within), differing(before, after), leftover


def test_leaving_the_backend_puts_everything_back() -> None:
    fork_server.start(PRELOAD)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as process:
        within, after, leftover = process.submit(snapshots).result()
    assert {"torch.cuda.is_available", "torch.Tensor.cuda", "torch.distributed.new_group", "modes"} <= set(within)
    assert after == []
    assert leftover == []


def postponed() -> tuple[set[str], list[object], bool]:
    """Which packages are imported with Megatron; what Bridge hears of ModelOpt before it is imported, and after."""
    from megatron.bridge.training import checkpointing, gpt_step

    from glide_nemo.cpu.postponed import MODELOPT

    loaded = {"wandb", "trl", *MODELOPT} & set(sys.modules)
    model = torch.nn.Linear(2, 2)
    answers = [checkpointing.save_sharded_modelopt_state([model], "nowhere"), isinstance(model, gpt_step.mtd.convert)]
    import modelopt.torch.opt
    import modelopt.torch.opt.plugins
    import sklearn.metrics  # noqa: F401
    import wandb  # noqa: F401

    converted = modelopt.torch.opt.ModeloptStateManager.is_converted(model)
    return loaded, [*answers, checkpointing.save_sharded_modelopt_state([model], "nowhere")], converted


def test_what_training_does_not_call_is_imported_when_it_is_first_asked_for() -> None:
    fork_server.start(PRELOAD)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as process:
        assert process.submit(postponed).result() == (set(), [None, False, None], False)


@pytest.fixture
def module() -> ModuleType:
    made = ModuleType("engine")
    made.__version__ = "1.2.3"
    made.run = original
    return made


def original() -> str:
    return "original"


def test_a_seam_is_replaced_and_put_back(module: ModuleType) -> None:
    with Seams() as seams:
        assert seams.replace(module, "run", len, answers="a test") is original
        assert module.run is len
    assert module.run is original


def test_seams_are_put_back_where_entering_fails_half_way(module: ModuleType) -> None:
    with pytest.raises(GlideError), Seams() as seams:
        seams.replace(module, "run", len, answers="a test")
        seams.replace(module, "absent", len, answers="a test")
    assert module.run is original


def test_a_static_method_and_an_inherited_one_are_put_back_as_they_were() -> None:
    class Parent:
        @staticmethod
        def static() -> str:
            return "static"

        def inherited(self) -> str:
            return "parent"

    class Child(Parent):
        pass

    before = dict(vars(Parent)), dict(vars(Child))
    with Seams() as seams:
        seams.replace(Parent, "static", staticmethod(lambda: "other"), answers="a test")
        seams.replace(Child, "inherited", lambda self: "child", answers="a test")
        assert (Child().static(), Child().inherited(), Parent().inherited()) == ("other", "child", "parent")
    assert (dict(vars(Parent)), dict(vars(Child))) == before


@pytest.mark.parametrize(
    ("module_name", "attribute", "missing"),
    [
        ("torch.nn", "NoSuchLayer", "torch.nn has no 'NoSuchLayer'"),
        ("torch.nn:Module", "no_such_method", "torch.nn.modules.module.Module has no 'no_such_method'"),
        ("torch.nn:NoSuchModule", "forward", "torch.nn has no 'NoSuchModule'"),
        ("torch.no_such_module", "forward", "cannot import torch.no_such_module"),
    ],
)
def test_a_missing_seam_names_itself_its_reason_and_the_installed_version(
    module_name: str, attribute: str, missing: str
) -> None:
    with pytest.raises(GlideError) as told, Seams() as seams:
        seams.replace_in(module_name, attribute, None, answers="core/some_file.py:12")
    message = str(told.value)
    assert missing in message and "core/some_file.py:12" in message
    assert f"torch {importlib.metadata.version('torch')}" in message
    assert "\n" not in message


def test_a_wrapped_function_calls_the_one_it_replaces(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    monkeypatch.setitem(sys.modules, "engine", module)
    with Seams() as seams:
        seams.wrap_in("engine", "run", lambda run: lambda: f"wrapped {run()}", answers="a test")
        assert module.run() == "wrapped original"
    assert module.run() == "original"
