"""Preference pairs: every form of a line, what is wrong with others, and the rows that are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
from small_corpus import write_corpus
from small_pairs import write_pairs

from glide_nemo.artifact import Artifact
from glide_nemo.data.documented_pairs import DocumentedPairsConfig, derive_pairs
from glide_nemo.data.preferences import PreferencesConfig, pack_preferences
from glide_nemo.errors import GlideError
from glide_nemo.tokenizer.train import load_processor


def packed(folder: Path, lines: list[str | bytes], tokenizer: Artifact, **config: float) -> Artifact:
    data = folder / "pairs.jsonl"
    data.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    settings = {"seq_length": 64, "heldout_share": 0.3} | config
    return pack_preferences(PreferencesConfig(**settings), [data], tokenizer, folder / "out")


def rows(pairs: Artifact, split: str, tokenizer: Artifact) -> list[tuple[str, str]]:
    """What the model reads, and the answer of it, of each row."""
    lengths = numpy.frombuffer((pairs.path / f"{split}.idx").read_bytes(), "<i4", 2 * pairs.metrics[split]["pairs"], 34)
    tokens = numpy.fromfile(pairs.path / f"{split}.bin", pairs.metrics["dtype"])
    begins = numpy.load(pairs.path / f"{split}.answers.npy")
    processor, found, at = load_processor(tokenizer.path), [], 0

    def text(ids: numpy.ndarray) -> str:
        return "".join(
            processor.id_to_piece(int(i)) if processor.is_control(int(i)) else processor.decode([int(i)]) or " "
            for i in ids
        )

    for length, answer in zip(lengths, begins, strict=True):
        ids = tokens[at : at + length]
        at += length
        found.append((text(ids[:answer]), text(ids[answer:])))
    return found


def test_a_pair_is_two_rows_that_share_the_prompt(small_tokenizer: Artifact, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", 40)
    pairs = pack_preferences(PreferencesConfig(heldout_share=0.3), [data], small_tokenizer, tmp_path / "out")
    assert pairs.metrics["train"]["pairs"] + pairs.metrics["heldout"]["pairs"] == 40
    found = rows(pairs, "train", small_tokenizer)
    for (prompt, chosen), (again, rejected) in zip(found[::2], found[1::2], strict=True):
        assert prompt == again
        assert prompt.startswith("<|im_start|>user") and prompt.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert "return" in chosen and "raise" in rejected
        assert chosen.endswith("<|im_end|>") and rejected.endswith("<|im_end|>")


def test_all_forms_of_a_pair_are_the_same_pair(small_tokenizer: Artifact, tmp_path: Path) -> None:
    user = {"role": "user", "content": "Why?"}
    good, bad = ({"role": "assistant", "content": content} for content in ("Because.", "No."))
    forms = [
        {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
        {"prompt": [user], "chosen": [good], "rejected": [bad]},
        {"messages": [user], "chosen": "Because.", "rejected": [bad]},
        {"chosen": [user, good], "rejected": [user, bad]},
    ]
    (tmp_path / "heldout.jsonl").write_text(json.dumps(forms[0]))
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, forms)))
    pairs = pack_preferences(
        PreferencesConfig(), [tmp_path / "pairs.jsonl"], small_tokenizer, tmp_path / "out",
        heldout=[tmp_path / "heldout.jsonl"],
    )  # fmt: skip
    found = rows(pairs, "train", small_tokenizer)
    assert len(found) == 8 and set(found[::2]) == {found[0]} and set(found[1::2]) == {found[1]}


BAD = {
    b'{"prompt": "a", "chosen": ': "not JSON",
    b"[1, 2]": "not a JSON object",
    b"\xff\xfe": "not UTF-8",
    b'{"prompt": "a", "chosen": "b"}': "no field 'rejected'",
    b'{"chosen": "a", "rejected": "b"}': "no field 'prompt'",
    b'{"prompt": " ", "chosen": "a", "rejected": "b"}': "empty prompt",
    b'{"prompt": "a", "chosen": "", "rejected": "b"}': "empty answer",
    b'{"prompt": "a", "chosen": "b", "rejected": "b"}': "both answers are the same",
    b'{"prompt": [{"role": "bard", "content": "a"}], "chosen": "b", "rejected": "c"}': "unknown role 'bard'",
    b'{"prompt": "a", "chosen": [{"role": "user", "content": "b"}], "rejected": "c"}': "'chosen' is not one turn of the assistant",  # noqa: E501
    json.dumps({"prompt": "far too long " * 99, "chosen": "a", "rejected": "b"}).encode(): "prompt longer than the context of 64 tokens",  # noqa: E501
    json.dumps({"prompt": "a", "chosen": "b " * 99 + "c", "rejected": "b " * 99 + "d"}).encode(): "answers that differ only beyond the context of 64 tokens",  # noqa: E501
}  # fmt: skip


def test_lines_that_are_no_pair_are_listed_with_their_reason(small_tokenizer: Artifact, tmp_path: Path) -> None:
    good = write_pairs(tmp_path / "good.jsonl", 40).read_text().splitlines()
    pairs = packed(tmp_path, [*good, *BAD], small_tokenizer, max_bad_share=0.5)
    ledger = [json.loads(line) for line in (pairs.path / "rejections.jsonl").read_text().splitlines()]
    assert [entry["reason"] for entry in ledger] == list(BAD.values())
    assert [entry["line"] for entry in ledger] == list(range(41, 41 + len(BAD)))
    assert {entry["file"] for entry in ledger} == {"pairs.jsonl"}
    assert sum(pairs.metrics["rejected"].values()) == len(BAD)


def test_too_many_bad_lines_are_an_error_that_names_them(small_tokenizer: Artifact, tmp_path: Path) -> None:
    good = write_pairs(tmp_path / "good.jsonl", 40).read_text().splitlines()
    with pytest.raises(GlideError, match=r"1 of 41 lines are no pairs .*\(pairs.jsonl:41 not JSON\)"):
        packed(tmp_path, [*good, "{"], small_tokenizer)
    assert (tmp_path / "out" / "rejections.jsonl").read_text()


def test_answers_beyond_the_context_are_cut_and_counted(small_tokenizer: Artifact, tmp_path: Path) -> None:
    long = json.dumps({"prompt": "a", "chosen": "b c " * 99, "rejected": "d"})
    good = write_pairs(tmp_path / "good.jsonl", 20).read_text().splitlines()
    pairs = packed(tmp_path, [*good, long], small_tokenizer)
    assert pairs.metrics["train"]["cut"] + pairs.metrics["heldout"]["cut"] == 1


PAGE = """textwrap index

Module Reference

Text wrapping and filling.

Functions

dedent(text)
Remove any common leading whitespace from every line.

fill(text, width=70)
Fill a single paragraph of text, returning a new string.

indent(text, prefix)
Add a prefix to the beginning of selected lines.
"""


def test_pairs_of_a_corpus_set_a_documented_answer_beside_another_things(tmp_path: Path) -> None:
    splits = {"train": [("a", PAGE)], "heldout": [("b", PAGE.replace("textwrap", "wraptext"))]}
    corpus = write_corpus(tmp_path / "corpus", splits)
    derived = [derive_pairs(DocumentedPairsConfig(), corpus, tmp_path / name) for name in ("one", "two")]
    assert derived[0].sha256 == derived[1].sha256
    pairs = [json.loads(line) for line in (derived[0].path / "train.jsonl").read_text().splitlines()]
    of_fill = [pair for pair in pairs if "`textwrap.fill`" in pair["prompt"]]
    assert {pair["chosen"] for pair in of_fill} == {
        "Fill a single paragraph of text, returning a new string.", "`fill(text, width=70)`",
    }  # fmt: skip
    answers = {pair["chosen"] for pair in pairs}
    of_others = [pair["rejected"] in answers - {pair["chosen"]} for pair in pairs]
    assert any(of_others) and not all(of_others)
    for pair, of_another in zip(pairs, of_others, strict=True):
        if not of_another:  # the beginning twice
            words = pair["rejected"].split()
            half = words[: len(words) // 2]
            assert words == half * 2 and pair["chosen"].split()[: len(half)] == half
    assert "wraptext" not in (derived[0].path / "train.jsonl").read_text()
