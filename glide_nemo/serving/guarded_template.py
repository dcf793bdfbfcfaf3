"""A chat template in which what people type cannot become a control symbol, for servers that tokenize rendered text.

llama.cpp's server, vLLM and TensorRT-LLM render the template to one string and then look for special tokens in all of
it, in the template's own text and in the messages alike. `<|im_end|>` typed by a user would end their turn. GLiDE's
own `glide chat` and its training put turns together from token ids; here the template does what can be done in text:
it puts an invisible character behind the first one of a control symbol that a message spells out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

WORD_JOINER = "\u2060"  # of no width, and never a place to break a line
PRINTED = re.compile(r"\{\{(-?)(.*?)(-?)\}\}", re.DOTALL)


def guarded(template: str, symbols: Iterable[str]) -> str | None:
    """The template with every value that it prints made harmless; None where it prints control symbols as values.

    In GLiDE's template control symbols stand outside of `{{ }}`, and data inside, so that the two can be told apart.
    """
    stems = _stems(symbols)
    if any(stem in expression for _, expression, _ in PRINTED.findall(template) for stem in stems):
        return None

    def guard(match: re.Match[str]) -> str:
        before, expression, after = match.groups()
        replaced = "".join(f" | replace({_quoted(stem)}, {_quoted(_broken(stem))})" for stem in stems)
        return f"{{{{{before} ({expression.strip()}){replaced} {after}}}}}"

    return PRINTED.sub(guard, template)


def _stems(symbols: Iterable[str]) -> list[str]:
    """Symbols without what only counts them: `<|reserved_` stands for all of `<|reserved_0|>` and on."""
    return sorted({re.sub(r"\d+\|>$", "", symbol) for symbol in symbols})


def _broken(stem: str) -> str:
    return f"{stem[0]}{WORD_JOINER}{stem[1:]}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
