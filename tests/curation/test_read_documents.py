"""Documents out of JSONL, parquet, text, WET and Wikipedia dumps: the same text whatever file it comes in."""

from __future__ import annotations

import bz2
import gzip
import io
from pathlib import Path

import pandas as pd
import pytest
import zstandard
from ledgers import assert_balanced, documents_of
from small_inputs import REFERENCE, TEXTS, curate_inputs, dump, jsonl, read_inputs, rows, texts_of
from small_warc import SmallWarc, topic_pages, write_pages

from curator_pipelines.curate import curate
from curator_pipelines.english import nano
from glide_nemo.cli import main
from glide_nemo.config import apply_overrides

FORMS = ["jsonl", "jsonl.gz", "jsonl.zst", "jsonl.bz2", "members.gz", "misnamed.txt", "parquet"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_documents(form: str, tmp_path: Path) -> None:
    content, path = jsonl(rows()), tmp_path / f"a.{form}"
    half = content.index(b"\n", len(content) // 2) - 100  # within a line
    packed = {
        "jsonl": content,
        "misnamed.txt": content,
        "jsonl.gz": gzip.compress(content),
        "jsonl.zst": zstandard.compress(content),
        "jsonl.bz2": bz2.compress(content),
        "members.gz": gzip.compress(content[:half]) + gzip.compress(content[half:]),
    }
    if form == "parquet":
        pd.DataFrame(rows()).to_parquet(path, row_group_size=4)
    else:
        path.write_bytes(packed[form])
    found, lost, partitions = read_inputs(tmp_path / "work", [path])
    assert partitions > 2 and not lost
    assert texts_of(found) == REFERENCE


def test_text_files_are_a_document_each_and_share_partitions(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    for number, (name, text) in enumerate(TEXTS.items()):
        path = folder / ("a" if number % 2 else "b") / f"{name}.{'md' if number % 3 else 'txt'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode("utf-16" if number == 5 else "utf-8")
        path.write_bytes(gzip.compress(content) if number == 4 else content)
    (folder / ".hidden").write_text("not input")
    (folder / "cover.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    found, lost, partitions = read_inputs(tmp_path / "work", [folder], 3000)
    assert 1 < partitions < len(TEXTS) and not lost
    assert sorted(found["text"]) == sorted(TEXTS.values())
    assert all(url.startswith(("books/a/", "books/b/")) for url in found["url"])


def test_globs_and_urls_stand_for_their_files(tmp_path: Path) -> None:
    import fsspec

    for number, content in enumerate(jsonl(rows()[start::2]) for start in (0, 1)):
        (tmp_path / f"part-{number}.jsonl").write_bytes(content)
        with fsspec.open(f"memory://set/deep/part-{number}.jsonl.gz", "wb") as file:
            file.write(gzip.compress(content))
        with fsspec.open(f"memory://plain/part-{number}.jsonl", "wb") as file:
            file.write(content)
    given = [tmp_path / "part-*.jsonl", f"file://{tmp_path}/part-*.jsonl", "memory://set", "memory://set/deep/*.gz"]
    for number, item in enumerate([*given, "memory://plain"]):
        found, lost, partitions = read_inputs(tmp_path / str(number), [item], 3000)
        assert texts_of(found) == REFERENCE and partitions > 2 and not lost, item


def test_a_warc_behind_a_url_is_read_as_one_on_disk(tmp_path: Path) -> None:
    import fsspec

    local = write_pages(tmp_path / "a.warc.gz", topic_pages(12))
    with fsspec.open("memory://warcs/a.warc.gz", "wb") as file:
        file.write(local.read_bytes())
    one = curate_inputs(tmp_path / "one", [local], "partition_bytes=10000")
    other = curate_inputs(tmp_path / "other", ["memory://warcs/*.warc.gz"], "partition_bytes=10000")
    assert other.sha256 == one.sha256 and one.metrics["partitions"] > 1


def test_wet_files_hold_text_that_was_extracted_before(tmp_path: Path) -> None:
    with SmallWarc(tmp_path / "a.warc.wet.gz") as warc:
        warc.record("warcinfo", "", b"")
        for row in rows():
            warc.record("conversion", row["url"], row["text"].encode(), warc_content_type="text/plain")
    found, lost, partitions = read_inputs(tmp_path / "work", [tmp_path / "a.warc.wet.gz"], 5000)
    assert partitions > 2 and not lost
    assert texts_of(found) == REFERENCE


def test_pages_and_documents_make_one_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows()))
    write_pages(tmp_path / "b.warc.gz", topic_pages(30)[20:])
    corpus = curate_inputs(tmp_path / "out", [tmp_path / "a.jsonl", tmp_path / "b.warc.gz"])
    kept = documents_of(corpus)
    assert set(kept["source"]) == {"a.jsonl", "b.warc.gz"} and len(kept) > 10
    assert corpus.metrics["funnel"][0] | {"bytes": 0} == {"stage": "crawled", "documents": 20, "bytes": 0}
    assert corpus.metrics["funnel"][-1]["documents"] == len(kept)
    assert corpus.metrics["records"] == {"jsonl": 10, "response": 10}


def test_a_wikipedia_dump_gives_its_articles_without_their_markup(tmp_path: Path) -> None:
    prose = [text.replace("*", "").replace("`", "") for text in TEXTS.values()]
    begin = "'''Fett''' und [[Ziel|Verweis]].\n\n"
    pages = [("0", f"Artikel & {number}", begin + text) for number, text in enumerate(prose)]
    pages[1:1] = [("1", "Diskussion:X", "talk " * 99), ("0", ">Weiter", "#REDIRECT [[X]]")]
    path = tmp_path / "dewiki-pages-articles.xml.bz2"
    path.write_bytes(bz2.compress(dump(pages)))
    found, lost, partitions = read_inputs(tmp_path / "work", [path])
    assert partitions > 2 and not lost
    assert len(found) == len(TEXTS) and set(found["license"]) == {"CC-BY-SA-4.0"}
    first = texts_of(found)["https://de.wikipedia.org/wiki/Artikel_%26_0"]
    assert first.startswith("Fett und Verweis.") and "[[" not in first


def test_articles_are_those_that_curators_own_iterator_finds(tmp_path: Path) -> None:
    from nemo_curator.stages.text.download.wikipedia.extract import WikipediaExtractor
    from nemo_curator.stages.text.download.wikipedia.iterator import WikipediaIterator

    pages = [(str(n % 3), f"{'>' * (n % 5 == 0)}Title {n}", f"Text {n} [[a|b]]") for n in range(40)]
    packed = tmp_path / "x.xml.bz2"
    packed.write_bytes(bz2.compress(dump(pages)))
    records = WikipediaIterator("de").iterate(str(packed))
    expected = {
        record["url"].replace("%20", "_"): WikipediaExtractor("de").extract(record)["text"] for record in records
    }
    for step in (10**6, 20, 155):
        found, lost, _ = read_inputs(tmp_path / f"work-{step}", [packed], step)
        assert texts_of(found) == expected and len(found) > 8 and not lost, step


def test_columns_go_by_the_names_that_the_settings_give(tmp_path: Path) -> None:
    items = [
        {"content": text, "repo": name, "detected_licenses": ["MIT", "Apache-2.0"], "blob": number}
        for number, (name, text) in enumerate(TEXTS.items())
    ]
    (tmp_path / "a.jsonl").write_bytes(jsonl(items))
    pd.DataFrame(items).to_parquet(tmp_path / "a.parquet")
    names = {"text_field": "content", "license_field": "detected_licenses", "id_field": "blob"}
    for path in (tmp_path / "a.jsonl", tmp_path / "a.parquet"):
        found, _, _ = read_inputs(tmp_path / "work", [path], **names)
        assert set(found["license"]) == {"Apache-2.0 AND MIT"}
        assert list(found["url"]) == [f"{path.name}#{number}" for number in range(len(TEXTS))]


def test_the_stated_licence_of_all_stands_above_that_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([*rows(license="MIT")[:5], *rows()[5:]]))
    corpus = curate_inputs(tmp_path / "own", [tmp_path / "a.jsonl"])
    assert set(documents_of(corpus)["license"]) == {"MIT", "unknown"}
    assert_balanced(corpus)
    corpus = curate_inputs(tmp_path / "all", [tmp_path / "a.jsonl"], "license=CC0-1.0")
    assert set(documents_of(corpus)["license"]) == {"CC0-1.0"}


def test_two_workers_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl(rows())))
    one = curate_inputs(tmp_path / "one", [tmp_path / "a.jsonl.gz"], "partition_bytes=4000")
    config = apply_overrides(nano(), ["workers=2", "repeated_block_lines=0", "partition_bytes=4000"])
    two = curate(config, one.input("crawl"), tmp_path / "two")
    assert two.sha256 == one.sha256 and two.metrics["partitions"] > 2


def test_the_command_line_takes_input(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows()))
    assert main(["curate", "--out", str(tmp_path / "out"), "--input", str(tmp_path / "*.jsonl"), "workers=1"]) == 0
    assert (tmp_path / "out" / "artifact.json").exists()


def test_lines_of_touching_ranges_are_the_lines_of_the_file() -> None:
    from curator_pipelines.formats.jsonl import lines

    content = b"one\n\ntwo two\r\n" + b"x" * 50 + b"\nlast"
    size = len(content)
    for step in range(1, size + 1):
        ranges = [(start, min(start + step, size)) for start in range(0, size, step)]
        found = [line for start, end in ranges for line in lines(io.BytesIO(content), start, end, 20)]
        assert [offset for offset, _, _ in found] == [0, 4, 5, 14, 65]
        assert sum(length for _, length, _ in found) == size
        assert max(len(line) for _, _, line in found) == 21
