"""Checks that a tokenizer's two forms, SentencePiece and tokenizer.json, are one: the same ids for every string."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError

# What tokenizers are known to treat differently from one another.
ADVERSARIAL = (
    "",
    " ",
    "  leading, trailing  ",
    *(" " * n for n in (3, 5, 7, 8, 15, 16, 17, 63, 100)),
    "\n", "\n\n\n", "\r\n", "\t\tif x:\n\t\t\treturn", " \n \n", "\u00a0\u2009\u3000\u200b", "▁", "a▁b ▁ c",
    "1234567890", "3.14159e-10", "0x1F600", "v1.2.3-rc4+5",
    "naïve café", "nai\u0308ve cafe\u0301", "Ａｆｕｌｌｗｉｄｔｈ", "ﬁ ﬂ ﬀ ½ ² ™",
    "Straße, Äpfel, „Übergröße“ – ‚so‘ … 10 €", "STRASSE ẞ ß",
    "👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️", "日本語の文章です。", "한국어", "العربية", "עִבְרִית", "ไทย", "हिन्दी", "𝔘𝔫𝔦",
    "def f(x: int) -> int:\n    return {'a': [x ** 2, \"b\"]}  # ok\n", "<a href='x'>&amp;</a>", "C:\\dir\\file",
    "aaaaaaaaaaaaaaaa", "ababababab", "----====----", "......", "\x00\x01\x7f", "\U0010ffff",
    "<0x0A>", "<0xFF><0x00>", "<s></s><unk><pad>", "<|endoftext|>", "<|im_start|>user\nhi<|im_end|>", "<|reserved_0|>",
)  # fmt: skip


def check(directory: Path, texts: Sequence[str]) -> dict[str, int]:
    """Encodes `texts` and the adversarial strings with both forms in a tokenizer directory, and decodes them again.

    Special tokens written out in text are text here (`encode_special_tokens`), as they are to SentencePiece.

    Returns how many strings and tokens were compared. Raises GlideError for the first string that differs, and for a
    control symbol that llama.cpp, which merges without regard to a piece's type, could build from ordinary pieces.
    """
    import sentencepiece
    import tokenizers

    processor = sentencepiece.SentencePieceProcessor(model_file=os.fspath(directory / "tokenizer.model"))
    fast = tokenizers.Tokenizer.from_file(os.fspath(directory / "tokenizer.json"))
    fast.encode_special_tokens = True

    _refuse_reachable_symbols(processor)
    tokens = 0
    strings = [*ADVERSARIAL, *texts]
    for text in strings:
        expected = processor.encode(text)
        found = fast.encode(text, add_special_tokens=False).ids
        if found != expected:
            where = around(expected, found, processor)
            raise GlideError(f"tokenizer.json in {directory} disagrees with SentencePiece on {where!r}: report it")
        if fast.decode(found, skip_special_tokens=False) != text.replace("▁", " "):
            raise GlideError(f"tokenizer.json in {directory} does not decode what it encoded, {text[:60]!r}: report it")
        tokens += len(expected)
    return {"strings": len(strings), "tokens": tokens, "mismatches": 0}


def _refuse_reachable_symbols(processor: Any) -> None:
    pieces = [processor.id_to_piece(i) for i in range(processor.piece_size())]
    known = set(pieces)
    for symbol in (piece for i, piece in enumerate(pieces) if processor.is_control(i) or processor.is_unknown(i)):
        for cut in range(1, len(symbol)):
            if symbol[:cut] in known and symbol[cut:] in known:
                raise GlideError(
                    f"the pieces {symbol[:cut]!r} and {symbol[cut:]!r} merge into the control symbol {symbol}: "
                    "leave documents that write it out of the corpus"
                )


def around(expected: list[int], found: list[int], processor: Any) -> str:
    """The text near the first differing token."""
    same = next((i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), 0)
    return processor.decode(expected[max(0, same - 3) : same + 5])
