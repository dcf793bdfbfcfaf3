"""Many texts to token ids at once: several times as fast as SentencePiece, and checked on the way to give its ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError
from glide_nemo.tokenizer import agreement
from glide_nemo.tokenizer.train import load_processor

CHECKED = 64  # one text in as many is encoded by SentencePiece too: a fiftieth of the time that it takes for all


class BulkEncoder:
    """fastokens on a directory's tokenizer.json, its ids compared with those of the SentencePiece model beside it.

    It keeps the ids of words it has met, in a cache of bounded size, and has no Python object for a token: what costs
    SentencePiece most. A batch is spread over all cores; the ids do not depend on how many.
    """

    def __init__(self, directory: Path) -> None:
        """Raises GlideError where the two differ on a string that tokenizers are known to treat differently."""
        import fastokens

        self._directory = directory
        self._fast = fastokens.Tokenizer.from_file(os.fspath(directory / "tokenizer.json"))
        self._processor = load_processor(directory)
        self.eos_id: int = self._processor.eos_id()
        self.vocab_size: int = self._processor.piece_size()
        self._compare(agreement.ADVERSARIAL, *self._encode(agreement.ADVERSARIAL))

    def encode(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """The ids of all texts in a row, uint32, and where each text starts, one more than there are texts.

        Control symbols written out in a text are text. Raises GlideError where SentencePiece has other ids.
        """
        ids, starts = self._encode(texts)
        self._compare(texts, ids, starts, CHECKED)
        return ids, starts

    def _encode(self, texts: Sequence[str]) -> tuple[Any, Any]:
        import numpy

        ids, starts = self._fast.encode_batch_flat(list(texts), split_special_tokens=True)
        return numpy.frombuffer(ids, "<u4"), numpy.frombuffer(starts, "<u8").astype("<i8")

    def _compare(self, texts: Sequence[str], ids: Any, starts: Any, every: int = 1) -> None:
        for number in range(0, len(texts), every):
            found = ids[starts[number] : starts[number + 1]].tolist()
            expected = self._processor.encode(texts[number])
            if found != expected:
                where = agreement.around(expected, found, self._processor)
                raise GlideError(
                    f"tokenizer.json in {self._directory} gives other ids than tokenizer.model near {where!r}: "
                    "train the tokenizer again, with the pinned requirements"
                )
