"""Who imports whom: a room only rooms above it, nobody the CPU backend but through its one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Top to bottom, as in the README's tree. A room imports from rooms above it and from the ground floor.
ROOMS = (
    "model", "crawl", "tokenizer", "data", "cpu", "recipes", "planning", "training", "export", "serving", "evaluation",
    "release",
)  # fmt: skip
GROUND_FLOOR = {"errors", "plugins", "config", "console", "artifact", "steps", "corpus", "fork_server"}
DOOR = "commands"  # of the command line, which like the files beside it leads into every room
FILES = [path for path in sorted((ROOT / "glide_nemo").glob("*/**/*.py")) if path.parent.name != DOOR]


def imported(path: Path) -> Iterator[str]:
    """Dotted names of GLiDE's own that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("glide_nemo", "curator_pipelines"))


def test_the_list_of_rooms_is_whole() -> None:
    assert {path.relative_to(ROOT / "glide_nemo").parts[0] for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_imports_only_from_rooms_above_it(path: Path) -> None:
    room = path.relative_to(ROOT / "glide_nemo").parts[0]
    for name in imported(path):
        package, _, rest = f"{name}.".partition(".")
        assert package == "glide_nemo", f"{name} is another package's"
        target = rest.partition(".")[0]
        if target in GROUND_FLOOR | {"", room}:  # "" is the package itself, for its version
            continue
        assert target in ROOMS, f"{name} is a step further up the command line"
        assert ROOMS.index(target) < ROOMS.index(room), f"{name} lies below {room}"


@pytest.mark.parametrize("path", sorted((ROOT / "glide_nemo").glob("*.py")), ids=lambda path: path.name)
def test_the_ground_floor_imports_no_room(path: Path) -> None:
    if path.stem in GROUND_FLOOR:
        assert [name for name in imported(path) if name.partition(".")[2].partition(".")[0] in ROOMS] == []


def test_no_room_leads_back_to_the_door() -> None:
    leading = {
        path.relative_to(ROOT).as_posix()
        for package in ("glide_nemo", "curator_pipelines")
        for path in ROOT.glob(f"{package}/**/*.py")
        if path.parent.name != DOOR and any(name.startswith(f"glide_nemo.{DOOR}") for name in imported(path))
    }
    assert leading == {"glide_nemo/cli.py"}


def test_nobody_knows_the_cpu_backend_but_through_its_door() -> None:
    doors = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in ROOT.glob("glide_nemo/**/*.py")
        if path.parent.name != "cpu"
        for name in imported(path)
        if name.startswith("glide_nemo.cpu")
    }
    assert doors == {
        ("glide_nemo/training/worker.py", "glide_nemo.cpu.megatron_engine"),
        ("glide_nemo/training/preload.py", "glide_nemo.cpu.imports.import_megatron"),
    }
