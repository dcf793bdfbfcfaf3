"""Keeps the Hugging Face libraries from asking any hub: they count downloads and look up names even for local files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "no_proxy": "127.0.0.1",  # a server of ours is asked directly; goes before NO_PROXY
}
# Where modules that are imported already keep what they read from those variables.
COPIES = (
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_DATASETS_OFFLINE"),
    ("evaluate.config", "HF_EVALUATE_OFFLINE"),
)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Inside, no hub is asked for anything; what was set before holds again after."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    changed = []
    os.environ.update(VARIABLES)
    for module_name, name in COPIES:
        module = sys.modules.get(module_name)
        if module is not None and hasattr(module, name):
            changed.append((module, name, getattr(module, name)))
            setattr(module, name, True)
    try:
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
