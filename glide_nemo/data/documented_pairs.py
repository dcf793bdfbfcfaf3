"""The pairs step: preference pairs derived from a corpus, a documented answer beside one of another thing.

The questions are those of `questions.py`: what something does, what its arguments are, which function does something.
Preferred is the answer on the page. Rejected is, by the hash of the question, one of two, the second where there is no
other answer:

    the answer to the next question of that kind on the same page: as fluent and of the same subject, but wrong
    the answer with its beginning said again in place of its end, which is how small models fail

The first is for models that know the pages; nano, which does not, learns from the second. Pages of the train split give
`train.jsonl`, held-out pages `heldout.jsonl`: no page is in both.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.data.questions import QuestionsConfig, asked_of_page
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step


@dataclass
class DocumentedPairsConfig:
    """Which questions are asked, and how many."""

    max_pairs: int = 1_000  # to train on, and a fifth of them held out: the first ones by the hash of the question
    max_arguments: int = 200  # characters of a signature that is still asked about


def derive_pairs(
    config: DocumentedPairsConfig, corpus: Artifact, out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """Writes `train.jsonl` and `heldout.jsonl`, `prompt`, `chosen` and `rejected` a line. Metrics: pairs of each.

    Equal corpora give equal bytes. Raises GlideError where a split documents too little.
    """

    def write(draft: Draft) -> None:
        for split in corpora.SPLITS:
            seen: set[str] = set()
            lines: list[tuple[bytes, str]] = []
            for _, text in corpora.documents(corpus, split):
                asked = asked_of_page(QuestionsConfig(max_arguments=config.max_arguments), text)
                for question, chosen, rejected in _pairs_of_page(asked):
                    if question not in seen:
                        seen.add(question)
                        pair = {"prompt": question, "chosen": chosen, "rejected": rejected}
                        lines.append((_hash(question), json.dumps(pair, ensure_ascii=False) + "\n"))
            if not lines:
                raise GlideError(f"nothing to ask about on the {split} pages of {corpus.path}: curate more text")
            kept = sorted(lines)[: config.max_pairs if split == "train" else -(-config.max_pairs // 5)]
            write_atomically(draft.path / f"{split}.jsonl", "".join(line for _, line in kept))
            draft.metrics[split] = len(kept)
        draft.summary = f"{draft.metrics['train']:,} pairs to train on, {draft.metrics['heldout']:,} held out"

    return run_step("pairs", out, "conversations", config, {"corpus": corpus}, write, force=force)


def _pairs_of_page(asked: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """(question, its answer, a worse one)."""
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for kind, question, answer in asked:
        by_kind.setdefault(kind, []).append((question, answer))
    for of_kind in by_kind.values():
        for number, (question, answer) in enumerate(of_kind):
            others = (other for _, other in of_kind[number + 1 :] + of_kind[:number] if other != answer)
            stuttered = _stuttered(answer)
            rejected = stuttered if _hash(question)[-1] % 2 else next(others, stuttered)
            if rejected != answer:
                yield question, answer, rejected


def _stuttered(answer: str) -> str:
    words = answer.split()
    beginning = words[: max(1, len(words) // 2)]
    return " ".join(beginning * 2)


def _hash(question: str) -> bytes:
    return hashlib.blake2b(question.encode(), digest_size=8).digest()
