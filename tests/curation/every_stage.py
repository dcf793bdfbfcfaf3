"""A small input of which every stage of a pipeline takes something, and the command line that has them all on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from small_inputs import TEXTS, jsonl
from small_warc import topic_pages, write_pages

from glide_nemo.artifact import Artifact, load
from glide_nemo.cli import main
from glide_nemo.crawl.crawl import CrawlConfig, crawl

ITEM = (
    "A lighthouse keeper counts nineteen ships before breakfast and four fewer after supper, so how many lanterns "
    "must burn until the harbour master has seen each of them twice?"
)
FOOTER = "This paragraph stands at the foot of several pages of the same site and says where its owners can be found."
SETTINGS = [
    "opt_out=[opt_out.txt]", "licenses=[MIT,PSF-2.0]", "toxicity_lexicon=lexicon.txt", "max_toxicity=0.5",
    "decontamination.benchmarks=benchmarks", "paragraphs.drop_repeated=true", "heldout_share=0.2",
    "partition_bytes=8000",
]  # fmt: skip
REASONS = {
    "opt_out_domain", "license_LicenseRef-closed", "toxic", "contaminated_riddles", "exact_duplicate",
    "near_duplicate",
}  # fmt: skip


def curated(arguments: list[str], folder: Path, out: str, *settings: str, **environment: str) -> Artifact:
    """The corpus that a command line of `write_inputs` wrote in the folder, with nothing but GLiDE's own lines said."""
    done = subprocess.run(
        [sys.executable, "-m", "glide_nemo", *arguments, "--out", out, *settings],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "logging_progress" not in done.stderr and "INFO" not in done.stderr, "Ray's own progress is on the terminal"
    return load(folder / out)


def write_inputs(folder: Path) -> list[str]:
    """Writes all of it into the folder. Returns the arguments of `glide curate`, with paths relative to the folder."""
    texts = list(TEXTS.values())
    rude = " ".join(f"{word} gronk" if place % 30 == 0 else word for place, word in enumerate(texts[2].split(" ")))
    one_paragraph = " ".join(texts[1].split())  # or what the copies share would leave as paragraphs
    rows = {
        "kept/0": texts[0],
        "kept/1": one_paragraph,
        "copy": texts[0],
        "near": f"{one_paragraph} There is more of it.",
        "rude": rude,
        "item": f"{texts[3]}\n\n{ITEM}",
        "closed": texts[4],
        "private": texts[5],
        "person": f"{texts[6]}\n\nWrite to jane.roe@mail-host.net about it.\n\n{FOOTER}",
        "secret": f"{texts[7]}\n\nIt lies in postgres://app:Xk29vPq71LmZ@db.internal/x for now.\n\n{FOOTER}",
        "footer": f"{texts[8]}\n\n{FOOTER}",
    }
    items = [
        {
            "text": text,
            "url": f"http://{'private' if name == 'private' else 'open'}.example/{name}",
            "license": "LicenseRef-closed" if name == "closed" else "MIT",
        }
        for name, text in rows.items()
    ]
    (folder / "texts.jsonl").write_bytes(jsonl(items))
    write_pages(folder / "pages.warc.gz", topic_pages(20)[12:])
    (folder / "opt_out.txt").write_text("private.example\n")
    (folder / "lexicon.txt").write_text("gronk\t1\n")
    (folder / "items.jsonl").write_bytes(jsonl([{"benchmark": "riddles", "id": "1", "text": ITEM}]))
    assert main(["decontam", "fetch", "--out", str(folder / "benchmarks"), "--items", str(folder / "items.jsonl")]) == 0
    state_license(
        crawl(CrawlConfig(), folder / "crawl", inputs=[str(folder / "texts.jsonl"), str(folder / "pages.warc.gz")])
    )
    return ["curate", "--crawl", "crawl", *SETTINGS]


def state_license(crawled: Artifact) -> None:
    """Says of the pages what a crawl of Python's documentation says of its own."""
    crawled.metrics["license"] = "PSF-2.0"
    (crawled.path / "artifact.json").write_text(json.dumps(crawled.record))


def assert_every_stage_took_something(corpus: Artifact) -> None:
    """Or a difference between two corpora might not show."""
    assert {row["reason"] for row in corpus.metrics["rejections"]} >= REASONS
    counts = corpus.metrics["counts"]
    assert counts["redact_pii"]["email"] >= 1 and counts["redact_secrets"] and corpus.metrics["contaminated"] >= 1
    assert counts["repeated_paragraphs"]["later_copies"] >= 2
    assert corpus.metrics["partitions"] > 3 and corpus.metrics["split"]["train"]["documents"] > 5
