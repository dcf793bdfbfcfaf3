"""Small inputs of every kind, of real English prose, and what reading or curating them gives."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any
from xml.sax.saxutils import escape

import pandas as pd
from nemo_curator.tasks import FileGroupTask

from curator_pipelines.curate import curate
from curator_pipelines.english import nano
from curator_pipelines.ledger import REJECTIONS, Rejection
from curator_pipelines.partitions import cut
from curator_pipelines.stages.read_documents import ReadDocuments
from curator_pipelines.stages.read_warc import ReadWarc
from glide_nemo.artifact import Artifact
from glide_nemo.config import apply_overrides
from glide_nemo.crawl.crawl import CrawlConfig, crawl
from glide_nemo.crawl.kinds import WARC
from glide_nemo.crawl.sources import describe_inputs

TEXTS = dict(sorted((name, text) for name, text in topics.items() if len(text) > 1500)[:10])
FIELDS = {"text_field": "text", "url_field": "url", "license_field": "license", "id_field": ""}


def curate_inputs(out: Path, inputs: list[Any], *overrides: str) -> Artifact:
    """The nano corpus of files of any kind, in this process unless overridden."""
    config = apply_overrides(nano(), ["workers=1", "repeated_block_lines=0", *overrides])
    taken = crawl(CrawlConfig(), out.with_name(f"{out.name}.crawl"), inputs=[str(item) for item in inputs])
    return curate(config, taken, out)


def read_inputs(
    work: Path, inputs: list[Any], partition_bytes: int = 2000, max_bytes: int = 10**7, **fields: str
) -> tuple[pd.DataFrame, list[Rejection], int]:
    """What the readers make of the files: documents (pages as bytes), rejections, number of partitions."""
    fields = {**FIELDS, **fields}
    files, _ = describe_inputs([str(item) for item in inputs])
    partitions = cut(files, partition_bytes, work, fields)
    described = {"source": "s", "license": "unknown", "license_of_all": False, "fields": fields}
    frames, lost = [], []
    for partition in partitions:
        task = FileGroupTask("read", [partition.path], reader_config={**asdict(partition), **described})
        reader = ReadWarc(max_bytes) if partition.kind == WARC else ReadDocuments(max_bytes)
        batch = reader.process(task)
        frames.append(batch.to_pandas().rename(columns={"html": "text"}))
        lost += batch._metadata[REJECTIONS]
    return pd.concat(frames, ignore_index=True), lost, len(partitions)


def rows(**more: Any) -> list[dict[str, Any]]:
    return [{"text": text, "url": f"http://example.org/{name}", **more} for name, text in TEXTS.items()]


REFERENCE = {row["url"]: row["text"] for row in rows()}


def jsonl(items: list[Any]) -> bytes:
    return "".join(f"{json.dumps(item)}\n" for item in items).encode()


def texts_of(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["url"], frame["text"], strict=True))


def dump(pages: list[tuple[str, str, str]], language: str = "de") -> bytes:
    """A MediaWiki export of (namespace, title, markup); a title that begins with > is a redirect."""
    inside = "".join(
        f"<page><title>{escape(title)}</title><ns>{namespace}</ns><id>{number}</id>"
        f"{'<redirect title="x" />' if title.startswith('>') else ''}"
        f'<revision><id>{number}</id><text bytes="1" xml:space="preserve">{escape(markup)}</text></revision></page>\n'
        for number, (namespace, title, markup) in enumerate(pages)
    )
    site = f"<siteinfo><base>https://{language}.wikipedia.org/wiki/Start</base></siteinfo>"
    namespace = f'xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="{language}"'
    return f"<mediawiki {namespace}>{site}{inside}</mediawiki>".encode()
