"""HTML pages to text, by one of NeMo-Curator's extractor algorithms."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.stages.text.download.html_extractors import HTMLExtractorAlgorithm
from nemo_curator.stages.text.download.html_extractors.justext import JusTextExtractor
from nemo_curator.stages.text.download.html_extractors.resiliparse import ResiliparseExtractor
from nemo_curator.stages.text.download.html_extractors.trafilatura import TrafilaturaExtractor
from nemo_curator.stages.text.download.html_extractors.utils import get_stop_list_dict
from nemo_curator.tasks import DocumentBatch
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from curator_pipelines.html_lists import with_lists_kept
from curator_pipelines.ledger import Rejection, conclude

STOP_WORDS = {"en": "ENGLISH", "de": "GERMAN"}  # which tell text from navigation, in jusText
MAX_REPLACED = 0.001  # share of characters that no encoding could read


class LayoutExtractor(ResiliparseExtractor):
    """Resiliparse's main content with its lines and indentation as they stand.

    Curator's own algorithm drops each line with few stop words and parts the others by empty lines: code, lists and
    tables fall apart. DCLM (Li et al., 2024, section 4.2) trains on resiliparse's text as it comes, as here.
    """

    def extract_text(self, html: str, stop_words: frozenset[str], language: str) -> list[str] | None:
        page = with_lists_kept(html)
        return [extract_plain_text(page, main_content=self.main_content, alt_texts=self.alt_texts)]


ALGORITHMS = {"resiliparse": LayoutExtractor, "justext": JusTextExtractor, "trafilatura": TrafilaturaExtractor}


@dataclass
class ExtractHtml(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Column `html` (bytes) to column `text`. Pages in no readable encoding and pages without text leave."""

    algorithm: str = "resiliparse"
    language: str = "en"
    name: str = "extract_html"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["id", "url", "html", "charset"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["data"], ["text"]

    def process(self, batch: DocumentBatch) -> DocumentBatch:
        pages = batch.to_pandas()
        extractor: HTMLExtractorAlgorithm = ALGORITHMS[self.algorithm]()
        language = STOP_WORDS[self.language]
        stop_words = get_stop_list_dict()[language]
        texts: list[str | None] = []
        lost = []
        for page in pages.itertuples():
            html, replaced = decode(page.html, page.charset)
            text, reason, score = None, "undecodable_text", replaced
            if replaced <= MAX_REPLACED:
                text, reason, score = _extract(extractor, html, stop_words, language), "no_text", 0.0
            texts.append(text or None)
            if not text:
                lost.append(Rejection(page.id, page.url, self.name, reason, score, page.bytes))
        kept = pages.assign(text=pd.Series(texts, index=pages.index, dtype=object))
        kept = kept[kept["text"].notna()].drop(columns=["html", "charset"])
        kept["bytes"] = kept["text"].map(_utf8_length).astype("int64")
        return conclude(batch, self.name, kept, lost)


def decode(html: bytes, charset: str) -> tuple[str, float]:
    """A page as text, and the share of its characters that could not be read and were left out.

    UTF-8 where it fits or nearly does; else what the server said; else what the page says or looks like.
    """
    try:
        return html.decode("utf-8-sig"), 0.0
    except UnicodeDecodeError:
        best, lowest = _read(html, "utf-8-sig")
    if lowest <= MAX_REPLACED and _beyond_ascii(best) > lowest * len(html):  # UTF-8 but for a few damaged bytes
        return best, lowest
    for encoding in filter(None, (charset, detect_encoding(html, from_html_meta=True))):
        # As browsers do: `iso-8859-1` and `us-ascii` mean windows-1252, `gb2312` means GBK (WHATWG).
        standard = map_encoding_to_html5(encoding, fallback_utf8=False)
        try:
            text, replaced = _read(html, standard or encoding)
        except LookupError:  # an encoding that does not exist
            continue
        if replaced < lowest:
            best, lowest = text, replaced
    return best, lowest


def _read(html: bytes, encoding: str) -> tuple[str, float]:
    text = html.decode(encoding, errors="replace")
    return text.replace("\ufffd", ""), text.count("\ufffd") / max(1, len(text))


def _beyond_ascii(text: str) -> int:
    return sum(not character.isascii() for character in text)


def _extract(extractor: HTMLExtractorAlgorithm, html: str, stop_words: frozenset[str], language: str) -> str:
    try:
        paragraphs = extractor.extract_text(html, stop_words, language)
    except Exception:  # each algorithm raises its own on markup beyond repair; what is lost is one page, and counted
        return ""
    return "\n\n".join(paragraphs or []).strip()


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
