"""Markdown from text of unknown origin: nothing in an address, a name or a reason becomes markup."""

from __future__ import annotations

import re
from typing import Any

# Characters that turn the text around them, or that no terminal shows.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
MARKUP = re.compile(r"([\\`*_{}\[\]()#|~!$])")
LONGEST = 160  # characters of an address


class Markdown(str):
    """Text that is markup on purpose; any other is escaped."""


def escaped(value: Any) -> str:
    """Text for a cell or paragraph of Markdown: nothing in it is markup, HTML or the end of a cell."""
    if isinstance(value, Markdown):
        return value
    if not isinstance(value, str):
        return str(value)
    text = UNPRINTABLE.sub("\ufffd", value).replace("&", "&amp;").replace("<", "&lt;")
    return MARKUP.sub(r"\\\1", text)


def code(value: str) -> Markdown:
    """An id or address as it is, cut where it is very long."""
    text = UNPRINTABLE.sub("\ufffd", str(value)).replace("`", "'").replace("|", "\\|")
    return Markdown(f"`{text[:LONGEST]}{'…' if len(text) > LONGEST else ''}`" if text.strip() else "–")
