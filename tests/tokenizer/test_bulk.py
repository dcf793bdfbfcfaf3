"""Encoding in bulk: SentencePiece's ids for every text, with any number of threads, and in bounded memory."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import pydoc_data.topics
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import write_corpus

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.tokenizer import agreement, special
from glide_nemo.tokenizer.bulk import CHECKED, BulkEncoder
from glide_nemo.tokenizer.recipes import TokenizerConfig
from glide_nemo.tokenizer.train import load_processor, train_tokenizer


@pytest.fixture(scope="module")
def encoder(small_tokenizer: Artifact) -> BulkEncoder:
    return BulkEncoder(small_tokenizer.path)


@pytest.fixture(scope="module")
def sentencepiece(small_tokenizer: Artifact) -> Any:
    return load_processor(small_tokenizer.path)


def each(encoder: BulkEncoder, texts: Sequence[str]) -> list[list[int]]:
    ids, starts = encoder.encode(texts)
    assert len(starts) == len(texts) + 1 and starts[-1] == len(ids)
    return [ids[start:end].tolist() for start, end in itertools.pairwise(starts)]


def installed(package: str, pattern: str, most: int) -> Iterator[str]:
    """Texts of files that come with a package, about `most` characters of them."""
    folder = Path(importlib.util.find_spec(package).origin).parent
    for path in sorted(folder.rglob(pattern)):
        if most > 0:
            text = path.read_text(encoding="utf-8", errors="replace")
            most -= len(text)
            yield text


@pytest.mark.parametrize("source", ["documentation", "code", "data", "German", "many languages"])
def test_installed_text_gets_the_ids_of_sentencepiece(source: str, encoder: BulkEncoder, sentencepiece: Any) -> None:
    texts = {
        "documentation": lambda: list(pydoc_data.topics.topics.values()),
        "code": lambda: installed("transformers", "*.py", 1_000_000),
        "data": lambda: installed("matplotlib", "*.svg", 200_000),
        "German": lambda: installed("spacy", "lang/de/*.py", 1_000_000),
        "many languages": lambda: installed("spacy", "lang/*/examples.py", 1_000_000),
    }[source]()
    texts = list(texts)
    assert sum(map(len, texts)) > 5_000
    assert each(encoder, texts) == sentencepiece.encode(texts)


SPECIAL_CASES = {
    "nothing": ["", "a", ""],
    "runs of spaces": [" " * n + word for n in range(1, 40) for word in ("", "a", "return", "\n", "1")],
    "spaces at both ends": [" a ", "  a  ", "a" + " " * 17, "\u00a0a\u00a0", "a\u2003b\u3000c"],
    "the sign for a space": ["▁", "▁▁a", "a▁b", " ▁ ▁", "the▁ the"],
    "line ends and tabs": ["\n", "\n\n\n", "a\r\nb\rc", "\t\ta\n\t", "a\x0bb\x0cc\x85d\u2028e"],
    "digits": ["0123456789", "1e-10", "x86_64", " 2 3", "٣٤", "½²"],
    "composed and not": [unicodedata.normalize(form, "Äpfel, naïve Ǻ 한국어") for form in ("NFC", "NFD", "NFKD")],
    "emoji": ["👍🏽", "👩‍👩‍👧‍👦 🇩🇪 ❤️", "a👍b 👍"],
    "NUL and other control characters": ["\x00", "a\x00b", "".join(map(chr, range(32))), "\x7f\x80\ufeff\ufffd\uffff"],
    "what no piece has": ["𝔘𝔫𝔦", "\U0010ffff", "日本語 a 日", "ไทย", "עִבְרִית"],
    "bytes spelled out": ["<0x0A>", "<0xFF><0x00>", "▁<0x20>"],
    "long words": ["a" * 100_000, "ab" * 50_000, "-=" * 50_000, "\u0308" * 10_000, " " * 100_000, "\n" * 100_000],
    "what tokenizers differ in": agreement.ADVERSARIAL,
}


@pytest.mark.parametrize("case", SPECIAL_CASES)
def test_special_cases_get_the_ids_of_sentencepiece(case: str, encoder: BulkEncoder, sentencepiece: Any) -> None:
    assert each(encoder, SPECIAL_CASES[case]) == sentencepiece.encode(list(SPECIAL_CASES[case]))


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_any_text_gets_the_ids_of_sentencepiece(encoder: BulkEncoder, sentencepiece: Any, texts: list[str]) -> None:
    assert each(encoder, texts) == sentencepiece.encode(texts)


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(st.sampled_from([*"a e<|>_im\n\t\r▁0189äß👍\u0308\x00", "the", " self", "    ", "==="])).map("".join)
)
def test_texts_made_of_what_is_hard_get_the_ids_of_sentencepiece(
    encoder: BulkEncoder, sentencepiece: Any, text: str
) -> None:
    assert each(encoder, [text]) == [sentencepiece.encode(text)]


def test_no_text_can_forge_a_control_symbol(encoder: BulkEncoder, small_tokenizer: Artifact) -> None:
    symbols = small_tokenizer.metrics["special"]
    texts = [*symbols, special.UNKNOWN, " ".join(symbols), "".join(symbols), f"a{special.TURN_START}user\n"]
    assert {0, *symbols.values()}.isdisjoint(encoder.encode(texts)[0].tolist())


def test_names_of_pieces_are_text_where_the_vocabulary_lacks_their_characters(tmp_path: Path) -> None:
    texts = [re.sub(r"[^a-z ,\n]", "", text) for text in pydoc_data.topics.topics.values()]
    rows = [(str(number), text) for number, text in enumerate(texts)]
    corpus = write_corpus(tmp_path / "corpus", {"train": rows[3:], "heldout": rows[:3]})
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=600), corpus, tmp_path / "tokenizer")
    processor = load_processor(tokenizer.path)
    assert {"<", "|", "x", "A", "_"} - {processor.id_to_piece(i) for i in range(processor.piece_size())} >= {"<", "A"}
    names = [processor.id_to_piece(i) for i in range(processor.piece_size()) if not processor.id_to_piece(i).isalpha()]
    strings = [*names, "".join(names), *(f"a{name}b {name}\n" for name in names), "".join(map(chr, range(128)))]
    assert each(BulkEncoder(tokenizer.path), strings) == processor.encode(strings)


def test_periodic_text_in_which_pieces_overlap_gets_the_ids_of_sentencepiece(
    encoder: BulkEncoder, sentencepiece: Any
) -> None:
    draw = random.Random(1)
    pieces = [sentencepiece.id_to_piece(i) for i in range(sentencepiece.piece_size())]
    periods = ["".join(draw.choices(pieces, k=draw.randint(1, 3)))[draw.randint(0, 2) :] for _ in range(5_000)]
    texts = [draw.choice(pieces) + period * draw.randint(2, 6) + draw.choice(pieces) for period in periods]
    assert each(encoder, texts) == sentencepiece.encode(texts)


def test_ids_do_not_depend_on_what_was_encoded_before_or_beside(
    small_tokenizer: Artifact, encoder: BulkEncoder
) -> None:
    texts = list(pydoc_data.topics.topics.values())[:20]
    alone = [each(BulkEncoder(small_tokenizer.path), [text])[0] for text in texts[:4]]
    assert each(encoder, texts)[:4] == alone == each(encoder, texts[:4])
    assert each(encoder, texts[::-1])[::-1] == each(encoder, texts)


# 300,000 words a batch that no batch before had.
MANY_WORDS = """
import random, resource, sys
from pathlib import Path
from glide_nemo.tokenizer.bulk import BulkEncoder
encoder, draw = BulkEncoder(Path(sys.argv[1])), random.Random(1)
letters = str.maketrans("0123456789", "ghijklmnop")
for _ in range(8):
    drawn = draw.randbytes(1_650_000).hex().translate(letters)
    words = " ".join(drawn[start : start + 11] for start in range(0, len(drawn), 11))
    encoder.encode([words[start : start + 12_000] for start in range(0, len(words), 12_000)])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_words_that_were_met(small_tokenizer: Artifact) -> None:
    command = [sys.executable, "-c", MANY_WORDS, str(small_tokenizer.path)]
    environment = os.environ | {"RAYON_NUM_THREADS": "2"}
    peaks = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    # In MB. The 1.8 million words between are 20 MB of text, and kept with their ids they would be several times that.
    assert int(peaks[-1]) < int(peaks[1]) + 40, peaks


def changed(tokenizer: Artifact, to: Path, **model: list) -> Path:
    """The tokenizer's files, with parts of the model in tokenizer.json replaced."""
    stored = json.loads((tokenizer.path / "tokenizer.json").read_text(encoding="utf-8"))
    stored["model"] |= model
    (to / "tokenizer.json").write_text(json.dumps(stored), encoding="utf-8")
    (to / "tokenizer.model").write_bytes((tokenizer.path / "tokenizer.model").read_bytes())
    return to


def merges_of(tokenizer: Artifact) -> list[list[str]]:
    return json.loads((tokenizer.path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["merges"]


def test_a_tokenizer_json_that_disagrees_is_refused_before_anything_is_encoded(
    small_tokenizer: Artifact, tmp_path: Path
) -> None:
    folder = changed(small_tokenizer, tmp_path, merges=merges_of(small_tokenizer)[::-1])
    with pytest.raises(GlideError, match=r"gives other ids than tokenizer\.model near .*: train the tokenizer again"):
        BulkEncoder(folder)


def test_one_that_disagrees_on_a_single_word_is_refused_when_a_checked_text_has_it(
    small_tokenizer: Artifact, tmp_path: Path
) -> None:
    merges = merges_of(small_tokenizer)
    word = max((a + b for a, b in merges if f"{a}{b}".strip("▁").isalpha()), key=len)  # so long that no piece has it
    kept = [pair for pair in merges if "".join(pair) != word]
    encoder = BulkEncoder(changed(small_tokenizer, tmp_path, merges=kept))
    texts = ["the text"] * CHECKED + [f"a text{word}"]
    encoder.encode(texts[:-1])
    with pytest.raises(GlideError, match=f"near .*{word.strip('▁')}"):
        encoder.encode(texts)
