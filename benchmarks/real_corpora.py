"""The recipes english, german, code and books on text that nobody here wrote: corpora, data cards, blends, a table.

`python benchmarks/real_corpora.py --out runs/real` fetches Debian packages and source distributions, crawls, curates,
packs and describes. Run again, it does what is missing. What came out is in docs/real-corpora.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import real_sources

from curator_pipelines.books import books
from curator_pipelines.code import code
from curator_pipelines.curate import curate
from curator_pipelines.english import english
from curator_pipelines.german import german
from glide_nemo.artifact import Artifact, write_atomically
from glide_nemo.config import apply_overrides
from glide_nemo.crawl.crawl import CrawlConfig, crawl
from glide_nemo.crawl.folder import FolderConfig, crawl_folder
from glide_nemo.data.blend import parse_parts
from glide_nemo.data.blend_explained import described, explain
from glide_nemo.data.pack import PackConfig, pack
from glide_nemo.errors import GlideError
from glide_nemo.release.data_card import DataCardConfig, beside, write_data_card
from glide_nemo.tokenizer.recipes import TokenizerConfig
from glide_nemo.tokenizer.train import train_tokenizer

RECIPES = {"english": english, "german": german, "code": code, "books": books}
WEIGHTS = {"english": 0.4, "german": 0.2, "code": 0.25, "books": 0.15}
TOKENS, SEQ_LENGTH = 10_000_000, 2048  # of the run that the blend is explained for
REASONS = 12  # in the table


def crawls_of(recipe: str, fetched: Path, out: Path) -> list[Artifact]:
    """What a recipe is run on: sites and WARC files, or documents in JSON lines."""
    if recipe in real_sources.SITES:
        found = [
            crawl_folder(FolderConfig(license_, f"{package}-{recipe}"), fetched / package / inside, out / package)
            for package, inside, license_ in real_sources.SITES[recipe]
        ]
        if recipe == "english":
            found.append(crawl(CrawlConfig(), out / "pydoc"))
            found.append(crawl(CrawlConfig(), out / "warcs", warcs=real_sources.warcs(fetched)))
        return found
    rows = getattr(real_sources, recipe)(fetched)
    return [crawl(CrawlConfig(), out / "crawl", inputs=[str(real_sources.write_rows(out / f"{recipe}.jsonl", rows))])]


def run(out: Path, overrides: list[str]) -> dict[str, Artifact]:
    """Corpora by recipe, each in a directory of its own with its tokens, its card and its blend."""
    fetched = out / "fetched"
    real_sources.fetch_all(fetched)
    corpora = {}
    for recipe, config in RECIPES.items():
        (out / recipe).mkdir(exist_ok=True)
        corpora[recipe] = curate(
            apply_overrides(config(), overrides), crawls_of(recipe, fetched, out / recipe), out / recipe / "corpus"
        )
    # One tokenizer for all, of English: what it spends on the rest is part of what is shown.
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=8_000), corpora["english"], out / "tokenizer")
    for recipe, corpus in corpora.items():
        pack(PackConfig(), corpus, tokenizer, out / recipe / "tokens")
        write_data_card(DataCardConfig(name=recipe), [corpus], out / recipe / "card", beside([corpus]))
        _write_blend(out / recipe / "blend.yaml", {recipe: "tokens"}, {recipe: 1.0})
    _write_blend(out / "blend.yaml", {recipe: f"{recipe}/tokens" for recipe in corpora}, WEIGHTS)
    return corpora


def _write_blend(path: Path, tokens: Mapping[str, str], weights: Mapping[str, float]) -> None:
    sources = [{"name": name, "tokens": place, "weight": weights[name]} for name, place in tokens.items()]
    write_atomically(path, json.dumps({"name": path.parent.name, "sources": sources}, indent=1))  # JSON is YAML


def table(recipe: str, corpus: Artifact, tokens: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Documents in, kept and rejected by reason, with what was redacted, and how many bytes a token holds."""
    funnel, split = corpus.metrics["funnel"], corpus.metrics["split"].values()
    came, size = funnel[0]["documents"], funnel[0]["bytes"]
    kept, left = sum(part["documents"] for part in split), sum(part["bytes"] for part in split)
    yield f"{recipe}: {came:,} documents ({size:,} B) in, {kept:,} ({left:,} B) kept, {kept / came:.1%}"
    for row in corpus.metrics["rejections"][:REASONS]:
        share = row["documents"] / came
        yield f"  {row['stage']:<18} {row['reason']:<28} {row['documents']:>6,} {share:>6.1%} {row['bytes']:>12,} B"
    redacted = {stage: what for stage, what in corpus.metrics["counts"].items() if stage.startswith("redact")}
    yield f"  redacted: {json.dumps(redacted)}; bytes a token: {tokens['train']['bytes_per_token']:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="settings of every curation, such as workers=1")
    args = parser.parse_args()
    try:
        corpora = run(args.out, args.overrides)
        parts = parse_parts([str(args.out / "blend.yaml")])
        for part, (recipe, corpus) in zip(parts, corpora.items(), strict=True):
            print("\n".join(table(recipe, corpus, part.tokens.metrics)))
        print("\n".join(described(explain(parts, TOKENS, SEQ_LENGTH), SEQ_LENGTH)))
    except GlideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
