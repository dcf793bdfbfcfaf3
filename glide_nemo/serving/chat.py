"""`glide chat`: a model at the terminal, streaming; or prompts from a pipe, one a line, answered on stdout."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from glide_nemo.console import console
from glide_nemo.serving.find import Found, find
from glide_nemo.serving.writers import Writer, llama_cpp_writer, transformers_writer
from glide_nemo.tokenizer.chat import Turn, turn_tokens
from glide_nemo.tokenizer.special import END_OF_TEXT

LEAVE = ("/exit", "/quit")


def chat(model: Path, runtime: str, max_tokens: int, temperature: float, seed: int) -> None:
    """Talks to a model until end of input or /exit. Ctrl-C stops an answer, and at the prompt leaves.

    A model that was not trained on turns is not asked questions: it goes on with the text it is given.
    Raises GlideError where there is no model to talk to.
    """
    found = find(model, runtime)
    sys.stdin.reconfigure(errors="replace")  # a pipe may hold anything
    with opened(found) as writer:
        if sys.stdin.isatty():
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401, arrow keys and history at the prompt
            _greet(found)
        turns: list[Turn] = []
        for line in _lines():
            turns = [*turns, ("user", line)] if found.chat else []
            ids = turn_tokens(writer, turns) if found.chat else text_tokens(writer, line)
            answer = _print(_write(writer, ids, max_tokens, temperature, seed))
            turns.append(("assistant", answer))


def complete(
    model: Path,
    prompts: Sequence[str],
    max_tokens: int,
    seed: int = 0,
    *,
    temperature: float = 0.0,
    runtime: str = "auto",
) -> list[str]:
    """What a model writes after each prompt, as `glide chat` would load and ask it (run, directory or .gguf file).

    Greedy unless `temperature` is positive; then the same seed gives the same text. Special tokens are not shown.
    """
    with opened(find(model, runtime)) as writer:
        return ["".join(_write(writer, text_tokens(writer, text), max_tokens, temperature, seed)) for text in prompts]


def opened(found: Found) -> contextlib.AbstractContextManager[Writer]:
    """The writer of a model that was found, freed on leaving."""
    return llama_cpp_writer(found.path) if found.runtime == "llama_cpp" else transformers_writer(found.path)


def text_tokens(writer: Writer, text: str) -> list[int]:
    """A document that begins with `text`: in training every one but the first follows an end of text."""
    return [writer.symbol(END_OF_TEXT), *writer.encode(text)]


def _greet(found: Found) -> None:
    does = "answers" if found.chat else "was not trained to chat: it goes on with the text you type"
    console.print(f"[dim]{found.path} in {found.runtime} {does}. Ctrl-C stops it, /exit or Ctrl-D leaves.[/dim]")


def _lines() -> Iterator[str]:
    """Prompts: from the terminal until /exit, Ctrl-D or Ctrl-C; from a pipe until it ends."""
    while True:
        try:
            line = input("> ") if sys.stdin.isatty() else _piped()
        except (EOFError, KeyboardInterrupt):
            if sys.stdin.isatty():
                print()
            return
        if line.strip() in LEAVE:
            return
        if line.strip():
            yield line


def _piped() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _print(pieces: Iterator[str]) -> str:
    """Prints an answer as it is written and returns it; Ctrl-C ends it."""
    written = []
    try:
        for piece in pieces:
            written.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pieces.close()
    print(flush=True)
    return "".join(written)


def _write(writer: Writer, ids: list[int], max_tokens: int, temperature: float, seed: int) -> Iterator[str]:
    """Writes on within the context: a prompt that leaves no room loses its beginning, down to half the context."""
    room = max(writer.context - max_tokens, writer.context // 2)
    if len(ids) > room:
        console.print(f"[dim]the first {len(ids) - room} tokens do not fit into {writer.context}, left out[/dim]")
    kept = ids[-room:]
    return writer.write(kept, min(max_tokens, writer.context - len(kept)), temperature, seed)
