"""Wikipedia's XML dumps in byte ranges: the articles, their markup removed by NeMo-Curator's extractor.

Curator's own iterator parses the whole file as one XML document, so it starts at the beginning only and ends at the
first damage. `<page>` cannot stand inside a page (markup is escaped), so any page is a place to start from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import quote
from xml.etree import ElementTree

from curator_pipelines.formats.document import Found, Lost, Unusable, usable
from curator_pipelines.warc import find_all
from glide_nemo.crawl.locate import open_binary

LICENSE = "CC-BY-SA-4.0"  # https://foundation.wikimedia.org/wiki/Policy:Terms_of_Use, since June 2023
BEGIN, END = b"<page>", b"</page>"
HEADER = 1 << 16
FIRST_BLOCK, MAX_BLOCK = 1 << 9, 1 << 18  # small first: what is scanned stays in proportion to the page
ARTICLES = "0"  # the namespace of encyclopedia articles
ENTITY = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def documents(range_: Mapping[str, Any], max_bytes: int) -> Iterator[Found | Lost]:
    """The articles among the pages that begin in `[start, end)`; redirects and other namespaces are none.

    Where the file was cut short, the page that it ends in is lost to that; where it ends between two pages, one more.
    """
    problem, start, end = range_["problem"], range_["start"], range_["end"]
    with open_binary(range_["path"]) as file:
        site, language = _site(file.read(HEADER))
        is_last, is_whole = start == 0, True  # of a file without pages, the first range speaks
        for offset in find_all(file, BEGIN, start, end):
            content, length = _page(file, offset, max_bytes)
            is_last, is_whole = True, length > max_bytes or content.endswith(END)
            url = f"{range_['name']}#{offset}"
            try:
                if length > max_bytes:
                    raise Unusable("page_too_large", float(length))
                if not is_whole:
                    raise Unusable(problem or "truncated", float(offset))
                title, markup = _article(content)
                if markup is not None:
                    url = f"{site}{quote(title.replace(' ', '_'))}"
                    yield Found(url, usable(_plain(markup, title, language)), LICENSE)
            except Unusable as unusable:
                yield Lost(url, unusable.reason, unusable.score, length, content)
        if problem and is_last and is_whole and next(find_all(file, BEGIN, end, None), None) is None:
            yield Lost(f"{range_['name']}#{end}", problem, float(end), 0)


def _site(header: bytes) -> tuple[str, str]:
    """Where the dump's articles stand, such as https://de.wikipedia.org/wiki/, and its language."""
    text = header.decode("utf-8", "replace")
    base = re.search(r"<base>([^<]{1,200}/)[^</]*</base>", text)
    language = re.search(r"""<mediawiki[^>]{0,500}xml:lang=["']([a-z-]{2,12})["']""", text)
    code = language[1] if language else "en"
    return (base[1] if base else f"https://{code}.wikipedia.org/wiki/"), code


def _page(file: BinaryIO, offset: int, max_bytes: int) -> tuple[bytes, int]:
    """A page's XML, at most `max_bytes` of it, and its length. Cut where another begins, or the file ends."""
    file.seek(offset)
    content, length, size, tail = bytearray(), 0, FIRST_BLOCK, b""
    while block := file.read(size):
        seen = tail + block
        ends = [place + extra for place, extra in ((seen.find(END), len(END)), (seen.find(BEGIN, 1), 0)) if place >= 0]
        length += (min(ends) - len(tail)) if ends else len(block)
        content += block[: max(0, max_bytes - len(content))]
        if ends:
            break
        tail, size = seen[-len(END) :], min(size * 2, MAX_BLOCK)
    return bytes(content[:length]), length


def _article(content: bytes) -> tuple[str, str | None]:
    """A page's title and markup; None for what is no article. Unusable where the XML is broken."""
    try:
        text = content.decode("utf-8")
        if ENTITY.search(text):  # no dump declares any: they are how small XML unfolds into gigabytes
            raise Unusable("invalid_xml")
        page = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        raise Unusable("invalid_xml") from error
    title, markup = page.findtext("title"), page.findtext("revision/text")
    if page.findtext("ns", ARTICLES) != ARTICLES or page.find("redirect") is not None or not title:
        return title or "", None
    return title, markup or ""


def _plain(markup: str, title: str, language: str) -> str:
    record = {"raw_content": markup, "title": title, "id": "", "url": "", "language": language, "source_id": ""}
    extracted = _extractor(language).extract(record)
    if extracted is None:  # on markup that its parser cannot take
        raise Unusable("no_text", 0.0)
    return extracted["text"]


@lru_cache(maxsize=4)
def _extractor(language: str) -> Any:
    from nemo_curator.stages.text.download.wikipedia.extract import WikipediaExtractor

    return WikipediaExtractor(language)
