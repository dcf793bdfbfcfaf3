"""Lists of a plain page are its content; lists of links near its root are its navigation."""

from __future__ import annotations

import pytest

from curator_pipelines.stages.extract_html import LayoutExtractor

PROSE = "The committee met on Tuesday, and took note of what the report says about rivers and their floods. "
ITEMS = "".join(f"<li>Item {number} says in a few words of its own what was found there.</li>" for number in range(5))
LINKS = "".join(f"<li><a href='/{number}'>Section {number}</a></li>" for number in range(5))


def extract(body: str) -> str:
    html = f"<html><head><title>Report</title></head><body>{body}</body></html>"
    (text,) = LayoutExtractor().extract_text(html, frozenset(), "ENGLISH")
    return text


@pytest.mark.parametrize("depth", range(6))
def test_a_list_of_prose_is_kept_however_deep_it_stands(depth: int) -> None:
    inside = f"<p>{PROSE * 5}</p><ul>{ITEMS}</ul><p>{PROSE * 5}</p>"
    text = extract("<div>" * depth + inside + "</div>" * depth)
    assert all(f"Item {number} says" in text for number in range(5))
    assert text.index("Item 0") > text.index("The committee") and text.rindex("The committee") > text.index("Item 4")


@pytest.mark.parametrize("depth", range(3))
def test_a_list_of_links_near_the_root_is_navigation(depth: int) -> None:
    text = extract("<div>" * depth + f"<ul>{LINKS}</ul><h1>Rivers</h1><p>{PROSE * 5}</p>" + "</div>" * depth)
    assert "Section" not in text and "The committee" in text


def test_a_page_without_a_body_is_no_error() -> None:
    assert extract("") == ""
