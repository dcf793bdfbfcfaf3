"""The environment is one that can be installed in any order: no two packages write the same compiled module."""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict


def test_no_two_packages_install_the_same_compiled_module() -> None:
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for distribution in importlib.metadata.distributions():
        for path in distribution.files or ():
            if path.suffix == ".so":
                owners[str(path)].add(distribution.name)
    assert owners
    assert not {path: names for path, names in owners.items() if len(names) > 1}
