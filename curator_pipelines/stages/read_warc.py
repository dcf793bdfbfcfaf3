"""WARC records to HTML pages: every record that cannot become a page leaves with a reason.

NeMo-Curator's own CommonCrawlWarcIterator yields `response` records only, whatever their HTTP status and type, reads
each file whole, and drops what it cannot parse; the stage type and the batch are Curator's, the reading is ours.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from dataclasses import dataclass

import pandas as pd
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch, FileGroupTask
from warcio.exceptions import ArchiveLoadFailed
from warcio.recordloader import ArcWarcRecord, ArcWarcRecordLoader
from warcio.statusandheaders import StatusAndHeadersParserException

from curator_pipelines.ledger import FUNNEL, Rejection, conclude
from curator_pipelines.warc import Framed, records
from glide_nemo.crawl.unpack import TOO_FAR

PAGE_TYPES = ("response", "resource")  # the record types that hold a page
HTML_TYPES = ("text/html", "application/xhtml+xml")
DECODABLE = ("", "identity", "gzip", "x-gzip", "deflate", "br")
COLUMNS = ["id", "url", "html", "charset", "source", "license", "bytes"]


class Unusable(Exception):
    """A record that cannot become a page: the reason and the figure behind it."""

    def __init__(self, reason: str, score: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.score = score


@dataclass
class ReadWarc(ProcessingStage[FileGroupTask, DocumentBatch]):
    """One partition of a WARC file to a batch of HTML pages (bytes, not decoded).

    The task's `reader_config` is a Partition as a dictionary, with `source` and `license` of its documents.
    """

    max_page_bytes: int = 10_000_000
    name: str = "read_warc"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data", "reader_config"], []

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], COLUMNS

    def process(self, task: FileGroupTask) -> DocumentBatch:
        range_ = task.reader_config
        loader = ArcWarcRecordLoader(verify_http=False)
        pages, lost, seen = [], [], Counter()
        for framed in records(range_["path"], range_["start"], range_["end"], self.max_page_bytes * 2):
            record, problem = parse_record(loader, framed)
            seen[record.rec_type if record else "unreadable"] += 1
            if record and record.rec_type not in PAGE_TYPES:
                continue
            url = (record and record.rec_headers.get_header("WARC-Target-URI")) or f"{range_['name']}#{framed.offset}"
            payload = b""
            try:
                if problem:
                    raise Unusable(problem, float(framed.offset))
                payload = _payload(record, self.max_page_bytes)
                charset = _html_charset(record, payload)
            except Unusable as reason:
                id_ = identify(url, payload or framed.content)
                size = len(payload or framed.content)
                lost.append(Rejection(id_, url, self.name, reason.reason, reason.score, size))
                continue
            source, license_ = range_["source"], range_["license"]
            pages.append((identify(url, payload), url, payload, charset, source, license_, len(payload)))
        if range_.get("problem") == TOO_FAR:  # what lies behind the cut is in no record
            url = f"{range_['name']}#{range_['end']}"
            lost.append(Rejection(identify(url, b""), url, self.name, TOO_FAR, float(range_["end"]), 0))
        frame = pd.DataFrame(pages, columns=COLUMNS)
        crawled = ("crawled", len(pages) + len(lost), int(frame["bytes"].sum()) + sum(row.bytes for row in lost))
        batch = DocumentBatch(
            dataset_name=task.dataset_name,
            data=frame,
            _metadata={**task._metadata, "partition": range_["index"], FUNNEL: [crawled], "records": dict(seen)},
            _stage_perf=task._stage_perf,
        )
        return conclude(batch, self.name, frame, lost)


def identify(url: str, content: bytes) -> str:
    """A document's id: 128 bits of SHA-256 over its address and content, the same in whatever file it was recorded."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass") + b"\n" + content).hexdigest()[:32]


def parse_record(loader: ArcWarcRecordLoader, framed: Framed) -> tuple[ArcWarcRecord | None, str]:
    """The record with its headers read (None where it has none), and what is wrong with it."""
    try:
        return loader.parse_record_stream(io.BytesIO(framed.content), known_format="warc"), framed.problem
    except (ArchiveLoadFailed, StatusAndHeadersParserException, EOFError, ValueError, AttributeError):
        pass
    try:  # the WARC header may still say what it was and of which page
        record = loader.parse_record_stream(io.BytesIO(framed.content), known_format="warc", no_record_parse=True)
        return record, framed.problem or "unreadable_record"
    except (ArchiveLoadFailed, StatusAndHeadersParserException, EOFError, ValueError, AttributeError):
        return None, framed.problem or "unreadable_record"


def _payload(record: ArcWarcRecord, max_bytes: int) -> bytes:
    """What the server sent, chunks joined and unpacked."""
    http = record.http_headers
    if http:
        status = http.get_statuscode()
        if status != "200":
            raise Unusable("http_status", float(status) if status.isdigit() else None)
        encoding = (http.get_header("Content-Encoding") or "").strip().lower()
        if encoding not in DECODABLE:
            raise Unusable("unsupported_encoding")
        if encoding == "x-gzip":  # RFC 9110, 8.4.1.3: the same, but warcio would hand it on packed
            http.replace_header("Content-Encoding", "gzip")
    try:
        payload = record.content_stream().read(max_bytes + 1)
    except Exception as error:  # warcio lets through what zlib, brotli and its own chunk reader raise
        raise Unusable("undecodable_content") from error
    if len(payload) > max_bytes:
        raise Unusable("page_too_large", float(len(payload)))
    if not payload.strip():
        raise Unusable("empty_page", 0.0)
    return payload


def _html_charset(record: ArcWarcRecord, payload: bytes) -> str:
    """The charset that the headers state, "" where they do not. Unusable where the page is not HTML."""
    if record.http_headers:
        content_type = record.http_headers.get_header("Content-Type") or ""
    else:
        content_type = record.rec_headers.get_header("Content-Type") or ""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() not in HTML_TYPES and not (not kind.strip() and payload.lstrip()[:1] == b"<"):
        raise Unusable("not_html")
    _, _, charset = parameters.lower().partition("charset=")
    return charset.split(";")[0].strip(" \"'")
