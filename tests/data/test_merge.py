"""Merging sets of conversations: no duplicates, the shares that were asked for, every licence kept."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small_chat import asked, write_lines

from glide_nemo.artifact import Artifact
from glide_nemo.data.merge import FILE, MergeConfig, merge_datasets
from glide_nemo.errors import GlideError


def stratum(domain: str, language: str, count: int, licence: str = "MIT") -> list[str]:
    fields = {"domain": domain, "language": language, "license": licence}
    return [asked(f"{domain} {language} {n}?", f"Answer {n}.", **fields) for n in range(count)]


@pytest.fixture
def data(tmp_path: Path) -> list[Path]:
    """200 of code and 100 of law in English, 100 of law in German."""
    english = [*stratum("code", "en", 200), *stratum("law", "en", 100, "CC-BY-4.0")]
    return [
        write_lines(tmp_path / "english.jsonl", english),
        write_lines(tmp_path / "german.jsonl", stratum("law", "de", 100)),
    ]


def merged(data: list[Path], out: Path, **settings: Any) -> tuple[Artifact, list[dict[str, Any]]]:
    made = merge_datasets(MergeConfig(**settings), data, out)
    return made, [json.loads(line) for line in (made.path / FILE).read_text().splitlines()]


def counts(lines: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    return dict(Counter((line["domain"], line["language"]) for line in lines))


def test_without_weights_all_is_taken_with_its_licence(data: list[Path], tmp_path: Path) -> None:
    made, lines = merged(data, tmp_path / "out")
    assert counts(lines) == {("code", "en"): 200, ("law", "en"): 100, ("law", "de"): 100}
    assert (
        made.metrics["licenses"] == {"CC-BY-4.0": 100, "MIT": 300} == dict(Counter(line["license"] for line in lines))
    )
    assert made.metrics["files"] == {"english.jsonl": 300, "german.jsonl": 100}


def test_what_is_said_twice_is_kept_once_whatever_its_case_and_spaces(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", [asked("Hello?", "Yes, hello.", license="MIT"), asked("Bye?", "Bye.")])
    second = write_lines(tmp_path / "b.jsonl", [asked(" hello?\n", "yes,  HELLO.", license="other")])
    made, lines = merged([first, second], tmp_path / "out")
    assert made.metrics["duplicates"] == 1 and len(lines) == 2
    assert {line.get("license") for line in lines} == {"MIT", None}, "the first of the two stays"
    assert made.metrics["licenses"] == {"MIT": 1, "unknown": 1}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # As many as the scarcest allows: 100 of law in German at a quarter.
        ({"domains": {"code": 1, "law": 1}}, {("code", "en"): 200, ("law", "en"): 100, ("law", "de"): 100}),
        ({"domains": {"code": 1, "law": 3}}, {("code", "en"): 66, ("law", "en"): 100, ("law", "de"): 100}),
        ({"languages": {"en": 1, "de": 1}}, {("code", "en"): 67, ("law", "en"): 33, ("law", "de"): 100}),
        ({"domains": {"law": 1}, "languages": {"en": 1, "de": 4}}, {("law", "en"): 25, ("law", "de"): 100}),
        ({"conversations": 40}, {("code", "en"): 20, ("law", "en"): 10, ("law", "de"): 10}),
    ],
)
def test_shares_are_those_of_the_weights(
    settings: dict[str, Any], expected: dict[tuple[str, str], int], data: list[Path], tmp_path: Path
) -> None:
    made, lines = merged(data, tmp_path / "out", **settings)
    assert counts(lines) == expected
    stated = {(found["domain"], found["language"]): found for found in made.metrics["strata"]}
    assert {key: found["taken"] for key, found in stated.items() if found["taken"]} == expected
    assert sum(found["target"] for found in stated.values()) == pytest.approx(1)


def test_the_result_does_not_depend_on_how_the_lines_are_cut_into_files(data: list[Path], tmp_path: Path) -> None:
    one = write_lines(
        tmp_path / "one.jsonl", [line for path in reversed(data) for line in path.read_text().split("\n")]
    )
    settings = {"conversations": 50, "seed": 3}
    cut, whole = merged(data, tmp_path / "cut", **settings), merged([one], tmp_path / "whole", **settings)
    assert cut[1] == whole[1]
    assert cut[1] != merged(data, tmp_path / "other", conversations=50, seed=4)[1]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"domains": {"cooking": 1}}, "no conversation of the domain 'cooking': there are code, law"),
        ({"domains": {"code": 1}, "languages": {"de": 1}}, "both a weighted domain and a weighted language"),
        ({"languages": {"en": 1, "de": 1}, "conversations": 300}, "too few conversations, law in de has 100"),
        ({"domains": {"law": -1}}, "must be positive"),
    ],
)
def test_weights_that_cannot_be_met_are_refused(
    settings: dict[str, Any], told: str, data: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(GlideError, match=told):
        merged(data, tmp_path / "out", **settings)


def test_bad_lines_are_listed_and_too_many_are_an_error(data: list[Path], tmp_path: Path) -> None:
    bad = write_lines(tmp_path / "bad.jsonl", ["{broken", asked("Hi", "")])
    made, _ = merged([*data, bad], tmp_path / "out")
    assert made.metrics["rejected"] == {"empty answer": 1, "not JSON": 1}
    assert '"bad.jsonl", "line": 2' in (made.path / "rejections.jsonl").read_text()
    with pytest.raises(GlideError, match="2 of 402 lines"):
        merged([*data, bad], tmp_path / "strict", max_bad_share=0.001)
