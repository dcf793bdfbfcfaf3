"""The data card of one or several corpora: README.md with Hugging Face's metadata, made from artifacts alone."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glide_nemo.artifact import RECORD, Artifact, Draft, file_sha256, in_run, write_atomically
from glide_nemo.config import as_plain
from glide_nemo.corpus import SPLITS
from glide_nemo.errors import GlideError
from glide_nemo.release import charts
from glide_nemo.release.corpus_facts import corpus_facts
from glide_nemo.release.hub_metadata import hub_metadata, merged, total
from glide_nemo.release.markdown import UNPRINTABLE, Markdown, code, escaped
from glide_nemo.steps import run_step

HERE = Path(__file__).parent
TEMPLATE = "data_card.md.jinja"
CARD = "README.md"  # what the Hub shows of a repository


@dataclass
class DataCardConfig:
    """What the card is called, and how much it shows."""

    name: str = ""  # empty: the names of the corpora's directories
    examples: int = 3  # rejected documents for each reason: id, address and score, never text

    def check(self) -> None:
        if self.examples < 0:
            raise GlideError(f"examples={self.examples} is negative: 0 shows none")


def write_data_card(
    config: DataCardConfig,
    corpora: Sequence[Artifact],
    out: str | os.PathLike[str],
    measured: Sequence[Artifact] = (),
    *,
    force: bool = False,
) -> Artifact:
    """Writes README.md; the numbers in it are the artifact's metrics, which `glide report` draws.

    `measured` are tokenizers and tokens whose fertility is stated; see `beside`. Equal artifacts give equal bytes.
    Raises GlideError where there is no corpus, one is given twice, or one cannot be read.
    """
    config.check()
    if not corpora:
        raise GlideError("no corpus to write a card of: pass the directory that `glide curate` wrote")
    if len({corpus.sha256 for corpus in corpora}) < len(corpora):
        raise GlideError("the same corpus is given twice: pass each once")
    inputs = {f"corpus_{number}" if number > 1 else "corpus": corpus for number, corpus in enumerate(corpora, 1)}
    for number, artifact in enumerate(measured, 1):
        if artifact.kind not in ("tokens", "tokenizer"):
            raise GlideError(f"{artifact.path} is a {artifact.kind}, it measures no text: pass tokens or a tokenizer")
        inputs[f"{artifact.kind}_{number}"] = artifact
    settings = as_plain(config) | {
        "look": file_sha256(HERE / TEMPLATE),
        # An artifact's own digest is that of its files; the card shows its metrics too.
        "records": {name: file_sha256(artifact.path / RECORD) for name, artifact in inputs.items()},
    }

    def write(draft: Draft) -> None:
        facts = [
            corpus_facts(corpus, name, config.examples) for corpus, name in zip(corpora, _names(corpora), strict=True)
        ]
        title = config.name or " and ".join(each["name"] for each in facts)
        called = {each["sha256"]: each["name"] for each in facts}
        fertility = [row for artifact in measured for row in _fertility(artifact, called)]
        metadata = hub_metadata(title, facts)
        page = render(title, metadata, facts, fertility)
        write_atomically(draft.path / CARD, page)
        documents, size = total(facts, "documents"), total(facts, "bytes")
        draft.metrics.update(
            documents=documents, bytes=size, hub=metadata, corpora=facts, fertility=fertility,
            card_sha256=hashlib.sha256(page.encode()).hexdigest(),
        )  # fmt: skip
        left = sum(row["documents"] for each in facts for row in each["rejections"])
        draft.summary = f"{CARD}, {documents:,} documents, {charts.human(size, 'B')}; why {left:,} others left"

    return run_step("data card", out, "release", settings, inputs, write, force=force)


def beside(corpora: Sequence[Artifact]) -> list[Artifact]:
    """Tokenizers and tokens that lie in the directory of a corpus's own directory and were made from it as it is."""
    found: dict[str, Artifact] = {}
    for corpus in corpora:
        for artifact in in_run(corpus.path.resolve().parent):
            made_from = artifact.record["inputs"].get("corpus", {}).get("sha256")
            if artifact.kind in ("tokenizer", "tokens") and made_from == corpus.sha256:
                found.setdefault(artifact.sha256, artifact)
    return list(found.values())


def render(
    title: str, metadata: dict[str, Any], facts: Sequence[dict[str, Any]], fertility: Sequence[dict[str, Any]]
) -> str:
    """The card. What comes from artifacts is escaped: no address or reason becomes markup."""
    import jinja2
    import yaml

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        human=charts.human, bytes=partial(charts.human, unit="B"), significant=charts.significant, code=code,
        raw=Markdown,
        words=lambda name: str(name).replace("_", " "),
    )  # fmt: skip
    return environment.get_template(TEMPLATE).render(
        title=UNPRINTABLE.sub("\ufffd", title),
        metadata=Markdown(yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)),
        facts=facts,
        fertility=fertility,
        totals={what: total(facts, what) for what in ("documents", "bytes")},
        languages=merged(facts, "languages"),
        licenses=merged(facts, "licenses"),
    )


def _names(corpora: Sequence[Artifact]) -> list[str]:
    """Of each corpus: its directory's, or that of the run around it where the directory is only called `corpus`."""
    names: list[str] = []
    for corpus in corpora:
        path = corpus.path.resolve()
        name = re.sub(r"[^\w.-]+", "-", path.parent.name if path.name == "corpus" else path.name) or "corpus"
        while name in names:
            name += "_"
        names.append(name)
    return names


def _fertility(artifact: Artifact, names: dict[str, str]) -> list[dict[str, Any]]:
    """Tokens spent on each split: of a tokenizer as it measured itself, of tokens as they were packed."""
    made_from = artifact.record["inputs"].get("corpus", {}).get("sha256", "")
    by_split = artifact.metrics.get("fertility", {}) if artifact.kind == "tokenizer" else artifact.metrics
    return [
        {
            "of": artifact.kind,
            "corpus": names.get(made_from, "another corpus"),
            "split": split,
            "vocab_size": artifact.metrics.get("vocab_size"),
            "tokens": by_split[split]["tokens"],
            "bytes_per_token": by_split[split]["bytes_per_token"],
            "tokens_per_word": by_split[split].get("tokens_per_word"),
            "byte_token_share": by_split[split].get("byte_token_share"),
        }
        for split in SPLITS
        if "bytes_per_token" in by_split.get(split, {})
    ]
