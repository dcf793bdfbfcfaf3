"""How a pipeline begins: it reads web pages and extracts them, or takes documents that are text already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    from nemo_curator.stages.base import ProcessingStage

    from curator_pipelines.config import CurationConfig


@dataclass
class Reader:
    """Which columns of JSONL and parquet hold what, and how much of them may be broken."""

    text_field: str = "text"
    url_field: str = "url"
    license_field: str = "license"  # an SPDX expression, or a list of licences that all hold
    id_field: str = ""  # stands in the address of a document that has none; empty: its place in the file does
    max_bad_lines_share: float = 0.05  # of a JSONL file

    def check(self) -> None:
        """Raises GlideError for a share that is none."""
        if not 0 <= self.max_bad_lines_share <= 1:
            raise GlideError(
                f"reader.max_bad_lines_share={self.max_bad_lines_share} is no share: choose one between 0 and 1"
            )


def fields_of(reader: Reader) -> dict[str, str]:
    """The names of columns, as readers take them."""
    return {name: getattr(reader, name) for name in ("text_field", "url_field", "license_field", "id_field")}


def reading_stages(
    config: CurationConfig, stages: Sequence[ProcessingStage], *, are_text: bool
) -> list[ProcessingStage]:
    """A pipeline's document stages for one kind of input, with what the settings leave out right behind the reader.

    Text is not extracted: ReadWarc and ExtractHtml give way to ReadDocuments, and the rest stays as it is. GlideError
    for pages in a pipeline that begins with text.
    """
    from curator_pipelines.stages.allow_licenses import AllowLicenses
    from curator_pipelines.stages.extract_html import ExtractHtml
    from curator_pipelines.stages.opt_out import OptOut
    from curator_pipelines.stages.read_documents import ReadDocuments
    from curator_pipelines.stages.read_warc import ReadWarc

    left_out: list[ProcessingStage] = []
    if config.opt_out:
        left_out.append(OptOut(list(config.opt_out)))
    if config.licenses:
        left_out.append(AllowLicenses(list(config.licenses)))
    readers = [stage for stage in stages if isinstance(stage, ReadWarc)]
    others = [stage for stage in stages if not isinstance(stage, ReadWarc)]
    if not are_text and not readers:
        raise GlideError(f"{config.pipeline} takes documents, not web pages: pass --input, or another --recipe")
    if are_text:
        readers = [ReadDocuments(config.max_page_bytes)]
        others = [stage for stage in others if not isinstance(stage, ExtractHtml)]
    return [*readers, *left_out, *others]


def check_lines(records: Mapping[str, Sequence[Mapping[str, Any]]], max_share: float) -> None:
    """Raises GlideError for the file of which more lines than allowed are broken.

    `records` are the partitions' records by the name of their file.
    """
    for name, of_file in records.items():
        counts: Counter[str] = Counter()
        for record in of_file:
            counts.update(record["counts"].get("read_documents", {}))
        bad, lines = counts["bad_lines"], counts["lines"]
        if bad > max_share * lines:
            raise GlideError(
                f"{bad} of {lines} lines of {name} are no JSON objects, more than reader.max_bad_lines_share="
                f"{max_share}: write the file again, or allow more"
            )
