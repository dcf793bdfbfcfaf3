"""What a server needs to know of a model before it loads it: its context, its chat template, its control symbols."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from glide_nemo.errors import GlideError


@dataclass(frozen=True)
class Described:
    """`context` is in tokens, prompt and answer together; `template` is None where the model has none."""

    context: int
    template: str | None
    symbols: tuple[str, ...]


def describe(path: Path) -> Described:
    """Reads a .gguf file or a Hugging Face directory. GlideError where it is neither, or cut short."""
    return _gguf(path) if path.suffix == ".gguf" else _hugging_face(path)


def _gguf(path: Path) -> Described:
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        pieces, kinds = (reader.fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type"))
        context = reader.fields[f"{reader.fields['general.architecture'].contents()}.context_length"].contents()
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise GlideError(f"not a model, {path} ({error}): pass a .gguf file that `glide export` wrote") from error
    special = (gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)
    numbers = [number for number, kind in enumerate(kinds.contents()) if kind in special]
    template = reader.get_field("tokenizer.chat_template")
    symbols = tuple(pieces.contents(number) for number in numbers)
    return Described(int(context), template.contents() if template else None, symbols)


def _hugging_face(path: Path) -> Described:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        tokenizer = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
        stated = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
        context = int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError) as error:
        raise GlideError(
            f"not a model, {path} ({error}): pass a run, a Hugging Face directory or a .gguf file"
        ) from error
    own = path / "chat_template.jinja"
    template = own.read_text(encoding="utf-8") if own.exists() else stated.get("chat_template")
    symbols = tuple(added["content"] for added in tokenizer.get("added_tokens", ()) if added["special"])
    return Described(context, template if isinstance(template, str) else None, symbols)
