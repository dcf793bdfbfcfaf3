"""Many texts to token ids at once: several times as fast as SentencePiece, and checked on the way to give its ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glide_nemo.errors import GlideError
from glide_nemo.tokenizer import agreement
from glide_nemo.tokenizer.train import load_processor

CHECKED = 64  # one text in as many is encoded by SentencePiece too: a fiftieth of the time that it takes for all


class BulkEncoder:
    """fastokens on a directory's tokenizer.json, its ids compared with those of the SentencePiece model beside it.

    It cuts text where no piece joins two characters, keeps the ids of what lies between in caches of bounded size, and
    makes no Python object for a token. All cores share a batch; the ids do not depend on how many there are.
    """

    def __init__(self, directory: Path) -> None:
        """Raises GlideError where the two differ on a string that tokenizers are known to treat differently."""
        import fastokens

        self._directory = directory
        self._processor = load_processor(directory)
        self.eos_id: int = self._processor.eos_id()
        self.vocab_size: int = self._processor.piece_size()
        stored, self._ids = _spelled_out(json.loads((directory / "tokenizer.json").read_text(encoding="utf-8")))
        self._fast = fastokens.Tokenizer.from_json_str(json.dumps(stored))
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
        return self._ids[numpy.frombuffer(ids, "<u4")], numpy.frombuffer(starts, "<u8").astype("<i8")

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


def _spelled_out(stored: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """tokenizer.json with every ASCII character as an entry, and the ids of its entries in the tokenizer (uint32).

    Where a character of an entry's name is itself no entry, fastokens 0.3.5 takes text that spells the name for the
    entry, merges or not: "<0x0A>" for a newline, a control symbol for one. So each character without a piece gets an
    id past the end here, and stands for its byte.
    """
    import numpy

    vocabulary: dict[str, int] = stored["model"]["vocab"]
    ids = list(range(len(vocabulary)))
    for byte in range(128):
        if chr(byte) not in vocabulary:
            vocabulary[chr(byte)] = len(ids)
            ids.append(vocabulary[f"<0x{byte:02X}>"])
    if unknown := set("".join(vocabulary)) - vocabulary.keys():
        raise GlideError(f"a piece holds {min(unknown)!r}, which is no piece: train the tokenizer again")
    return stored, numpy.array(ids, "<u4")
