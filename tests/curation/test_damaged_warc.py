"""Damaged WARC files: what can be read is read, and what cannot is counted under the name of its damage."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from pathlib import Path

import pytest
from ledgers import assert_balanced, curate_files, documents_of, rejections_of
from small_warc import SmallWarc, topic_pages, write_pages

from curator_pipelines.warc import records

PAGES = topic_pages(8)
BIG = 1 << 24


def small(path: Path) -> tuple[bytes, list[int]]:
    with SmallWarc(path) as warc:
        for url, body in PAGES:
            warc.response(url, body)
    return path.read_bytes(), warc.offsets


def problems(path: Path, partition: int = 0) -> Counter[str]:
    """How many records are sound ("") or damaged, read in ranges of `partition` bytes or at once."""
    size = path.stat().st_size
    step = partition or size
    ranges = [(start, min(start + step, size)) for start in range(0, size, step)]
    return Counter(record.problem for start, end in ranges for record in records(path, start, end, BIG))


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz"])
@pytest.mark.parametrize("lost", [1, 300])
def test_a_truncated_file_gives_all_but_its_last_record(tmp_path: Path, suffix: str, lost: int) -> None:
    path = tmp_path / f"cut{suffix}"
    content, _ = small(path)
    path.write_bytes(content[: -lost - 4])  # 4: the empty lines that end a plain record carry nothing
    corpus = curate_files(tmp_path / "corpus", [path])
    assert_balanced(corpus)
    assert len(documents_of(corpus)) == len(PAGES) - 1
    assert list(rejections_of(corpus)["reason"]) == ["truncated"]


def test_a_gzipped_file_cut_within_a_members_header_counts_that_member(tmp_path: Path) -> None:
    path = tmp_path / "cut.warc.gz"
    content, offsets = small(path)
    for left in (1, 2, 9, 11, 14):
        path.write_bytes(content[: offsets[-1] + left])
        assert problems(path) == {"": len(PAGES) - 1, "truncated": 1}, left


@pytest.mark.parametrize("place", [2, 10, 12, 200])
@pytest.mark.parametrize("record", [0, 3, 7])
@pytest.mark.parametrize("partition", [0, 1500])
def test_a_corrupt_member_costs_itself_only(tmp_path: Path, place: int, record: int, partition: int) -> None:
    path = tmp_path / "corrupt.warc.gz"
    content, offsets = small(path)
    at = offsets[record] + place
    path.write_bytes(content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 24]) + content[at + 24 :])
    found = problems(path, partition)
    assert found.pop("") == len(PAGES) - 1
    # Damaged compressed data may also look like a stream that never ends.
    assert found in ({"corrupt_gzip": 1}, {"truncated": 1})


def test_a_corrupt_record_in_the_middle_leaves_the_rest_of_the_corpus(tmp_path: Path) -> None:
    path = tmp_path / "corrupt.warc.gz"
    content, offsets = small(path)
    middle = (offsets[3] + offsets[4]) // 2
    path.write_bytes(content[:middle] + b"\0" * 40 + content[middle + 40 :])
    corpus = curate_files(tmp_path / "corpus", [path])
    assert_balanced(corpus)
    assert list(rejections_of(corpus)["reason"]) == ["corrupt_gzip"]
    assert rejections_of(corpus)["score"].tolist() == [offsets[3]]  # where in the file
    assert set(documents_of(corpus)["url"]) == {url for number, (url, _) in enumerate(PAGES) if number != 3}


@pytest.mark.parametrize("stated", [b"17", b"999999", b"-5", b"many", b"99999999999999999999"])
def test_a_wrong_content_length_costs_its_record_only(tmp_path: Path, stated: bytes) -> None:
    path = tmp_path / "wrong.warc"
    content, offsets = small(path)
    record = content[offsets[3] : offsets[4]]
    header, _, block = record.partition(b"\r\n\r\n")
    lines = [
        b"Content-Length: " + stated if line.startswith(b"Content-Length") else line for line in header.split(b"\r\n")
    ]
    path.write_bytes(content[: offsets[3]] + b"\r\n".join(lines) + b"\r\n\r\n" + block + content[offsets[4] :])
    found = problems(path)
    assert found.pop("") == len(PAGES) - 1
    assert sum(found.values()) == 1 and set(found) <= {"wrong_length", "truncated", "unreadable_record"}


def test_a_file_gzipped_as_a_whole_is_read_like_one_gzipped_by_record(tmp_path: Path) -> None:
    plain, by_record = write_pages(tmp_path / "a.warc", PAGES), write_pages(tmp_path / "b.warc.gz", PAGES)
    whole = tmp_path / "c.warc.gz"
    whole.write_bytes(gzip.compress(plain.read_bytes()))
    blocks = tmp_path / "d.warc.gz"  # as bgzip and pigz write: many members, cut anywhere
    content = plain.read_bytes()
    blocks.write_bytes(b"".join(gzip.compress(content[at : at + 5000]) for at in range(0, len(content), 5000)))
    ids = [
        set(documents_of(curate_files(tmp_path / path.name[0], [path]))["id"])
        for path in (plain, by_record, whole, blocks)
    ]
    assert len(ids[0]) == len(PAGES) and ids[1:] == ids[:1] * 3


def test_a_file_gzipped_as_a_whole_is_known_by_its_second_record_however_far_that_is(tmp_path: Path) -> None:
    from curator_pipelines.partitions import cut
    from glide_nemo.crawl.sources import describe

    large = b"<p>" + random.Random(0).randbytes(3_000_000).hex().encode()
    plain = write_pages(tmp_path / "a.warc", [("http://a/large", large), *PAGES])
    whole = tmp_path / "whole.warc.gz"
    whole.write_bytes(gzip.compress(plain.read_bytes(), 1))
    partitions = cut(describe([whole]), 1 << 19, tmp_path / "work")
    assert len(partitions) > 1 and Path(partitions[0].path).read_bytes() == plain.read_bytes()


def test_a_whole_gzip_that_is_cut_short_gives_what_can_be_unpacked(tmp_path: Path) -> None:
    plain = write_pages(tmp_path / "a.warc", PAGES)
    whole = tmp_path / "whole.warc.gz"
    packed = gzip.compress(plain.read_bytes())
    whole.write_bytes(packed[: len(packed) // 2])
    corpus = curate_files(tmp_path / "corpus", [whole])
    assert_balanced(corpus)
    assert len(documents_of(corpus)) >= 2 and list(rejections_of(corpus)["reason"]) == ["truncated"]


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz"])
def test_any_damage_leaves_a_record_or_a_reason(tmp_path: Path, suffix: str) -> None:
    """Random bytes over random places: reading ends, and only the records that were hit are lost."""
    path = tmp_path / f"random{suffix}"
    content, offsets = small(path)
    chance = random.Random(1)
    for _ in range(60):
        at, length = chance.randrange(len(content)), chance.randrange(1, 60)
        path.write_bytes(content[:at] + chance.randbytes(length) + content[at + length :])
        hit = sum(
            start < at + length and at < end for start, end in zip(offsets, [*offsets[1:], len(content)], strict=True)
        )
        found = problems(path)
        assert found[""] >= len(PAGES) - hit - (
            suffix == ".warc"
        )  # a lost border takes a plain record's neighbour along
        assert found.total() >= len(PAGES) - 1
