"""A blend as a file: named sources with a weight or a number of epochs each, in YAML or JSON.

    name: english
    sources:
      - {name: web, tokens: ../web/tokens, weight: 0.8}
      - {name: books, tokens: ../books/tokens, weight: 0.2}

A weight is a source's share of the tokens that a run sees, relative to the sum of all. `epochs: 2` in place of
`weight` asks for a share in proportion to two readings of all that the source holds; a file uses one of the two
throughout. Paths are relative to the file, so that it can be moved with what it names.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from glide_nemo.artifact import load
from glide_nemo.data.blend import Part
from glide_nemo.errors import GlideError

SUFFIXES = (".yaml", ".yml", ".json")
AMOUNTS = ("weight", "epochs")
MAX_BYTES = 1 << 20  # far more than any blend; YAML of hostile size takes minutes to read


def is_blend_file(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read_blend_file(path: Path) -> list[Part]:
    """The sources of a blend with their weights; of epochs, the weight is the tokens that they come to.

    Raises GlideError where the file or a source of it cannot be read, or does not say how much of it to use.
    """
    content = _parsed(path)
    sources = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(sources, list) or not sources:
        raise GlideError(f"no sources in {path}: list them under 'sources', each with name, tokens and weight")
    if unknown := [str(key) for key in content if key not in ("name", "sources")]:
        raise GlideError(f"unknown key '{unknown[0]}' in {path}: a blend has a name and sources")
    parts = [_part(path, number, source) for number, source in enumerate(sources, 1)]
    used = [amount for amount in AMOUNTS if any(amount in source for source in sources)]
    if len(used) == 2:
        raise GlideError(f"weights and epochs mixed in {path}: give every source a weight, or every one its epochs")
    names = [part.name for part in parts]
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise GlideError(f"two sources are called '{twice[0]}' in {path}: name each once")
    return parts


def _parsed(path: Path) -> Any:
    import yaml

    try:
        if path.stat().st_size > MAX_BYTES:
            raise GlideError(f"{path} has more than {MAX_BYTES} bytes: a blend lists sources, it does not hold text")
        return yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except FileNotFoundError:
        raise GlideError(f"no blend file {path}: check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1} of {path}" if mark else str(path)
        raise GlideError(f"cannot read {where} as YAML or JSON: correct it there") from None


def _part(path: Path, number: int, source: Any) -> Part:
    where = f"source {number} in {path}"
    if not isinstance(source, dict):
        raise GlideError(f"{where} is no mapping: write name, tokens and weight")
    if unknown := [str(key) for key in source if key not in ("name", "tokens", *AMOUNTS)]:
        raise GlideError(f"unknown key '{unknown[0]}', {where}: a source has name, tokens, and weight or epochs")
    if not isinstance(source.get("tokens"), str) or not source["tokens"]:
        raise GlideError(f"no tokens, {where}: name the directory that `glide tokens` wrote")
    given = [amount for amount in AMOUNTS if amount in source]
    if len(given) != 1:
        raise GlideError(f"{'both' if given else 'neither'} weight and epochs, {where}: give one of the two")
    amount = source[given[0]]
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not (math.isfinite(amount) and amount > 0):
        raise GlideError(f"{given[0]} {amount!r} is no positive number, {where}: write one such as 0.25")
    tokens = load(path.parent / source["tokens"], "tokens")
    share = float(amount) if given[0] == "weight" else float(amount) * tokens.metrics["train"]["tokens"]
    return Part(tokens, share, str(source.get("name") or tokens.path.resolve().name))
