"""What a data card has measured of a corpus is drawn in the report; without one, the report says what would."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import html
from small_release_corpus import release_corpus

from glide_nemo.release.data_card import DataCardConfig, write_data_card
from glide_nemo.release.histogram import histograms
from glide_nemo.release.report import write_report


def page(run: Path) -> html.HtmlElement:
    made = write_report(run, run / "report", force=True)
    return html.fromstring((made.path / "report.html").read_text(encoding="utf-8"))


def told(tree: html.HtmlElement) -> str:
    return " ".join(tree.text_content().split())


def test_distributions_counts_and_contamination_are_in_the_report(carded_run: Path) -> None:
    tree = page(carded_run)
    text = told(tree)
    assert "Of 100 documents nine tenths lie from 25 to 475, the median is 250." in text
    assert "Document language score" in text and "Document perplexity" in text
    assert "emailredact pii1,234" in text and "aws keyredact secrets3" in text
    assert "gsm8k3270 %12" in text
    columns = tree.xpath("//svg[.//title[text()='Document length']]/rect[@class='column']")
    assert len(columns) == 7  # 4 to 511 bytes
    assert max(float(column.get("height").rstrip("%")) for column in columns) == 100


def test_the_card_is_in_the_provenance_beside_what_it_was_made_from(carded_run: Path) -> None:
    article = next(node for node in page(carded_run).iter("article") if node.findtext("h3").strip() == "data_card")
    assert [link.text for link in article.iter("a")] == ["corpus"]


def test_a_new_card_is_a_new_report(carded_run: Path) -> None:
    write_report(carded_run, carded_run / "report")
    corpus = release_corpus(carded_run / "corpus2", count=300)
    write_data_card(DataCardConfig(), [corpus], carded_run / "data_card", force=True)
    assert "Of 300 documents" in told(page(carded_run))


def test_without_a_card_the_report_says_what_draws_one(finished_run: Path) -> None:
    tree = page(finished_run)
    assert "glide data-card has measured it" in told(tree)
    assert not tree.xpath("//rect[@class='column']")


def test_a_card_of_another_corpus_is_not_taken_for_this_ones(finished_run: Path, tmp_path: Path) -> None:
    other = release_corpus(tmp_path / "elsewhere" / "corpus")
    write_data_card(DataCardConfig(), [other], finished_run / "data_card")
    text = told(page(finished_run))
    assert "near duplicate" in text and "Of 100 documents" not in text and "data_card" not in text


@pytest.mark.parametrize("counts", [[1], [0, 5, 0], [10**9, 1, 10**9]])
def test_columns_fill_the_plot_and_no_more(counts: list[int]) -> None:
    spread = {
        "counts": counts,
        "edges": list(range(len(counts) + 1)),
        "documents": sum(counts),
        "quantiles": {"5": 0, "50": 1, "95": 2},
    }
    (drawn,) = histograms({"distributions": {"quality": spread}})
    assert max(height for _, _, height in drawn.columns) == 100
    assert all(left >= 0 and left + width <= 100 for left, width, _ in drawn.columns)
    assert drawn.ticks[0] == (0, "0")
    assert len(drawn.ticks) <= 7
