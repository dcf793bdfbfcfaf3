"""Any bytes at all, read in any ranges: no reader crashes, and each byte of the input is accounted for."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tempfile
from pathlib import Path

import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nemo_curator.tasks import FileGroupTask
from small_inputs import dump, jsonl, read_inputs
from small_warc import SmallWarc, page

from curator_pipelines.formats.jsonl import lines
from curator_pipelines.ledger import FUNNEL, REJECTIONS
from curator_pipelines.stages.read_warc import ReadWarc
from curator_pipelines.warc import records
from glide_nemo.errors import GlideError

FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TEXTS = [f"Sentence {number} of a text that says what it is. " * 3 for number in range(4)]


def warc(suffix: str, extracted: bool = False) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        with SmallWarc(Path(folder) / f"x{suffix}") as made:
            made.record("warcinfo", "", b"")
            for number, text in enumerate(TEXTS):
                if extracted:
                    made.record("conversion", f"http://a/{number}", text.encode(), warc_content_type="text/plain")
                else:
                    made.response(f"http://a/{number}", page("Title", text))
        return made.path.read_bytes()


WARCS = [warc(".warc"), warc(".warc.gz")]
WETS = [warc(".warc", True), warc(".warc.gz", True)]
JSONL = jsonl([{"text": text, "url": "u", "license": "MIT"} for text in TEXTS])
DUMP = dump([("0", f"T{number}", text) for number, text in enumerate(TEXTS)])
DOCUMENTS = {
    "a.jsonl": [JSONL], "a.jsonl.gz": [gzip.compress(JSONL)], "a.jsonl.zst": [zstandard.compress(JSONL)],
    "a.jsonl.bz2": [bz2.compress(JSONL)], "a.xml": [DUMP], "a.txt": [TEXTS[0].encode(), TEXTS[1].encode("utf-16")],
    "a.warc": [*WARCS, *WETS], "a.xml.bz2": [bz2.compress(DUMP)],
}  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A sound file with pieces cut out, doubled or overwritten, or no such file at all."""
    content = bytearray(draw(st.one_of(st.sampled_from(originals), st.binary(max_size=300))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 200))
        with_what = draw(st.sampled_from(["nothing", "noise", "itself twice"]))
        piece = bytes(content[at : at + length])
        put = {"nothing": b"", "noise": draw(st.binary(max_size=40)), "itself twice": piece * 2}[with_what]
        content[at : at + length] = put
    return bytes(content)


@FUZZ
@given(content=damaged(WARCS), step=st.integers(50, 3000), limit=st.sampled_from([300, 10**6]))
def test_any_bytes_as_warc_are_framed_whole_and_read_without_a_crash(content: bytes, step: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.warc"
        path.write_bytes(content)
        framed = list(records(path, 0, len(content), 10**7))
        assert [record.offset for record in framed] == sorted(record.offset for record in framed)
        if not content.startswith(b"\x1f\x8b"):  # uncompressed: records and what lies between cover the file
            borders = [record.offset for record in framed] + [len(content)]
            for record, after in zip(framed, borders[1:], strict=True):
                left = content[record.offset + len(record.content) : after]
                assert record.problem or not left.strip(b"\r\n"), record.problem
            assert not content or framed
        for start in range(0, len(content), step):
            range_ = {
                "index": 0,
                "path": str(path),
                "name": "x",
                "start": start,
                "end": min(start + step, len(content)),
            }
            task = FileGroupTask("fuzz", ["x"], reader_config={**range_, "source": "s", "license": "l"})
            batch = ReadWarc(limit).process(task)
            _, count, size = batch._metadata[FUNNEL][0]
            lost = batch._metadata[REJECTIONS]
            assert count == batch.num_items + len(lost)
            assert size == batch.to_pandas()["bytes"].sum() + sum(row.bytes for row in lost)


@FUZZ
@given(data=st.data(), name=st.sampled_from(sorted(DOCUMENTS)), step=st.integers(10, 2000))
def test_any_bytes_as_documents_are_read_in_one_line_or_counted(data: st.DataObject, name: str, step: int) -> None:
    content = data.draw(damaged(DOCUMENTS[name]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            whole, whole_lost, _ = read_inputs(Path(folder) / "whole", [path], 10**7, 10**6)
        except GlideError as error:
            assert "\n" not in str(error)
            return
        for text in [*whole["text"], *whole["url"], *whole["license"]]:
            assert isinstance(text, bytes) or text.encode("utf-8") is not None
        assert len(whole) + len(whole_lost) > 0 or not content.strip() or name.endswith((".gz", ".xml", ".warc"))
        if "warc" not in name:  # a damaged WARC has no places to start from that are sure
            cut, cut_lost, _ = read_inputs(Path(folder) / "whole", [path], step, 10**6)
            assert whole["id"].tolist() == cut["id"].tolist()
            assert [row.reason for row in whole_lost] == [row.reason for row in cut_lost]


@FUZZ
@given(content=st.binary(max_size=400).map(lambda raw: raw.replace(b"\x07", b"\n")), step=st.integers(1, 90))
def test_lines_of_any_ranges_tile_the_file(content: bytes, step: int) -> None:
    ranges = [(start, min(start + step, len(content))) for start in range(0, len(content), step)]
    found = [line for start, end in ranges for line in lines(io.BytesIO(content), start, end, 30)]
    place = 0
    for offset, length, line in found:
        assert offset == place and content[offset : offset + length].startswith(line)
        place += length
    assert place == len(content)


@FUZZ
@given(
    row=st.dictionaries(
        st.sampled_from(["text", "url", "license", "more"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_any_json_object_is_a_document_or_a_rejection(row: dict) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        found, lost, _ = read_inputs(Path(folder) / "work", [Path(folder) / "a.jsonl"])
        assert len(found) + len(lost) == 1
        assert {row.reason for row in lost} <= {"no_text", "binary"}
        assert all(isinstance(value, str) for value in [*found["url"], *found["license"], *found["text"]])
