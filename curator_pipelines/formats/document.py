"""What every format yields, and what makes a string a text: the same rules whatever file it came from."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_CONTROL = 0.001  # share of control characters from which a text is a binary file
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")  # Unicode's Cc without tab and line breaks
CHECKED = 1 << 16  # characters; a binary file shows what it is in its first
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",  # before UTF-16's, which they begin with
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A document as its file has it. An empty license is one that the file does not state."""

    url: str
    text: str
    license: str = ""


@dataclass(frozen=True)
class Lost:
    """What could not become a document: where it stood, why, the figure behind it, and what there was of it."""

    url: str
    reason: str
    score: float | None
    bytes: int
    content: bytes = b""  # for its id


class Unusable(Exception):
    """A document that cannot be used: the reason and the figure behind it."""

    def __init__(self, reason: str, score: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.score = score


def decode_text(content: bytes) -> str:
    """A file as text: by its byte order mark, as UTF-8, or as what it looks like. Unusable where it is none."""
    from curator_pipelines.stages.extract_html import MAX_REPLACED, decode

    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "")
    if encoding:
        text = content.decode(encoding, errors="replace")
        replaced = text.count("\ufffd") / max(1, len(text))
        text = text.replace("\ufffd", "")
    elif b"\0" in content[:CHECKED]:
        raise Unusable("binary", content.count(b"\0") / len(content))
    else:
        text, replaced = decode(content, "")
    if replaced > MAX_REPLACED:
        raise Unusable("undecodable_text", replaced)
    return usable(text)


def usable(text: Any) -> str:
    """The text without what UTF-8 cannot hold (lone surrogates). Unusable for no string, no text, and no prose."""
    if not isinstance(text, str) or not text.strip():
        raise Unusable("no_text", 0.0)
    start = text[:CHECKED]
    control = len(CONTROL.findall(start))
    if control > MAX_CONTROL * len(start):
        raise Unusable("binary", control / len(start))
    return text.encode("utf-8", "ignore").decode("utf-8")


def row_document(row: Mapping[str, Any], fields: Mapping[str, str], place: str) -> Found:
    """A row of a table (JSON object, parquet) as a document. Unusable where its text is none.

    Without an address it goes by its file and its own id or, without one, its place there.
    """
    text = usable(row.get(fields["text_field"]))
    name, _, offset = place.rpartition("#")
    own = row.get(fields["id_field"]) if fields["id_field"] else None
    url = row.get(fields["url_field"]) or f"{name}#{offset if own is None else own}"
    return Found(_line(url), text, _license(row.get(fields["license_field"])))


def _license(value: Any) -> str:
    """An SPDX expression; of a list of licences all hold, as in The Stack."""
    if isinstance(value, (list, tuple)):
        return " AND ".join(sorted({_line(item) for item in value if item}))
    return _line(value) if value else ""


def _line(value: Any) -> str:
    return " ".join(str(value).encode("utf-8", "ignore").decode("utf-8").split())
