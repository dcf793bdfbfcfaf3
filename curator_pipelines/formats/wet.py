"""WET files: the text that Common Crawl extracted, a `conversion` record a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from warcio.recordloader import ArcWarcRecordLoader

from curator_pipelines.formats.document import Found, Lost, Unusable, decode_text
from curator_pipelines.stages.read_warc import parse_record
from curator_pipelines.warc import records


def documents(range_: Mapping[str, Any], max_bytes: int) -> Iterator[Found | Lost]:
    """The conversion records that begin in `[start, end)`; other sound records hold no text."""
    loader = ArcWarcRecordLoader(verify_http=False)
    for framed in records(range_["path"], range_["start"], range_["end"], max_bytes * 2):
        record, problem = parse_record(loader, framed)
        if record and record.rec_type != "conversion" and not problem:
            continue
        url = (record and record.rec_headers.get_header("WARC-Target-URI")) or f"{range_['name']}#{framed.offset}"
        try:
            if problem:
                raise Unusable(problem, float(framed.offset))
            content = record.content_stream().read(max_bytes + 1)
            if len(content) > max_bytes:
                raise Unusable("document_too_large", float(len(content)))
            yield Found(url, decode_text(content))
        except Unusable as unusable:
            yield Lost(url, unusable.reason, unusable.score, len(framed.content), framed.content)
    if range_["problem"]:
        yield Lost(f"{range_['name']}#{range_['end']}", range_["problem"], float(range_["end"]), 0)
