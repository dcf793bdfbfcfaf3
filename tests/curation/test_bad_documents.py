"""What bad input gets: a counted rejection by name, or one line and exit status 2. Never a crash, never more memory."""

from __future__ import annotations

import bz2
import gzip
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import zstandard
from filelock import FileLock
from growth import assert_linear
from ledgers import assert_balanced, rejections_of
from small_inputs import REFERENCE, TEXTS, curate_inputs, dump, jsonl, read_inputs, rows, texts_of
from small_warc import SmallWarc

from glide_nemo.artifact import LOCK
from glide_nemo.cli import main
from glide_nemo.crawl import unpack
from glide_nemo.errors import GlideError

PACKERS = {"gz": gzip.compress, "zst": zstandard.compress, "bz2": bz2.compress}


def reasons(lost: list) -> Counter[str]:
    return Counter(rejection.reason for rejection in lost)


@pytest.mark.parametrize("packer", PACKERS)
def test_a_truncated_packed_file_gives_what_comes_before_and_counts_the_rest(packer: str, tmp_path: Path) -> None:
    content = PACKERS[packer](jsonl(rows()))
    path = tmp_path / f"a.jsonl.{packer}"
    path.write_bytes(content[: len(content) * 3 // 4])
    found, lost, _ = read_inputs(tmp_path / "work", [path])
    assert reasons(lost) == {"truncated": 1}
    assert texts_of(found).items() <= REFERENCE.items()
    if packer == "gz":  # the others unpack block by block, and this is one
        assert len(found) > 4


@pytest.mark.parametrize("packer", PACKERS)
def test_corrupt_packed_data_is_named_by_its_format(packer: str, tmp_path: Path) -> None:
    content = bytearray(PACKERS[packer](jsonl(rows())))
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path = tmp_path / f"a.jsonl.{packer}"
    path.write_bytes(content)
    found, lost, _ = read_inputs(tmp_path / "work", [path])
    assert (
        set(reasons(lost)) <= {f"corrupt_{unpack.compression_of(bytes(content))}", "truncated", "invalid_json"} and lost
    )
    assert texts_of(found).items() <= REFERENCE.items()


def test_a_truncated_file_is_the_same_when_a_killed_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl(rows()))[:-50])
    first = read_inputs(tmp_path / "work", [path])
    again = read_inputs(tmp_path / "work", [path])
    assert first[1] == again[1] and first[0].equals(again[0]) and reasons(again[1]) == {"truncated": 1}


def test_bad_lines_are_lost_one_by_one_and_named(tmp_path: Path) -> None:
    bad = {
        b"{not json}": "invalid_json",
        b'{"text": "cut': "invalid_json",
        b"[1, 2]": "not_an_object",
        b'"text"': "not_an_object",
        b"[" * 100_000: "invalid_json",
        b'{"text": "\xff\xfe"}': "undecodable_text",
        b'{"text": null}': "no_text",
        b'{"text": 7}': "no_text",
        b'{"title": "no text at all"}': "no_text",
        b'{"text": "  \\n "}': "no_text",
        json.dumps({"text": "".join(map(chr, range(32))) * 9}).encode(): "binary",
        b'{"text": "a", "n": ' + b"9" * 5000 + b"}": "invalid_json",
    }
    good = [line + b"\n" for line in jsonl(rows()).splitlines()]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(good[:5]) + b"\n \n" + b"\n".join(bad) + b"\r\n" + b"".join(good[5:]))
    for step in (100, 10**6):
        found, lost, _ = read_inputs(tmp_path / "work", [path], step)
        assert texts_of(found) == REFERENCE
        assert [row.reason for row in lost] == list(bad.values())
        assert [row.bytes for row in lost] == [
            len(line) + 1 + (number == len(bad) - 1) for number, line in enumerate(bad)
        ]


def test_a_lone_surrogate_costs_itself_only(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "be\\ud800fore", "url": "u\\udfff", "license": "L\\ud800"}\n')
    found, lost, _ = read_inputs(tmp_path / "work", [tmp_path / "a.jsonl"])
    assert found.iloc[0][["text", "url", "license"]].tolist() == ["before", "u", "L"] and not lost


def test_more_bad_lines_than_allowed_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(rows()) + b"{broken\n" * 3)
    with pytest.raises(GlideError, match=r"3 of 13 lines of a\.jsonl are no JSON objects"):
        curate_inputs(tmp_path / "strict", [path])
    corpus = curate_inputs(tmp_path / "lax", [path], "reader.max_bad_lines_share=0.3")
    assert_balanced(corpus)
    assert corpus.metrics["counts"]["read_documents"] == {"bad_lines": 3, "lines": 13}
    assert sum(reason == "invalid_json" for reason in rejections_of(corpus)["reason"]) == 3


@pytest.mark.parametrize("packed", [False, True])
def test_one_line_longer_than_allowed_is_passed_over_in_bounded_memory(packed: bool, tmp_path: Path) -> None:
    content = jsonl(rows()[:5]) + b'{"text": "' + b"long " * 2_000_000 + b'"}\n' + jsonl(rows()[5:])
    path = tmp_path / ("a.jsonl.gz" if packed else "a.jsonl")
    path.write_bytes(gzip.compress(content, 1, mtime=0) if packed else content)
    tracemalloc.start()
    found, lost, _ = read_inputs(tmp_path / "work", [path], 200_000, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts_of(found) == REFERENCE
    assert [(row.reason, row.bytes) for row in lost] == [("line_too_large", 10_000_013)]
    assert peak < 9_000_000, peak


def test_a_ten_megabyte_line_that_is_allowed_is_one_document(tmp_path: Path) -> None:
    text = "word " * 2_000_000
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"text": text}, *rows()]))
    found, lost, _ = read_inputs(tmp_path / "work", [tmp_path / "a.jsonl"], 100_000, 20_000_000)
    assert found["text"][0] == text and len(found) == 11 and not lost


def test_a_document_larger_than_allowed_leaves_by_name_whatever_its_format(tmp_path: Path) -> None:
    large = "large " * 50_000
    pd.DataFrame([{"text": large}]).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text(large)
    (tmp_path / "a.xml").write_bytes(dump([("0", "Large", large)]))
    with SmallWarc(tmp_path / "a.wet.gz") as warc:
        warc.record("conversion", "http://a/", large.encode(), warc_content_type="text/plain")
    expected = {"a.parquet": "document_too_large", "a.txt": "document_too_large", "a.xml": "page_too_large"}
    for name, reason in (expected | {"a.wet.gz": "document_too_large"}).items():
        found, lost, _ = read_inputs(tmp_path / "work", [tmp_path / name], 10**6, 200_000)
        assert reasons(lost) == {reason: 1} and found.empty, name


def test_a_bomb_costs_neither_memory_nor_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "ALLOWED_ANYWAY", 4 << 20)
    bombs = {
        "a.jsonl.gz": gzip.compress(b'{"text": "' + bytes(60_000_000)),
        "a.jsonl.zst": zstandard.compress(b'{"text": "' + bytes(200_000_000)),
        "a.jsonl.bz2": bz2.compress(b'{"text": "' + bytes(60_000_000)),
        "a.txt.gz": gzip.compress(bytes(60_000_000)),
    }
    assert len(bombs["a.jsonl.gz"]) * 900 < 60_000_000
    for number, (name, content) in enumerate(bombs.items()):
        (tmp_path / name).write_bytes(content)
        work = tmp_path / f"work-{number}"
        tracemalloc.start()
        found, lost, _ = read_inputs(work, [tmp_path / name], 10**6, 10**6)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.empty and peak < 45_000_000, (name, peak)
        allowed = {"document_too_large"} if name == "a.txt.gz" else {"line_too_large", unpack.TOO_FAR}
        assert set(reasons(lost)) <= allowed and lost, name
        assert sum(path.stat().st_size for path in work.glob("*")) < 50_000_000, name


def test_binary_that_poses_as_text_is_counted(tmp_path: Path) -> None:
    import random

    noise = random.Random(1).randbytes(20_000)
    files = {"image.txt": b"\x89PNG\r\n\x1a\n" + noise, "nul.md": b"text\0" * 900, "control.txt": b"\x01\x02 abc" * 900}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        found, lost, _ = read_inputs(tmp_path / "work", [tmp_path / name])
        assert found.empty and [row.reason for row in lost] == ["binary"], name
        assert lost[0].bytes == len(content)


def test_every_encoding_is_read_or_the_document_is_lost_by_name(tmp_path: Path) -> None:
    text = "Über den Fluß führt eine Brücke, und drüben liegt das Städtchen. " * 9
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"):
        path = tmp_path / f"{encoding}.txt"
        path.write_bytes(text.encode(encoding))
        found, lost, _ = read_inputs(tmp_path / "work", [path])
        assert list(found["text"]) == [text] and not lost, encoding
    broken = {
        "utf-16-cut": text.encode("utf-16")[:-1],
        "utf-16-surrogates": b"\xff\xfe" + b"\x00\xd8" * 500,
        "utf-32-out-of-range": b"\xff\xfe\x00\x00" + b"\xff" * 400,
        "utf-8-overlong": b"\xc0\xaf" * 500,
        "mixed": text.encode() + text.encode("utf-16"),
        "high": bytes(range(128, 160)) * 99,
    }
    for name, content in broken.items():
        path = tmp_path / f"{name}.txt"
        path.write_bytes(content)
        found, lost, _ = read_inputs(tmp_path / "work", [path])
        assert len(found) + len(lost) == 1, name
        for kept in found["text"]:
            kept.encode("utf-8")
        assert {row.reason for row in lost} <= {"undecodable_text", "binary", "no_text"}, name


def test_parquet_of_another_schema_or_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame([{"title": "x", "body": "y"}]).to_parquet(path)
    with pytest.raises(GlideError, match=r"no column 'text' in .*a\.parquet, it has title, body"):
        read_inputs(tmp_path / "work", [path])
    for value in (7, [1, 2], b"bytes", {"a": 1}):
        pd.DataFrame([{"text": value}]).to_parquet(path)
        with pytest.raises(GlideError, match="not text: name another"):
            read_inputs(tmp_path / "work", [path])
    pd.DataFrame(rows()).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(GlideError, match="damaged or cut short"):
        read_inputs(tmp_path / "work", [path])


def test_a_damaged_row_group_costs_its_rows_and_is_counted(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pd.DataFrame([*rows(), {"text": None, "url": "http://none/"}]).to_parquet(path, row_group_size=4)
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(1).column(0)
    at = column.dictionary_page_offset + column.total_compressed_size // 2
    content[at : at + 500] = bytes(500)
    path.write_bytes(content)
    found, lost, _ = read_inputs(tmp_path / "work", [path], 10**6)
    assert reasons(lost) == {"corrupt_parquet": 1, "no_text": 1}
    assert list(found["url"]) == [row["url"] for row in [*rows()[:4], *rows()[8:]]]
    assert lost[0].url == "a.parquet#4" and lost[0].score == 4


def test_a_damaged_dump_costs_the_pages_that_are_damaged(tmp_path: Path) -> None:
    pages = [("0", f"T{number}", text) for number, text in enumerate(TEXTS.values())]
    content = dump(pages)
    parts = content.split(b"<page>")
    parts[2] = parts[2].replace(b"</page>", b"")  # never closed: it ends where the next one begins
    parts[3] = parts[3].replace(b"<revision>", b"<revision", 1)
    parts[4] = parts[4].replace(b"<title>", b"<title>\xff")
    parts[5] = b"<!DOCTYPE p [<!ENTITY a 'b'>]>" + parts[5]
    path = tmp_path / "x.xml"
    path.write_bytes(b"<page>".join(parts)[:-900])
    for step in (1000, 10**6):
        found, lost, _ = read_inputs(tmp_path / "work", [path], step)
        assert len(found) == len(TEXTS) - 5
        assert reasons(lost) == {"truncated": 2, "invalid_xml": 3}


def test_pages_that_are_never_closed_are_read_in_linear_time(tmp_path: Path) -> None:
    def read(count: int) -> None:
        path = tmp_path / f"{count}.xml"
        path.write_bytes(b"<mediawiki>" + b"<page>" * count)
        _, lost, _ = read_inputs(tmp_path / "work", [path], 10**7)
        assert len(lost) == count

    assert_linear(read, 4_000, 16_000)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.jsonl", None, "no such file or directory"),
        ("empty.jsonl", b"", "empty file"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "is of no kind that can be read"),
        ("packed.zip", b"PK\x03\x04" + bytes(99), "is of no kind that can be read"),
        ("a.parquet.gz", gzip.compress(b"PAR1" + bytes(99), mtime=0), "unpack it first"),
        ("none-*.jsonl", None, "no file in"),
        ("nothing://here/a.jsonl", None, "cannot read nothing://"),
        ("array.json", b"[\n" + b'{"text": "in an array"},\n' * 9 + b"]", "are no JSON objects"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_line(
    name: str, content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = name if "://" in name else str(tmp_path / name)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["curate", "--out", str(tmp_path / "out"), "--input", given, "workers=1"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and told in lines[0], lines


def test_two_pipelines_on_one_output_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows()))
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / LOCK), pytest.raises(GlideError, match="another process is writing"):
        curate_inputs(tmp_path / "out", [tmp_path / "a.jsonl"])


def test_names_and_addresses_that_climb_stay_names(tmp_path: Path) -> None:
    climbing = ["../../climbed", "/etc/climbed", "..\\climbed", "a\0b"]
    items = [{"text": text, "url": url} for text, url in zip(TEXTS.values(), climbing, strict=False)]
    path = tmp_path / "in" / "..%2f..%2fclimbed.jsonl"
    path.parent.mkdir()
    path.write_bytes(jsonl([*items, *rows()[4:]]))
    before = set(tmp_path.rglob("*"))
    curate_inputs(tmp_path / "deep" / "out", [path])
    made = set(tmp_path.rglob("*")) - before
    assert all(entry.is_relative_to(tmp_path / "deep") for entry in made)
