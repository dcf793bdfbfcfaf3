"""Descriptions of installed packages as a crawl: one document each, and only licences that the metadata names."""

from __future__ import annotations

import json
from email.message import Message
from pathlib import Path

import pytest

from glide_nemo.crawl.descriptions import FILE, DescriptionsConfig, license_of, record_descriptions


def test_each_package_is_one_document_and_a_second_call_reuses_them(tmp_path: Path) -> None:
    crawl = record_descriptions(DescriptionsConfig(max_packages=5), tmp_path / "crawl")
    lines = [json.loads(line) for line in (crawl.path / FILE).read_text(encoding="utf-8").splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == crawl.metrics["packages"] == 5
    assert all(line["text"].strip() and line["url"].startswith("package:") for line in lines)
    assert record_descriptions(DescriptionsConfig(max_packages=5), tmp_path / "crawl").sha256 == crawl.sha256


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("License-Expression", "MIT OR Apache-2.0"), ("Classifier", "License :: OSI Approved :: MIT License")],
         "MIT OR Apache-2.0"),
        ([("Classifier", "License :: OSI Approved :: Apache Software License")], "Apache-2.0"),
        ([("Classifier", "License :: OSI Approved :: BSD License")], ""),
        ([("Classifier", "License :: OSI Approved :: MIT License"),
          ("Classifier", "License :: OSI Approved :: Apache Software License")], ""),
        ([("License", "see LICENSE.txt")], ""),
    ],
)  # fmt: skip
def test_a_licence_is_what_the_metadata_says_and_no_guess(fields: list[tuple[str, str]], expected: str) -> None:
    metadata = Message()
    for name, value in fields:
        metadata[name] = value
    assert license_of(metadata) == expected
