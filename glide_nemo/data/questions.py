"""The questions step: conversations derived from a corpus, as questions about what its pages document.

A page of Python's documentation names a module, and classes and functions with their signatures and a first sentence.
Of each are asked, as far as the page says it:

    What does `textwrap.fill` do?                    its first sentence
    What are the arguments of `textwrap.fill`?       the list from its signature
    Which function of `textwrap` does this? ...      its name, for the first sentence

with wordings chosen by a hash of the name, so that no wording belongs to one kind of answer. Of a page that documents
nothing is asked how a sentence goes on:

    Which sentence comes next? ...                   the sentence after it

Nothing is made up: each answer stands on the page. Only documents of the train split are read, and their address and
licence are kept.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.console import progress
from glide_nemo.data.passages import followed
from glide_nemo.data.signatures import Documented, documented
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step

FILE = "questions.jsonl"
WHAT = ("What does `{name}` do?", "What is `{name}` for?", "Tell me what `{name}` does.", "Explain `{name}` briefly.")
WHAT_CLASS = ("What is `{name}`?", "What is the class `{name}` for?", "Tell me about `{name}`.")
ARGUMENTS = (
    "What are the arguments of `{name}`?",
    "Which arguments does `{name}` take?",
    "How do I call `{name}`?",
)
NEXT = ("Which sentence comes next? {text}", "Go on from here: {text}", "What follows? {text}")
WHICH = ("Which {kind} of `{owner}` does this? {does}", "Name the {kind} of `{owner}` for this: {does}")


@dataclass
class QuestionsConfig:
    """What is asked, and what the conversations are labelled with."""

    domain: str = "documentation"
    max_arguments: int = 200  # characters of a signature that is still asked about
    max_continued: int = 4  # sentences asked about on a page that documents nothing


def ask_questions(
    config: QuestionsConfig, corpus: Artifact, out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """Writes `questions.jsonl`: `messages`, and `id, url, license, language, domain` of what they come from.

    Metrics: `conversations`, `pages` (that something is asked of), `asked` (by kind), `licenses`.
    Raises GlideError where no page has anything to ask about.
    """

    def write(draft: Draft) -> None:
        asked, licenses, lines, seen, pages = Counter(), Counter(), [], set(), 0
        total = corpus.metrics["split"]["train"]["documents"]
        with progress("asking", total, "documents") as advance:
            for document in corpora.records(corpus, "train", ("id", "text", "url", "language", "license")):
                asked_of = asked_of_page(config, document["text"])
                pages += bool(asked_of)
                for kind, question, answer in asked_of:
                    if question in seen:
                        continue
                    seen.add(question)
                    asked[kind] += 1
                    licenses[document["license"]] += 1
                    lines.append(_line(config, document, question, answer))
                advance()
        if not lines:
            raise GlideError(f"no documented signatures and no sentences in {corpus.path}: curate more text")
        write_atomically(draft.path / FILE, "".join(lines))
        draft.metrics = {
            "conversations": len(lines),
            "pages": pages,
            "asked": dict(sorted(asked.items())),
            "licenses": dict(sorted(licenses.items())),
        }
        draft.summary = f"{len(lines):,} questions about {pages} pages"

    return run_step("questions", out, "conversations", config, {"corpus": corpus}, write, force=force)


def _line(config: QuestionsConfig, document: dict[str, Any], question: str, answer: str) -> str:
    record = {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        "id": hashlib.blake2b(question.encode(), digest_size=16).hexdigest(),
        "document": document["id"],
        "url": document["url"],
        "license": document["license"],
        "language": document["language"],
        "domain": config.domain,
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def asked_of_page(config: QuestionsConfig, text: str) -> list[tuple[str, str, str]]:
    """(kind, question, answer) of a page: of what it documents, else of its sentences."""
    if found := list(documented(text)):
        return list(_asked_about(config, found))
    return [
        ("next", _chosen(NEXT, sentence).format(text=sentence), following)
        for sentence, following in itertools.islice(followed(text), config.max_continued)
    ]


def _asked_about(config: QuestionsConfig, found: Sequence[Documented]) -> Iterator[tuple[str, str, str]]:
    """(kind, question, answer) of what a page documents; what two things on it do alike is not asked backwards."""
    said = Counter(item.does for item in found)
    for item in found:
        wordings = WHAT_CLASS if item.kind == "class" else WHAT
        yield "what", _worded(wordings, item), item.does
        if item.arguments is not None and len(item.arguments) <= config.max_arguments:
            yield "arguments", _worded(ARGUMENTS, item), _takes(item)
        owner, _, name = item.name.rpartition(".")
        if owner and said[item.does] == 1 and name not in item.does and item.kind != "module":
            yield "which", _worded(WHICH, item).format(kind=item.kind, owner=owner, does=item.does), f"`{item.name}`"


def _worded(wordings: Sequence[str], item: Documented) -> str:
    """One of the wordings by the hash of a name, filled in with it."""
    return _chosen(wordings, item.name).replace("{name}", item.name)


def _chosen(wordings: Sequence[str], by: str) -> str:
    number = hashlib.blake2b(by.encode(), digest_size=4).digest()
    return wordings[int.from_bytes(number) % len(wordings)]


def _takes(item: Documented) -> str:
    arguments = (item.arguments or "").strip()
    if item.kind != "function":  # who calls a method gives neither itself nor the end of what is positional
        arguments = re.sub(r"^self\b(?:, /)?,?|^/,", "", arguments).strip()
    last = item.name.rpartition(".")[2]
    return f"`{last}({arguments})`" if arguments else f"`{last}()`: it takes none."
